//! `--engine-cores` and `--tool-cores`: which cores are whose.

use engine::drive::allowed_cores;

use crate::failure::Failure;
use crate::run::plan::one;

/// Cores as a user names them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Count(usize),
    These(Vec<usize>),
}

/// Cores by their numbers.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Cores {
    /// Of the engine's threads and the scheduler.
    pub engine: Vec<usize>,
    /// Of the tools.
    pub tools: Vec<usize>,
}

const WANTED: &str = "a number from 1, or cores:LIST such as cores:0,2-3";

fn parse(text: &str) -> Option<Wanted> {
    let Some(list) = text.strip_prefix("cores:") else {
        let count = text.parse().ok().filter(|n| (1..=4096).contains(n))?;
        return Some(Wanted::Count(count));
    };
    let mut these = Vec::new();
    for part in list.split(',').map(str::trim) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (usize, usize) = (from.parse().ok()?, to.parse().ok()?);
        if from > to || to > 4096 {
            return None;
        }
        these.extend(from..=to);
    }
    these.sort_unstable();
    these.dedup();
    Some(Wanted::These(these))
}

impl Cores {
    /// Shares the cores that this process may use.
    ///
    /// # Errors
    /// Bad input: no such form, or more cores than there are.
    pub fn share(engine: Option<&str>, tools: &str) -> Result<Self, Failure> {
        Self::among(&allowed_cores(), engine, tools)
    }

    fn among(allowed: &[usize], engine: Option<&str>, tools: &str) -> Result<Self, Failure> {
        let few = |flag: &str, text: &str| {
            Failure::bad_input(anyhow::anyhow!(
                "`{flag}` is `{text}`, but this process may use cores {allowed:?} only"
            ))
        };
        let tool_cores = match one("--tool-cores", tools, WANTED, parse)? {
            Wanted::Count(count) if count <= allowed.len() => {
                allowed[allowed.len() - count..].to_vec()
            }
            Wanted::These(these) if these.iter().all(|core| allowed.contains(core)) => these,
            _ => return Err(few("--tool-cores", tools)),
        };
        let rest: Vec<usize> = allowed
            .iter()
            .copied()
            .filter(|core| !tool_cores.contains(core))
            .collect();
        // With a single core there is nothing to share out.
        let free = if rest.is_empty() { allowed } else { &rest };
        let Some(text) = engine else {
            return Ok(Self {
                engine: free.to_vec(),
                tools: tool_cores,
            });
        };
        let engine = match one("--engine-cores", text, WANTED, parse)? {
            Wanted::Count(count) if count <= free.len() => free[..count].to_vec(),
            Wanted::These(these) if these.iter().all(|core| allowed.contains(core)) => these,
            _ => return Err(few("--engine-cores", text)),
        };
        Ok(Self {
            engine,
            tools: tool_cores,
        })
    }

    /// Whether the engine and the tools have a core in common.
    pub fn overlap(&self) -> bool {
        self.engine.iter().any(|core| self.tools.contains(core))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn among(
        allowed: &[usize],
        engine: Option<&str>,
        tools: &str,
    ) -> Option<(Vec<usize>, Vec<usize>)> {
        let cores = Cores::among(allowed, engine, tools).ok()?;
        Some((cores.engine, cores.tools))
    }

    #[test]
    fn tools_get_the_last_cores_and_the_engine_the_others() {
        let four = [0, 1, 2, 5];
        assert_eq!(among(&four, None, "1"), Some((vec![0, 1, 2], vec![5])));
        assert_eq!(among(&four, Some("1"), "2"), Some((vec![0], vec![2, 5])));
        assert_eq!(
            among(&four, Some("cores:1-2"), "cores:0,5"),
            Some((vec![1, 2], vec![0, 5]))
        );
        // One core is everybody's.
        assert_eq!(among(&[3], None, "1"), Some((vec![3], vec![3])));
    }

    #[test]
    fn cores_that_are_not_there_are_refused() {
        for (engine, tools) in [
            (None, "3"),
            (None, "0"),
            (None, "cores:7"),
            (None, "cores:1-0"),
            (None, "two"),
            (Some("2"), "1"),
            (Some("cores:0,x"), "1"),
        ] {
            assert_eq!(among(&[0, 1], engine, tools), None, "{engine:?} {tools}");
        }
    }
}
