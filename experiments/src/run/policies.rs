//! Which policies run: presets or files, with the overrides that concern them.

use std::path::Path;

use anyhow::Context;
use policies::{PRESETS, PolicyError, PolicySpec};

use super::limits::Limit;
use super::settings;
use crate::failure::{Failure, did_you_mean, nearest};

/// A row to make: a policy to run, or a limit to hold policies against.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Its name in reports.
    pub name: String,
    /// What it is.
    pub row: Row,
}

/// What makes a row.
#[derive(Clone, Debug)]
pub enum Row {
    /// A policy that runs.
    Policy {
        /// With every override applied; known to build.
        spec: Box<PolicySpec>,
        /// The same as TOML, every setting visible.
        toml: String,
    },
    /// What no policy can beat.
    Limit(Limit),
}

impl Chosen {
    /// The limit that it is, if it is none of the policies.
    pub fn limit(&self) -> Option<Limit> {
        match self.row {
            Row::Limit(limit) => Some(limit),
            Row::Policy { .. } => None,
        }
    }

    /// Every setting of the policy as TOML; a limit has none.
    pub fn toml(&self) -> Option<&str> {
        match &self.row {
            Row::Policy { toml, .. } => Some(toml),
            Row::Limit(_) => None,
        }
    }
}

/// Where a policy comes from.
#[derive(Clone, Debug)]
enum Origin {
    Preset(String),
    File { name: String, text: String },
}

impl Origin {
    fn find(name: &str) -> Result<Self, Failure> {
        let is_preset = PRESETS.iter().any(|(preset, _)| *preset == name);
        let path = Path::new(name);
        let looks_like_file = path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("toml"))
            || path.components().count() > 1;
        if is_preset || !(looks_like_file || path.is_file()) {
            return Ok(Self::Preset(name.to_owned()));
        }
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read policy `{name}`"))
            .map_err(Failure::bad_input)?;
        Ok(Self::File {
            name: name.to_owned(),
            text,
        })
    }

    fn resolve(&self, overrides: &[(String, String)]) -> Result<PolicySpec, PolicyError> {
        match self {
            Self::Preset(name) => PolicySpec::preset_with(name, overrides),
            Self::File { text, .. } => PolicySpec::parse(text, overrides),
        }
    }

    fn fail(&self, error: PolicyError) -> Failure {
        let error = anyhow::Error::new(error);
        Failure::bad_input(match self {
            Self::Preset(_) => error,
            Self::File { name, .. } => error.context(format!("cannot use policy `{name}`")),
        })
    }
}

/// The policies of `list` (separated by commas), each with those of `overrides` that concern it.
///
/// # Errors
/// Bad input: an unknown name or key (with the nearest), a value out of range, a name twice.
pub fn choose(list: &str, overrides: &[(String, String)]) -> Result<Vec<Chosen>, Failure> {
    let mut names: Vec<&str> = list.split(',').map(str::trim).collect();
    names.retain(|name| !name.is_empty());
    if names.is_empty() {
        return Err(Failure::bad_input(anyhow::anyhow!(
            "`--policy` names no policy (wanted: at least one)"
        )));
    }
    let mut found: Vec<Found> = Vec::new();
    for name in names.iter().filter(|name| Limit::named(name).is_none()) {
        let origin = Origin::find(name)?;
        let spec = origin.resolve(&[]).map_err(|e| origin.fail(e))?;
        found.push((origin, spec, Vec::new()));
    }
    for (key, value) in overrides {
        apply(&mut found, key, value)?;
    }
    let mut found = found.into_iter();
    let mut chosen: Vec<Chosen> = Vec::new();
    for name in names {
        let row = if let Some(limit) = Limit::named(name) {
            Chosen {
                name: name.to_owned(),
                row: Row::Limit(limit),
            }
        } else if let Some((origin, spec, _)) = found.next() {
            policy(&origin, spec)?
        } else {
            continue;
        };
        if chosen.iter().any(|c| c.name == row.name) {
            return Err(Failure::bad_input(anyhow::anyhow!(
                "two policies are called `{}`\nhint: give one of them another `name` in its file",
                row.name
            )));
        }
        chosen.push(row);
    }
    Ok(chosen)
}

fn policy(origin: &Origin, spec: PolicySpec) -> Result<Chosen, Failure> {
    spec.build().map_err(|e| origin.fail(e))?;
    if Limit::named(&spec.name).is_some() {
        return Err(Failure::bad_input(anyhow::anyhow!(
            "a policy is called `{}`, which is the name of a limit\nhint: give it another `name` in \
             its file",
            spec.name
        )));
    }
    let toml = spec.to_toml().map_err(|e| origin.fail(e))?;
    Ok(Chosen {
        name: spec.name.clone(),
        row: Row::Policy {
            spec: Box::new(spec),
            toml,
        },
    })
}

type Found = (Origin, PolicySpec, Vec<(String, String)>);

/// Applies one override to every policy that has the key, or to the one that the key names first.
fn apply(found: &mut [Found], key: &str, value: &str) -> Result<(), Failure> {
    let addressed = key
        .split_once('.')
        .filter(|(head, _)| found.iter().any(|(_, spec, _)| spec.name == *head));
    let (only, inner) = match addressed {
        Some((head, rest)) => (Some(head.to_owned()), rest),
        None => (None, key),
    };
    let mut taken = false;
    for (origin, spec, applied) in found.iter_mut() {
        if only.as_ref().is_some_and(|name| *name != spec.name) {
            continue;
        }
        applied.push((inner.to_owned(), value.to_owned()));
        match origin.resolve(applied) {
            Ok(resolved) => {
                *spec = resolved;
                taken = true;
            }
            // Another policy may have it.
            Err(PolicyError::UnknownKey { .. }) => {
                applied.pop();
            }
            Err(error) => {
                return Err(origin
                    .fail(error)
                    .context(format!("cannot apply `--set {key}={value}`")));
            }
        }
    }
    if taken {
        return Ok(());
    }
    let known = known_keys(found);
    let names: Vec<&str> = found
        .iter()
        .map(|(_, spec, _)| spec.name.as_str())
        .collect();
    Err(Failure::bad_input(anyhow::anyhow!(
        "unknown key `{key}` in `--set` (no setting, and no key of {}){}",
        names.join(", "),
        did_you_mean(nearest(key, known.iter().map(String::as_str)))
    )))
}

/// Every key that `--set` takes with these policies: settings, `order.aging_s`, `mars.order.aging_s`.
fn known_keys(found: &[Found]) -> Vec<String> {
    let mut keys: Vec<String> = settings::KEYS.iter().map(|k| (*k).to_owned()).collect();
    for (_, spec, _) in found {
        let table: Option<toml::Table> = spec.to_toml().ok().and_then(|text| text.parse().ok());
        for (section, part) in table.into_iter().flatten() {
            for (key, _) in part.as_table().into_iter().flatten() {
                let key = format!("{section}.{key}");
                keys.push(format!("{}.{key}", spec.name));
                keys.push(key);
            }
        }
    }
    // Without the policy's name first: of equally near keys the plain one is proposed.
    keys.sort_by_key(|key| (key.matches('.').count(), key.clone()));
    keys.dedup();
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::render;

    fn set(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn an_override_reaches_every_policy_that_has_the_key() {
        let chosen = choose("fcfs,mars", &set(&[("admission.window_max", "40")])).unwrap();
        assert!(!chosen[0].toml().unwrap().contains("window_max"));
        assert!(chosen[1].toml().unwrap().contains("window_max = 40"));
    }

    #[test]
    fn an_override_may_name_one_policy() {
        let both = set(&[
            ("fcfs.order.kind", "mars-mlfq"),
            ("order.aging_s", "7"),
            ("mars.order.aging_s", "10"),
        ]);
        let chosen = choose("fcfs,mars", &both).unwrap();
        assert!(
            chosen[0].toml().unwrap().contains("aging_s = 7"),
            "{}",
            chosen[0].toml().unwrap()
        );
        assert!(chosen[1].toml().unwrap().contains("aging_s = 10"));
    }

    #[test]
    fn unknown_names_and_keys_name_the_nearest() {
        let text = |list: &str, pairs: &[(&str, &str)]| {
            render(&choose(list, &set(pairs)).unwrap_err().error)
        };
        assert!(text("marz", &[]).ends_with("hint: did you mean `mars`?\n"));
        let hint = |pairs: &[(&str, &str)], wanted: &str| {
            let text = text("fcfs,mars", pairs);
            let line = format!("hint: did you mean `{wanted}`?\n");
            assert!(text.ends_with(&line), "{text}");
        };
        hint(&[("admission.window_mx", "2")], "admission.window_max");
        hint(&[("mars.order.agin_s", "2")], "mars.order.aging_s");
        hint(&[("engine.token_bugdet", "2")], "engine.token_budget");
    }

    #[test]
    fn limits_stand_in_their_place_and_take_no_override() {
        let chosen = choose("isolated, mars,bound", &set(&[("order.aging_s", "7")])).unwrap();
        let names: Vec<&str> = chosen.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["isolated", "mars", "bound"]);
        let limits: Vec<Option<Limit>> = chosen.iter().map(Chosen::limit).collect();
        assert_eq!(limits, [Some(Limit::Isolated), None, Some(Limit::Bound)]);
        assert!(chosen[1].toml().unwrap().contains("aging_s = 7"));
        assert!(choose("bound", &set(&[("order.aging_s", "7")])).is_err());
        assert!(choose("bound,bound", &[]).is_err());
    }

    #[test]
    fn two_policies_of_one_name_are_refused() {
        assert!(choose("mars,mars", &[]).is_err());
        assert!(choose(" , ", &[]).is_err());
    }
}
