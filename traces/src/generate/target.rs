//! What a workload's statistics should be, and what they are.
//!
//! Why: a preset that claims to look like a published workload shows how near it comes.
//! Limits: statistics are those of a finite sample. `ideal_s` needs a machine: the caller measures it
//! and hands it in ([`achieved_with_ideals`]); without it, it is `None`.

use units::Nanos;

use super::spec::Spec;
use crate::model::Session;

/// A number that a workload should have.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Of which quantity.
    pub of: Quantity,
    /// Which number of its distribution.
    pub statistic: Statistic,
    /// Only over sessions of this class; `None` for all.
    pub class: Option<usize>,
    /// The number wanted.
    pub wanted: f64,
    /// How far off counts as met, as a share of the number wanted.
    pub tolerance: f64,
    /// Who says so.
    pub source: String,
}

/// What a statistic is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    /// Model calls of a session.
    Turns,
    /// Tokens of a session's first prompt.
    FirstPrompt,
    /// Sum of the prompts of a session's calls, in tokens.
    PromptVolume,
    /// Tokens of the last prompt and its output.
    ContextEnd,
    /// Tokens generated in a session.
    SessionOutput,
    /// Sum of the prompts and outputs of a session's calls, in tokens.
    SessionTokens,
    /// Time of a session's tools in seconds, each turn's longest, the build included.
    SessionToolS,
    /// Time of a session on an idle machine, in seconds: only the caller knows.
    IdealS,
    /// Tokens of a prompt, per turn.
    Prompt,
    /// Tokens generated, per turn.
    Output,
    /// Tokens that a prompt has beyond the previous prompt and output.
    Observation,
    /// Tool calls, per turn that another follows.
    Calls,
    /// Seconds of a tool call alone; a session's build is left out.
    ToolWallS,
    /// CPU seconds of a tool call; a session's build is left out.
    ToolCpuS,
    /// CPU seconds of a session's build.
    BuildCpuS,
    /// Seconds of a human's pause.
    PauseS,
}

impl Quantity {
    /// All, with their names in a description.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("turns", Self::Turns),
        ("first_prompt", Self::FirstPrompt),
        ("prompt_volume", Self::PromptVolume),
        ("context_end", Self::ContextEnd),
        ("session_output", Self::SessionOutput),
        ("session_tokens", Self::SessionTokens),
        ("session_tool_s", Self::SessionToolS),
        ("ideal_s", Self::IdealS),
        ("prompt", Self::Prompt),
        ("output", Self::Output),
        ("observation", Self::Observation),
        ("calls", Self::Calls),
        ("tool_wall_s", Self::ToolWallS),
        ("tool_cpu_s", Self::ToolCpuS),
        ("build_cpu_s", Self::BuildCpuS),
        ("pause_s", Self::PauseS),
    ];

    /// Its name in a description.
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, quantity)| *quantity == self);
        found.map_or("", |(name, _)| name)
    }
}

/// A number of a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statistic {
    /// The mean.
    Mean,
    /// The standard deviation (of the sample, divided by n - 1).
    Sd,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// The value at this share of the sorted sample (nearest rank).
    Percentile(f64),
    /// Share of the values above this one.
    ShareAbove(f64),
}

impl Statistic {
    /// As a table prints it.
    pub fn name(self) -> String {
        match self {
            Self::Mean => "mean".to_owned(),
            Self::Sd => "sd".to_owned(),
            Self::Min => "min".to_owned(),
            Self::Max => "max".to_owned(),
            Self::Percentile(p) => format!("p{p}"),
            Self::ShareAbove(limit) => format!("share above {limit}"),
        }
    }

    /// The statistic of `values`; `None` where it is not defined.
    pub fn of(self, values: &[f64]) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "samples are far below 2^53")]
        let n = values.len() as f64;
        if values.is_empty() {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n;
        match self {
            Self::Mean => Some(mean),
            Self::Sd if values.len() < 2 => None,
            Self::Sd => {
                let squares = values.iter().map(|v| (v - mean) * (v - mean));
                Some((squares.sum::<f64>() / (n - 1.0)).sqrt())
            }
            Self::Min => values.iter().copied().reduce(f64::min),
            Self::Max => values.iter().copied().reduce(f64::max),
            Self::Percentile(p) => {
                let mut sorted = values.to_vec();
                sorted.sort_by(f64::total_cmp);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a share of the sample's length"
                )]
                let rank = (p / 100.0 * n).ceil().max(1.0) as usize;
                sorted.get(rank - 1).copied()
            }
            #[expect(clippy::cast_precision_loss, reason = "samples are far below 2^53")]
            Self::ShareAbove(limit) => {
                Some(values.iter().filter(|v| **v > limit).count() as f64 / n)
            }
        }
    }
}

/// A target and what a sample has.
#[derive(Clone, Debug, PartialEq)]
pub struct Achieved {
    /// The target.
    pub target: Target,
    /// The sample's number; `None` where it is not known or not defined.
    pub value: Option<f64>,
}

impl Achieved {
    /// Whether the target is met; `None` where the number is not known.
    pub fn within(&self) -> Option<bool> {
        let allowed = self.target.tolerance * self.target.wanted.abs();
        self.value
            .map(|value| (value - self.target.wanted).abs() <= allowed)
    }
}

/// The statistics of the first `count` sessions under `seed`, one per target.
pub fn achieved(spec: &Spec, seed: u64, count: u64) -> Vec<Achieved> {
    let mut sample = Sample::new(spec);
    for index in 0..count {
        sample.note(spec, seed, index, None);
    }
    sample.finish()
}

/// As [`achieved`] over as many sessions as there are ideal times, in the sessions' order. `None`: the
/// session does not fit the machine, and has no ideal time.
pub fn achieved_with_ideals(spec: &Spec, seed: u64, ideals: &[Option<Nanos>]) -> Vec<Achieved> {
    let mut sample = Sample::new(spec);
    for (ideal, index) in ideals.iter().zip(0..) {
        sample.note(spec, seed, index, *ideal);
    }
    sample.finish()
}

/// The values behind each target.
struct Sample {
    targets: Vec<(Target, Vec<f64>)>,
}

impl Sample {
    fn new(spec: &Spec) -> Self {
        let targets = spec.targets.iter().map(|t| (t.clone(), Vec::new()));
        Self {
            targets: targets.collect(),
        }
    }

    fn note(&mut self, spec: &Spec, seed: u64, index: u64, ideal: Option<Nanos>) {
        let class = spec.class_of(seed, index);
        let session = spec.session(seed, index);
        let build = spec.classes[class].build.is_some();
        for (target, values) in &mut self.targets {
            if target.class.is_none_or(|only| only == class) {
                target.of.values(&session, build, ideal, values);
            }
        }
    }

    fn finish(self) -> Vec<Achieved> {
        let each = self.targets.into_iter().map(|(target, values)| Achieved {
            value: target.statistic.of(&values),
            target,
        });
        each.collect()
    }
}

impl Quantity {
    /// Adds this quantity's values in one session. `build`: the first tool call is a build.
    fn values(self, session: &Session, build: bool, ideal: Option<Nanos>, to: &mut Vec<f64>) {
        let turns = &session.turns;
        let skip = usize::from(build);
        let calls = || turns.iter().flat_map(|turn| &turn.tools);
        let secs = |time: Option<crate::Known<Nanos>>| time.map(|t| t.value.as_secs());
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        let count = |n: u64| n as f64;
        match self {
            Self::Turns => to.push(count(turns.len() as u64)),
            Self::FirstPrompt => to.extend(turns.first().map(|t| count(t.prompt.0))),
            Self::PromptVolume => to.push(count(session.prompt_tokens().0)),
            Self::ContextEnd => {
                to.extend(turns.last().map(|t| count((t.prompt + t.output.value).0)));
            }
            Self::SessionOutput => to.push(count(session.output_tokens().0)),
            Self::SessionTokens => {
                to.push(count((session.prompt_tokens() + session.output_tokens()).0));
            }
            Self::SessionToolS => {
                let longest = turns.iter().filter_map(crate::Turn::tool_time);
                to.push(longest.sum::<Nanos>().as_secs());
            }
            Self::IdealS => to.extend(ideal.map(Nanos::as_secs)),
            Self::Prompt => to.extend(turns.iter().map(|t| count(t.prompt.0))),
            Self::Output => to.extend(turns.iter().map(|t| count(t.output.value.0))),
            Self::Observation => to.extend(turns.windows(2).map(|pair| {
                let kept = pair[0].prompt + pair[0].output.value;
                count(pair[1].prompt.saturating_sub(kept).0)
            })),
            Self::Calls => {
                let followed = turns.len().saturating_sub(1);
                to.extend(
                    turns[..followed]
                        .iter()
                        .map(|t| count(t.tools.len() as u64)),
                );
            }
            Self::ToolWallS => to.extend(calls().skip(skip).filter_map(|c| secs(c.wall))),
            Self::ToolCpuS => to.extend(calls().skip(skip).filter_map(|c| secs(c.cpu))),
            Self::BuildCpuS => to.extend(calls().take(skip).filter_map(|c| secs(c.cpu))),
            Self::PauseS => to.extend(turns.iter().filter_map(|t| t.think.map(Nanos::as_secs))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_those_by_hand() {
        let values = [4.0, 1.0, 3.0, 2.0, 10.0];
        let of = |statistic: Statistic| statistic.of(&values);
        assert_eq!(of(Statistic::Mean), Some(4.0));
        // Squares of the distances to 4: 0, 9, 1, 4, 36; their sum over n - 1 is 12.5.
        assert_eq!(of(Statistic::Sd), Some(12.5_f64.sqrt()));
        assert_eq!(
            (of(Statistic::Min), of(Statistic::Max)),
            (Some(1.0), Some(10.0))
        );
        // Nearest rank: the smallest value with at least that share at or below it.
        let ranks = [
            (0.0, 1.0),
            (20.0, 1.0),
            (20.1, 2.0),
            (50.0, 3.0),
            (80.0, 4.0),
            (99.0, 10.0),
        ];
        for (percent, wanted) in ranks {
            assert_eq!(
                of(Statistic::Percentile(percent)),
                Some(wanted),
                "{percent}"
            );
        }
        assert_eq!(of(Statistic::ShareAbove(3.0)), Some(0.4));
        for statistic in [
            Statistic::Mean,
            Statistic::Sd,
            Statistic::Max,
            Statistic::ShareAbove(1.0),
        ] {
            assert_eq!(statistic.of(&[]), None);
        }
        assert_eq!(Statistic::Sd.of(&[1.0]), None);
    }

    #[test]
    fn quantities_are_those_by_hand() {
        let text = "
            name = \"t\"
            turns = 3
            first_prompt = 100
            output = 10
            observation = 5
            tools_per_turn = 2
            tool = [{ name = \"x\", wall_s = 2 }]
            build = { name = \"b\", cpu_s = 4, wall_per_cpu = 2 }
        ";
        let spec = Spec::from_toml(text).expect("a description");
        // Prompts 100, 115, 130. Calls: build (8 s) and x, then x and x.
        let wanted: &[(Quantity, &[f64])] = &[
            (Quantity::Turns, &[3.0]),
            (Quantity::FirstPrompt, &[100.0]),
            (Quantity::PromptVolume, &[345.0]),
            (Quantity::ContextEnd, &[140.0]),
            (Quantity::SessionOutput, &[30.0]),
            (Quantity::SessionTokens, &[375.0]),
            (Quantity::SessionToolS, &[10.0]),
            (Quantity::IdealS, &[7.0]),
            (Quantity::Prompt, &[100.0, 115.0, 130.0]),
            (Quantity::Output, &[10.0, 10.0, 10.0]),
            (Quantity::Observation, &[5.0, 5.0]),
            (Quantity::Calls, &[2.0, 2.0]),
            (Quantity::ToolWallS, &[2.0, 2.0, 2.0]),
            (Quantity::ToolCpuS, &[1.1, 1.1, 1.1]),
            (Quantity::BuildCpuS, &[4.0]),
            (Quantity::PauseS, &[]),
        ];
        assert_eq!(wanted.len(), Quantity::ALL.len());
        for (quantity, wanted) in wanted {
            let mut values = Vec::new();
            let ideal = Some(Nanos::from_millis(7_000));
            quantity.values(&spec.session(1, 0), true, ideal, &mut values);
            assert_eq!(values, *wanted, "{}", quantity.name());
        }
    }
}
