//! One combination of a sweep as the command line of an `orrery run`, and whose fault it is when it
//! cannot be.

use anyhow::anyhow;
use clap::Parser;

use super::file::{Axis, Item, Key, SweepFile};
use crate::cli::{Cli, Command, RunArgs};
use crate::failure::Failure;
use crate::run::limits::Limit;
use crate::run::plan::FlagError;
use crate::run::policies;
use crate::run::settings::Settings;

/// Of every key that is no list of its own, one value.
pub(super) type Cell<'a> = Vec<(&'a Axis, &'a Item)>;

/// The command line of one combination.
pub(super) fn arguments(
    file: &SweepFile,
    lists: &[&Axis],
    cell: &Cell<'_>,
) -> Result<RunArgs, Failure> {
    let mut words = vec!["orrery".to_owned(), "run".to_owned()];
    let mut line_of = Vec::new();
    let mut push = |axis: &Axis, line: usize, text: &str| {
        let word = match &axis.key {
            Key::Flag(flag) if text == "true" && !takes_value(flag) => format!("--{flag}"),
            Key::Flag(flag) if text == "false" && !takes_value(flag) => return,
            Key::Flag(flag) => format!("--{flag}={text}"),
            Key::Set(key) => format!("--set={key}={text}"),
        };
        words.push(word);
        line_of.push((axis.key.shown(), text.to_owned(), line));
    };
    for axis in lists {
        let texts: Vec<String> = axis
            .values
            .iter()
            .map(|item| {
                if axis.key.is("policy") {
                    policy_path(file, &item.text)
                } else {
                    item.text.clone()
                }
            })
            .collect();
        push(axis, axis.line, &texts.join(","));
    }
    for (axis, item) in cell {
        push(axis, item.line, &item.text);
    }
    let parsed = |words: &[String]| match Cli::try_parse_from(words) {
        Ok(Cli {
            command: Some(Command::Run(run)),
        }) => Ok(*run),
        Ok(_) => Err(anyhow!("no flags of `orrery run`")),
        Err(error) => Err(anyhow!("{}", in_short(&error.to_string()))),
    };
    parsed(&words).map_err(|error| {
        // Which of the words is it? The one that is refused alone.
        let guilty = words[2..].iter().zip(&line_of).find(|(word, _)| {
            let alone = ["orrery".to_owned(), "run".to_owned(), (*word).clone()];
            parsed(&alone).is_err()
        });
        Failure::bad_input(match guilty {
            Some((_, (key, text, line))) => {
                error.context(file.wrong(*line, &format!("`{key}` cannot be `{text}`")))
            }
            None => error.context(format!("cannot use `{}`", file.path.display())),
        })
    })
}

/// What the argument parser says, as a message and a hint.
fn in_short(text: &str) -> String {
    let mut message = String::new();
    let mut hints = String::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("For more information") || line.starts_with("Usage") {
            break;
        }
        if let Some(tip) = line.strip_prefix("tip: ") {
            hints.push_str("\nhint: ");
            hints.push_str(tip);
        } else if !line.is_empty() {
            let line = line.strip_prefix("error: ").unwrap_or(line);
            message.push_str(if message.is_empty() { "" } else { " " });
            message.push_str(line);
        }
    }
    message + &hints
}

fn takes_value(flag: &str) -> bool {
    use clap::Args as _;
    let command = RunArgs::augment_args(clap::Command::new("run"));
    let found = command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(flag));
    found.is_none_or(|arg| arg.get_action().takes_values())
}

/// A preset's name, or the path of a file beside the sweep.
fn policy_path(file: &SweepFile, name: &str) -> String {
    let is_preset = ::policies::PRESETS
        .iter()
        .any(|(preset, _)| *preset == name);
    if is_preset || Limit::named(name).is_some() {
        return name.to_owned();
    }
    file.beside(name).to_string_lossy().into_owned()
}

/// Says which line is to blame, where one is. `policy` is the list as `orrery run` got it.
pub(super) fn blame(
    file: &SweepFile,
    lists: &[&Axis],
    cell: &Cell<'_>,
    policy: &str,
    failure: Failure,
) -> Failure {
    let at = |axis: &Axis, item: &Item| file.refused(axis, item);
    if let Some(FlagError { flag, value, .. }) = failure.error.downcast_ref() {
        let flag = flag.trim_start_matches('-');
        let axis = file.axes.iter().find(|axis| axis.key.is(flag));
        let item = axis.and_then(|axis| {
            let exact = axis.values.iter().find(|item| item.text == *value);
            exact.or(axis.values.first())
        });
        if let (Some(axis), Some(item)) = (axis, item) {
            return failure.context(at(axis, item));
        }
    }
    if let Some(axis) = lists.iter().find(|axis| axis.key.is("policy")) {
        let is_bad = |item: &&Item| policies::choose(&policy_path(file, &item.text), &[]).is_err();
        if let Some(item) = axis.values.iter().find(is_bad) {
            return failure.context(at(axis, item));
        }
    }
    let mut overrides = Vec::new();
    for (axis, item) in cell {
        let Key::Set(key) = &axis.key else { continue };
        match Settings::default().set(key, &item.text) {
            Ok(true) => {}
            Err(_) => return failure.context(at(axis, item)),
            Ok(false) => {
                overrides.push((key.clone(), item.text.clone()));
                if policies::choose(policy, &overrides).is_err() {
                    return failure.context(at(axis, item));
                }
            }
        }
    }
    if let [(axis, item)] = cell[..] {
        return failure.context(at(axis, item));
    }
    let values = cell.iter().map(|(axis, item)| {
        format!(
            "`{}` = `{}` (line {})",
            axis.key.shown(),
            item.text,
            item.line
        )
    });
    failure.context(format!(
        "`{}`: this combination cannot run: {}\nhint: a `[[skip]]` leaves combinations out",
        file.path.display(),
        values.collect::<Vec<String>>().join(", ")
    ))
}
