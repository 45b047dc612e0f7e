//! The sweep file: which flag takes which values, each with the line it stands in.
//!
//! Why flags: a sweep is many `orrery run`s, so whatever `orrery run` learns can be swept at once.
//! Limits: values are only read here; whether a flag takes them is told when they are used.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::cli::RunArgs;
use crate::failure::{Failure, did_you_mean, nearest};

/// Flags of `orrery run` that say how to run and print, not what.
const NOT_SWEPT: [&str; 6] = ["out", "format", "threads", "quiet", "set", "help"];

/// Keys of the file that are no flags.
const OWN: [&str; 3] = ["name", "set", "skip"];

/// Most seeds that a range may name.
const RANGE_LIMIT: u64 = 100_000;

/// A sweep as its user wrote it.
#[derive(Clone, Debug)]
pub struct SweepFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it is called: its `name`, or the file's.
    pub name: String,
    /// Every key with its values, in the file's order.
    pub axes: Vec<Axis>,
    /// Combinations to leave out.
    pub skips: Vec<Vec<Axis>>,
}

/// A key and its values: at least one, none twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// The key.
    pub key: Key,
    /// The line it stands in, from 1.
    pub line: usize,
    /// Its values, as on a command line.
    pub values: Vec<Item>,
}

/// What is set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A flag of `orrery run`, without dashes in front.
    Flag(String),
    /// A key of `--set`.
    Set(String),
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// As on a command line.
    pub text: String,
    /// The line it stands in, from 1.
    pub line: usize,
}

impl Key {
    /// As it stands in the file.
    pub fn shown(&self) -> String {
        match self {
            Self::Flag(flag) => flag.replace('-', "_"),
            Self::Set(key) => format!("set.{key}"),
        }
    }

    /// Whether it is this flag.
    pub fn is(&self, flag: &str) -> bool {
        matches!(self, Self::Flag(own) if own == flag)
    }
}

impl SweepFile {
    /// Reads the file.
    ///
    /// # Errors
    /// Bad input, with line, key, value and what it may be.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read sweep `{}`", path.display()))
            .map_err(Failure::bad_input)?;
        let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned());
        Self::parse(path, &stem.unwrap_or_default(), &text).map_err(Failure::bad_input)
    }

    pub(crate) fn parse(path: &Path, stem: &str, text: &str) -> anyhow::Result<Self> {
        let reader = Reader {
            path,
            text,
            flags: flags(),
        };
        let table = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| reader.line(span.start));
            reader.wrong(line, error.message())
        })?;
        let mut file = Self {
            path: path.to_owned(),
            name: stem.to_owned(),
            axes: Vec::new(),
            skips: Vec::new(),
        };
        for (key, value) in in_order(table.get_ref()) {
            let line = reader.line(key.span().start);
            match key.get_ref().as_ref() {
                "name" => file.name = reader.name(value)?,
                "skip" => file.skips = reader.skips(line, value)?,
                _ => file.axes.extend(reader.axes(key, value)?),
            }
        }
        file.check_skips()?;
        Ok(file)
    }

    /// A combination that never comes up cannot be left out: it is a slip of the pen.
    fn check_skips(&self) -> anyhow::Result<()> {
        for skipped in self.skips.iter().flatten() {
            let shown = skipped.key.shown();
            let axis = self.axes.iter().find(|axis| axis.key == skipped.key);
            let Some(axis) = axis.filter(|axis| !axis.key.is("alpha")) else {
                let message = format!("`{shown}` is in `[[skip]]`, and is not swept");
                return Err(self.wrong(skipped.line, &message));
            };
            let known = || axis.values.iter().map(|item| item.text.as_str());
            for item in &skipped.values {
                if !known().any(|text| text == item.text) {
                    let hint = did_you_mean(nearest(&item.text, known()));
                    let message = format!(
                        "`{shown}` is `{}` in `[[skip]]`, and never otherwise{hint}",
                        item.text
                    );
                    return Err(self.wrong(item.line, &message));
                }
            }
        }
        Ok(())
    }

    /// The axis of this flag, if the file has it.
    pub fn axis(&self, flag: &str) -> Option<&Axis> {
        self.axes.iter().find(|axis| axis.key.is(flag))
    }

    /// `` `FILE` line N: message``.
    pub fn wrong(&self, line: usize, message: &str) -> anyhow::Error {
        anyhow!("`{}` line {line}: {message}", self.path.display())
    }

    /// `` `FILE` line N: `KEY` cannot be `VALUE` ``.
    pub fn refused(&self, axis: &Axis, item: &Item) -> String {
        let what = format!("`{}` cannot be `{}`", axis.key.shown(), item.text);
        self.wrong(item.line, &what).to_string()
    }

    /// A file that the sweep names: beside the sweep file, if there is one.
    pub fn beside(&self, name: &str) -> PathBuf {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let beside = folder.join(name);
        if beside.is_file() {
            beside
        } else {
            PathBuf::from(name)
        }
    }
}

/// Long flags of `orrery run` that may be swept.
fn flags() -> Vec<String> {
    let command = RunArgs::augment_args(clap::Command::new("run"));
    let longs = command.get_arguments().filter_map(clap::Arg::get_long);
    longs
        .filter(|long| !NOT_SWEPT.contains(long))
        .map(str::to_owned)
        .collect()
}

type KeyText<'i> = Spanned<std::borrow::Cow<'i, str>>;
type Entry<'a, 'i> = (&'a KeyText<'i>, &'a Spanned<DeValue<'i>>);

/// Entries as they stand in the file.
fn in_order<'a, 'i>(table: &'a DeTable<'i>) -> Vec<Entry<'a, 'i>> {
    let mut entries: Vec<Entry<'a, 'i>> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    flags: Vec<String>,
}

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().iter().take(at);
        1 + before.filter(|byte| **byte == b'\n').count()
    }

    fn wrong(&self, line: usize, message: &str) -> anyhow::Error {
        anyhow!("`{}` line {line}: {message}", self.path.display())
    }

    fn name(&self, value: &Spanned<DeValue<'_>>) -> anyhow::Result<String> {
        let line = self.line(value.span().start);
        let name = value.get_ref().as_str().filter(|name| !name.is_empty());
        name.map(str::to_owned).ok_or_else(|| {
            let found = value.get_ref().type_str();
            self.wrong(line, &format!("`name` is of type {found} (wanted: a text)"))
        })
    }

    /// The axes of one key: a flag, or all of `[set]`.
    fn axes(&self, key: &KeyText<'_>, value: &Spanned<DeValue<'_>>) -> anyhow::Result<Vec<Axis>> {
        let line = self.line(key.span().start);
        let name = key.get_ref().as_ref();
        if name == "set" {
            let mut axes = Vec::new();
            self.settings("", line, value, &mut axes)?;
            return Ok(axes);
        }
        let flag = name.replace('_', "-");
        if !self.flags.contains(&flag) {
            let known = self.flags.iter().map(|flag| flag.replace('-', "_"));
            let known: Vec<String> = known.chain(OWN.map(str::to_owned)).collect();
            let hint = match nearest(name, known.iter().map(String::as_str)) {
                Some(near) => did_you_mean(Some(near)),
                None => format!("\nhint: known keys are {}", known.join(", ")),
            };
            let hint = if NOT_SWEPT.contains(&name) {
                format!("\nhint: `{name}` is a flag of `orrery sweep`, not of its file")
            } else {
                hint
            };
            return Err(self.wrong(line, &format!("unknown key `{name}`{hint}")));
        }
        Ok(vec![self.axis(Key::Flag(flag), line, value)?])
    }

    /// `[set]`, whose keys have dots: quoted, or as tables in tables.
    fn settings(
        &self,
        above: &str,
        line: usize,
        value: &Spanned<DeValue<'_>>,
        found: &mut Vec<Axis>,
    ) -> anyhow::Result<()> {
        match value.get_ref() {
            DeValue::Table(table) => {
                for (key, value) in in_order(table) {
                    let name = key.get_ref();
                    let path = if above.is_empty() {
                        name.to_string()
                    } else {
                        format!("{above}.{name}")
                    };
                    self.settings(&path, self.line(key.span().start), value, found)?;
                }
                Ok(())
            }
            other if above.is_empty() => Err(self.wrong(
                line,
                &format!(
                    "`set` is of type {} (wanted: a table, `[set]`)",
                    other.type_str()
                ),
            )),
            _ => {
                let axis = self.axis(Key::Set(above.to_owned()), line, value)?;
                if found.iter().any(|other| other.key == axis.key) {
                    return Err(self.wrong(line, &format!("`{}` is set twice", axis.key.shown())));
                }
                found.push(axis);
                Ok(())
            }
        }
    }

    fn skips(&self, line: usize, value: &Spanned<DeValue<'_>>) -> anyhow::Result<Vec<Vec<Axis>>> {
        let wanted = "`skip` wants tables, `[[skip]]`";
        let list = value.get_ref().as_array();
        let list = list.ok_or_else(|| self.wrong(line, wanted))?;
        let mut skips = Vec::new();
        for entry in list {
            let line = self.line(entry.span().start);
            let table = entry.get_ref().as_table();
            let table = table.ok_or_else(|| self.wrong(line, wanted))?;
            let mut axes = Vec::new();
            for (key, value) in in_order(table) {
                axes.extend(self.axes(key, value)?);
            }
            if axes.is_empty() {
                return Err(self.wrong(line, "this `[[skip]]` is empty and would skip every run"));
            }
            skips.push(axes);
        }
        Ok(skips)
    }

    fn axis(&self, key: Key, line: usize, value: &Spanned<DeValue<'_>>) -> anyhow::Result<Axis> {
        let shown = key.shown();
        let mut values: Vec<Item> = Vec::new();
        let list = match value.get_ref() {
            DeValue::Array(list) => list.iter().collect(),
            _ => vec![value],
        };
        for value in list {
            let line = self.line(value.span().start);
            let text = scalar(value.get_ref()).ok_or_else(|| {
                let found = value.get_ref().type_str();
                let message = format!(
                    "`{shown}` has a value of type {found} (wanted: texts, numbers, true or false)"
                );
                self.wrong(line, &message)
            })?;
            let texts = match range(&key, &text) {
                Some(Ok(seeds)) => seeds,
                Some(Err(wanted)) => {
                    let message = format!("`{shown}` is `{text}` (wanted: {wanted})");
                    return Err(self.wrong(line, &message));
                }
                None => vec![text],
            };
            for text in texts {
                if values.iter().any(|item| item.text == text) {
                    return Err(self.wrong(line, &format!("`{shown}` has `{text}` twice")));
                }
                values.push(Item { text, line });
            }
        }
        if values.is_empty() {
            let message = format!("`{shown}` is an empty list (wanted: at least one value)");
            return Err(self.wrong(line, &message));
        }
        Ok(Axis { key, line, values })
    }
}

/// A value as on a command line; numbers as they print, so that 0.10 is 0.1.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.trim().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Integer(number) => {
            let parsed = i128::from_str_radix(number.as_str(), number.radix()).ok()?;
            Some(parsed.to_string())
        }
        DeValue::Float(number) => Some(number.as_str().parse::<f64>().ok()?.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// The seeds of `1-5`; `None` if the text is no range.
fn range(key: &Key, text: &str) -> Option<Result<Vec<String>, String>> {
    if !key.is("seed") {
        return None;
    }
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.trim().parse::<u64>(), last.trim().parse::<u64>());
    let seeds = match (first, last) {
        (Ok(first), Ok(last)) if first <= last && last - first < RANGE_LIMIT => {
            Ok((first..=last).map(|seed| seed.to_string()).collect())
        }
        _ => Err(format!(
            "FIRST-LAST with FIRST <= LAST and at most {RANGE_LIMIT} seeds"
        )),
    };
    Some(seeds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<SweepFile> {
        SweepFile::parse(Path::new("knee.toml"), "knee", text)
    }

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.values.iter().map(|item| item.text.as_str()).collect()
    }

    #[test]
    fn keys_and_values_keep_their_order_and_lines() {
        let file = parse(
            "rate = [0.10, 1, 2.5]\npolicy = \"mars\"\nseed = [7, \"1-3\"]\ntool_cores = [\n 4,\n 8]\n\
             decisions = true\n[set]\nengine.token_budget = 0x800\n\"order.aging_s\" = [10, 30]\n",
        )
        .unwrap();
        let keys: Vec<String> = file.axes.iter().map(|axis| axis.key.shown()).collect();
        assert_eq!(
            keys,
            [
                "rate",
                "policy",
                "seed",
                "tool_cores",
                "decisions",
                "set.engine.token_budget",
                "set.order.aging_s"
            ]
        );
        assert_eq!(texts(&file.axes[0]), ["0.1", "1", "2.5"]);
        assert_eq!(texts(&file.axes[2]), ["7", "1", "2", "3"]);
        assert_eq!(file.axes[3].key, Key::Flag("tool-cores".to_owned()));
        assert_eq!((file.axes[3].values[1].line, file.axes[3].line), (6, 4));
        assert_eq!(texts(&file.axes[5]), ["2048"]);
        assert_eq!(file.axes[6].line, 10);
        assert_eq!(file.name, "knee");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let says = |text: &str, wanted: &str| {
            let error = parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("`knee.toml` {wanted}"));
        };
        says(
            "rate = 1\npolicies = \"mars\"\n",
            "line 2: unknown key `policies`\nhint: did you mean `policy`?",
        );
        says(
            "out = \"x\"\n",
            "line 1: unknown key `out`\nhint: `out` is a flag of `orrery sweep`, not of its file",
        );
        says("\nrate = [1, 2, 1]\n", "line 2: `rate` has `1` twice");
        says(
            "rate = []\n",
            "line 1: `rate` is an empty list (wanted: at least one value)",
        );
        says(
            "rate = [[1]]\n",
            "line 1: `rate` has a value of type array (wanted: texts, numbers, true or false)",
        );
        says(
            "seed = \"5-1\"\n",
            "line 1: `seed` is `5-1` (wanted: FIRST-LAST with FIRST <= LAST and at most 100000 seeds)",
        );
        says(
            "set = 1\n",
            "line 1: `set` is of type integer (wanted: a table, `[set]`)",
        );
        says(
            "gpu = [\"h100-nvl\", \"h200-nvl\"]\n[[skip]]\ngpu = \"h100-nlv\"\n",
            "line 3: `gpu` is `h100-nlv` in `[[skip]]`, and never otherwise\nhint: did you mean \
             `h100-nvl`?",
        );
        says(
            "[[skip]]\nrate = 1\n",
            "line 2: `rate` is in `[[skip]]`, and is not swept",
        );
        says(
            "[[skip]]\n",
            "line 1: this `[[skip]]` is empty and would skip every run",
        );
        let error = parse("rate = 1\nrate = 2\n").unwrap_err().to_string();
        assert!(error.starts_with("`knee.toml` line 2: "), "{error}");
    }
}
