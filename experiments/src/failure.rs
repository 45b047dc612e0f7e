//! How the program fails: an exit code, what went wrong, why, and what to do.
//!
//! Why: every error looks the same (`error:`, `cause:` lines, `hint:`), whichever crate it is from.
//! Limits: a hint travels inside a message, as a last line that starts with `hint: `.

use std::fmt::Write as _;
use std::process::ExitCode;

use engine::drive::{DriveError, WallError};
use replay::ReplayError;
use sim::world::SimError;

/// Exit codes other than 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Finished, but something failed on the way.
    Partial = 1,
    /// The input cannot be used.
    BadInput = 2,
    /// An invariant broke: a bug, never the user's fault.
    Invariant = 3,
    /// Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What no world can go on with.
fn of_replay(error: &ReplayError) -> Exit {
    match error {
        ReplayError::Scheduler(_) | ReplayError::ArrivalsOutOfOrder { .. } => Exit::Invariant,
        // The policy gets nowhere on this load; other runs may.
        ReplayError::Livelock { .. } => Exit::Partial,
        ReplayError::UnknownTool { .. } => Exit::BadInput,
    }
}

/// Why the program cannot go on.
#[derive(Debug)]
pub struct Failure {
    /// What the shell is told.
    pub exit: Exit,
    /// What people are told.
    pub error: anyhow::Error,
}

impl Failure {
    /// Input that cannot be used.
    pub fn bad_input(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::BadInput,
            error: error.into(),
        }
    }

    /// A run that cannot go on: the input's fault, or a bug, by what the simulator says.
    pub fn of_run(error: SimError) -> Self {
        let exit = match &error {
            SimError::Replay(error) => of_replay(error),
            SimError::Config(_)
            | SimError::BadTool { .. }
            | SimError::LimitBeyondCost { .. }
            | SimError::ContextBeyondCost { .. }
            | SimError::OutsideCost { .. } => Exit::BadInput,
        };
        Self {
            exit,
            error: error.into(),
        }
    }

    /// A run on a real machine that cannot go on.
    pub fn of_drive(error: DriveError<WallError>) -> Self {
        let exit = match &error {
            DriveError::Surroundings(WallError::Replay(error)) => of_replay(error),
            // The device's fault, not the input's: the others' runs may do better.
            DriveError::Executor(_) => Exit::Partial,
            DriveError::ContextBeyondModel { .. } => Exit::BadInput,
            DriveError::Surroundings(_)
            | DriveError::Batch(_)
            | DriveError::StaleRead { .. }
            | DriveError::Sampled { .. } => Exit::Invariant,
        };
        Self {
            exit,
            error: error.into(),
        }
    }

    /// The same failure, with what was being done.
    pub fn context(self, what: String) -> Self {
        Self {
            error: self.error.context(what),
            ..self
        }
    }

    /// Tells people, on stderr.
    pub fn print(&self) {
        use std::io::Write as _;
        // Nothing can be done about a closed stderr.
        let _ = std::io::stderr().write_all(render(&self.error).as_bytes());
    }
}

/// `error:`, then `cause:` lines, then hints.
pub fn render(error: &anyhow::Error) -> String {
    let mut text = String::new();
    let mut hints: Vec<String> = Vec::new();
    let mut above = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let message = cause.to_string();
        // Some messages already end with that of their source.
        if depth > 0 && above.ends_with(&message) {
            continue;
        }
        let mut body = Vec::new();
        for line in message.lines() {
            match line.strip_prefix("hint: ") {
                Some(hint) => hints.push(hint.to_owned()),
                None => body.push(line.trim_end()),
            }
        }
        let label = if depth == 0 { "error: " } else { "  cause: " };
        let indent = " ".repeat(label.len());
        let body = body.join(&format!("\n{indent}"));
        let _ = writeln!(text, "{label}{}", body.trim_end());
        above = message;
    }
    for hint in hints {
        let _ = writeln!(text, "hint: {hint}");
    }
    text
}

/// The known name most like `word`, if any is likely meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Below 0.7 a suggestion is noise. The first of equals wins.
    let mut best: Option<(f64, &str)> = None;
    for name in known {
        let likeness = strsim::jaro_winkler(word, name);
        if likeness > 0.7 && best.is_none_or(|(so_far, _)| likeness > so_far) {
            best = Some((likeness, name));
        }
    }
    best.map(|(_, name)| name)
}

/// `hint: did you mean ...?` on a line of its own, or nothing.
pub fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| {
        format!("\nhint: did you mean `{name}`?")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_error_cause_hint() {
        let error = anyhow::anyhow!("line 812: `x` is -1 (wanted: at least 1)")
            .context("cannot use workload `w.jsonl`\nhint: see FORMAT.md");
        assert_eq!(
            render(&error),
            "error: cannot use workload `w.jsonl`\n  cause: line 812: `x` is -1 (wanted: at least \
             1)\nhint: see FORMAT.md\n"
        );
    }

    #[test]
    fn a_cause_that_was_already_said_is_not_repeated() {
        let error = anyhow::anyhow!("too much").context("tool `a`: too much");
        assert_eq!(render(&error), "error: tool `a`: too much\n");
    }
}
