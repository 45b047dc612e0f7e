//! What there is to choose from: policies, hardware, workloads.

mod explain;
mod hardware;

use std::fmt::Write as _;

use anyhow::anyhow;
use policies::{PRESETS, PolicySpec};
use traces::generate::PRESETS as PRESETS_MADE;
use traces::{bundled, generate};

use crate::cli::{HardwareArgs, ListWhat, PoliciesWhat};
use crate::failure::Failure;
use crate::output::data;
use crate::run::limits::Limit;
use crate::run::workload::{self, EvidenceCounts, Workload};

/// `orrery policies ...`
///
/// # Errors
/// Bad input: no preset of that name, with the nearest.
pub fn policies(what: &PoliciesWhat) -> Result<(), Failure> {
    match what {
        PoliciesWhat::List => {
            let mut text = String::new();
            let names = PRESETS.iter().map(|(name, _)| name.len());
            let width = names.max().unwrap_or(0);
            for (name, _) in PRESETS {
                let spec = PolicySpec::preset(name).map_err(Failure::bad_input)?;
                let _ = writeln!(text, "{name:<width$}  {}", spec.intent);
            }
            for limit in Limit::ALL {
                let _ = writeln!(text, "{:<width$}  {}", limit.name(), limit.meaning());
            }
            data(&text)
        }
        PoliciesWhat::Show { name } if Limit::named(name).is_some() => {
            Err(Failure::bad_input(anyhow!(
                "`{name}` is a limit and has no settings (wanted: a policy preset)\nhint: `orrery \
                 policies explain {name}`"
            )))
        }
        PoliciesWhat::Show { name } => {
            // The name is checked by resolving it; the text is printed with its comments.
            PolicySpec::preset(name).map_err(Failure::bad_input)?;
            let text = PRESETS
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, text)| *text);
            data(text.unwrap_or_default())
        }
        PoliciesWhat::Explain { name } => {
            if let Some(limit) = Limit::named(name) {
                return data(&explain::limit(limit));
            }
            let spec = PolicySpec::preset(name).map_err(Failure::bad_input)?;
            data(&explain::explain(&spec)?)
        }
    }
}

/// `orrery hardware list`
///
/// # Errors
/// Bad input: a file that is no spec. Or if stdout refuses the text.
pub fn hardware(args: &HardwareArgs) -> Result<(), Failure> {
    match args.what {
        ListWhat::List => data(&hardware::list(
            args.hardware_file.as_deref().unwrap_or_default(),
        )?),
    }
}

/// `orrery workloads list`
///
/// # Errors
/// If stdout refuses the text.
pub fn workloads(what: &ListWhat) -> Result<(), Failure> {
    match what {
        ListWhat::List => {
            let mut text = String::new();
            for name in bundled::NAMES {
                text.push_str(&about(
                    name,
                    &Workload::load(name, workload::Loading::default())?,
                ));
            }
            text.push_str("\nMade from a description, as many sessions as a run offers:\n");
            let width = PRESETS_MADE
                .iter()
                .map(|(name, _)| name.len())
                .max()
                .unwrap_or(0);
            for (name, _) in PRESETS_MADE {
                let about = generate::preset(name)
                    .map(|spec| spec.about)
                    .unwrap_or_default();
                let _ = writeln!(text, "  {name:<width$}  {about}");
            }
            text.push_str(
                "\nAny trace file works too: `orrery run --workload FILE` (JSON Lines, plain or \
                 zstd; traces/FORMAT.md).\n",
            );
            data(&text)
        }
    }
}

fn about(name: &str, workload: &Workload) -> String {
    let turns: usize = workload.sessions.iter().map(|s| s.turns.len()).sum();
    let peak = workload.sessions.iter().map(|s| s.peak_tokens()).max();
    let mut text = name.to_owned();
    if name == workload::DEFAULT {
        text.push_str(" (also called `bundled`, the default)");
    }
    let _ = writeln!(
        text,
        "\n  {} sessions, {turns} turns, largest context {} tokens",
        workload.sessions.len(),
        peak.unwrap_or_default()
    );
    let fields = [
        ("source", &workload.header.source),
        ("licence", &workload.header.license),
        ("note", &workload.header.note),
    ];
    for (field, value) in fields {
        let _ = writeln!(text, "  {field}: {}", value.as_deref().unwrap_or("n/a"));
    }
    let EvidenceCounts {
        outputs,
        tool_walls,
        tool_cpus,
        ..
    } = workload.evidence;
    for (what, c) in [
        ("output lengths", outputs),
        ("tool times", tool_walls),
        ("tool CPU times", tool_cpus),
    ] {
        let _ = writeln!(
            text,
            "  {what}: {} recorded, {} estimated, {} drawn, {} unknown",
            c.recorded, c.estimated, c.drawn, c.unknown
        );
    }
    text
}
