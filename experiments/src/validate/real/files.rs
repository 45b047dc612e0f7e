//! The folder of a study: what is complete in it is not done again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use traces::{Header, Session, TraceWriter};

use super::result::{RunResult, Which, World};
use crate::failure::Failure;
use crate::run::policies::Chosen;

/// A folder that holds one study.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

fn cannot(what: &str, path: &Path) -> String {
    format!("cannot {what} `{}`", path.display())
}

impl Folder {
    /// What a folder holds that says nothing of a key, because it is older than that.
    const ASSUMED: [(&str, &str); 1] = [("tools_mode", "shared")];

    /// The folder, made if it is not there.
    ///
    /// # Errors
    /// Bad input: a path where no folder can be.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(path.join("runs"))
            .with_context(|| cannot("make folder", path))
            .map_err(Failure::bad_input)?;
        Ok(Self(path.to_owned()))
    }

    /// A folder that is there.
    ///
    /// # Errors
    /// Bad input: no such folder.
    pub(super) fn existing(path: &Path) -> Result<Self, Failure> {
        if !path.is_dir() {
            return Err(Failure::bad_input(anyhow!(
                "`{}` is no folder (wanted: the `--out` of another study)",
                path.display()
            )));
        }
        Ok(Self(path.to_owned()))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file whole: under another name first, so that a file that is there is complete.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.0.join(name);
        let draft = self.0.join(format!("{name}.part"));
        let write = || {
            fs::write(&draft, text)?;
            fs::rename(&draft, &path)
        };
        write()
            .with_context(|| cannot("write", &path))
            .map_err(Failure::bad_input)
    }

    /// The same, as JSON.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(Failure::bad_input)?;
        self.write(name, &(text + "\n"))
    }

    /// What a JSON file holds; `None` if there is none.
    ///
    /// # Errors
    /// Bad input: a file that cannot be read or is something else.
    pub(super) fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Failure> {
        let path = self.0.join(name);
        if !path.exists() {
            return Ok(None);
        }
        let read =
            || -> anyhow::Result<T> { Ok(serde_json::from_str(&fs::read_to_string(&path)?)?) };
        read()
            .map(Some)
            .with_context(|| format!("{}\nhint: remove it to do it again", cannot("use", &path)))
            .map_err(Failure::bad_input)
    }

    /// Refuses a folder whose runs were of something else; writes what they are of into a new one.
    ///
    /// # Errors
    /// Bad input: another study's folder, with the first key that differs.
    pub(super) fn check_identity(&self, identity: &serde_json::Value) -> Result<(), Failure> {
        let Some(kept) = self.read::<serde_json::Value>("engine.json")? else {
            return self.write_json("engine.json", identity);
        };
        match differs(&kept, identity, &[]) {
            None => Ok(()),
            Some((key, before, value)) => Err(Failure::bad_input(anyhow!(
                "`{}` holds runs with `{key}` {before}, not {value}\nhint: give another `--out`",
                self.0.display()
            ))),
        }
    }

    /// The calibration of this study, for another one on the same engine. What a study was offered does not
    /// matter for it.
    ///
    /// # Errors
    /// Bad input: no calibration there, or one of another engine, with the first key that differs.
    pub(super) fn calibration_for<T: DeserializeOwned>(
        &self,
        identity: &serde_json::Value,
    ) -> Result<T, Failure> {
        let kept = self.read::<serde_json::Value>("engine.json")?;
        let calibration = self.read("calibration.json")?;
        let (Some(kept), Some(calibration)) = (kept, calibration) else {
            return Err(Failure::bad_input(anyhow!(
                "`{}` holds no calibration (wanted: engine.json and calibration.json)\nhint: `orrery validate \
                 --engine --out` makes them",
                self.0.display()
            )));
        };
        match differs(&kept, identity, &OFFERED) {
            None => Ok(calibration),
            Some((key, before, value)) => Err(Failure::bad_input(anyhow!(
                "the calibration of `{}` is of an engine with `{key}` {before}, not {value}",
                self.0.display()
            ))),
        }
    }

    /// The sessions, for other commands.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn write_trace(&self, sessions: &[Session]) -> Result<(), Failure> {
        let text = trace(sessions).map_err(Failure::bad_input)?;
        self.write("trace.jsonl", &String::from_utf8_lossy(&text))
    }

    fn name(which: &Which, chosen: &Chosen) -> String {
        let world = match which.world {
            World::Real => format!("real-{}", which.repeat),
            World::Simulated => format!("simulated-{}", which.repeat),
        };
        // A policy file may change under the same name.
        let settings = blake3::hash(chosen.toml().unwrap_or_default().as_bytes()).to_hex();
        let plain: String = which
            .policy
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '-' {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        format!(
            "runs/{plain}-{}-load-{}-{world}.json",
            &settings[..8],
            which.load
        )
    }

    /// Keeps a run.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn write_run(&self, run: &RunResult, chosen: &Chosen) -> Result<(), Failure> {
        self.write_json(&Self::name(&run.which, chosen), run)
    }

    /// The run, if it was kept at this rate.
    ///
    /// # Errors
    /// Bad input: a file that is something else.
    pub(super) fn read_run(
        &self,
        which: &Which,
        chosen: &Chosen,
    ) -> Result<Option<RunResult>, Failure> {
        let kept = self.read::<RunResult>(&Self::name(which, chosen))?;
        Ok(kept.filter(|run| run.which == *which))
    }
}

/// Keys of an identity that say what an engine is offered, not what it is.
const OFFERED: [&str; 3] = ["sessions", "seed", "trace"];

/// The first key that has another value, `but` for these, with both values.
fn differs<'a>(
    kept: &serde_json::Value,
    identity: &'a serde_json::Value,
    but: &[&str],
) -> Option<(&'a str, serde_json::Value, &'a serde_json::Value)> {
    let keys = identity.as_object().into_iter().flatten();
    keys.filter(|(key, _)| !but.contains(&key.as_str()))
        .map(|(key, value)| {
            let assumed = || Folder::ASSUMED.iter().find(|(assumed, _)| assumed == key);
            let before = kept.get(key).cloned();
            let before = before.unwrap_or_else(|| json!(assumed().map(|(_, value)| value)));
            (key.as_str(), before, value)
        })
        .find(|(_, before, value)| before != *value)
}

fn trace(sessions: &[Session]) -> anyhow::Result<Vec<u8>> {
    let header = Header {
        source: Some("sessions that a real engine was compared on".to_owned()),
        commands: sessions.iter().any(|session| session.commands() > 0),
        ..Header::default()
    };
    let mut writer = TraceWriter::plain(Vec::new(), &header)?;
    for session in sessions {
        writer.write(session)?;
    }
    Ok(writer.finish()?)
}

/// What tells two loads apart.
pub(super) fn digest(sessions: &[Session]) -> String {
    let text = trace(sessions).unwrap_or_default();
    blake3::hash(&text).to_hex()[..16].to_owned()
}

/// The processor's name, as the kernel has it.
pub(super) fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let name = named
        .and_then(|rest| rest.split_once(':'))
        .map(|(_, name)| name.trim());
    let cores = text
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    format!("{}, {cores} cores", name.unwrap_or("n/a"))
}

#[cfg(test)]
mod tests {
    use super::super::result::tests::run;
    use super::*;
    use crate::run::policies::choose;

    #[test]
    fn a_run_is_found_again_and_another_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(&folder.path().join("new/study")).expect("is made");
        let chosen = &choose("fcfs", &[]).expect("a preset")[0];
        let kept = run("fcfs", World::Real, 1, &[2.5]);
        folder.write_run(&kept, chosen).expect("writes");
        assert_eq!(
            folder.read_run(&kept.which, chosen).expect("reads"),
            Some(kept.clone())
        );
        for other in [
            Which {
                repeat: 0,
                ..kept.which.clone()
            },
            Which {
                rate_per_s: 9.0,
                ..kept.which.clone()
            },
        ] {
            assert_eq!(
                folder.read_run(&other, chosen).expect("reads"),
                None,
                "{other:?}"
            );
        }
    }

    #[test]
    fn runs_of_another_engine_are_not_taken_for_this_ones() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(temporary.path()).expect("is made");
        folder
            .check_identity(&json!({"threads": 1}))
            .expect("is new");
        folder
            .check_identity(&json!({"threads": 1}))
            .expect("is the same");
        let refused = folder
            .check_identity(&json!({"threads": 2}))
            .expect_err("is another");
        let text = refused.error.to_string();
        assert!(text.contains("`threads` 1, not 2"), "{text}");
        // An older folder does not name the mode: there was one.
        let with = |mode| folder.check_identity(&json!({"threads": 1, "tools_mode": mode}));
        assert!(with("shared").is_ok() && with("fifo").is_err());
    }

    #[test]
    fn a_calibration_serves_every_load_on_its_engine_and_no_other_engine() {
        let temporary = tempfile::tempdir().expect("a folder");
        assert!(Folder::existing(&temporary.path().join("none")).is_err());
        let folder = Folder::existing(temporary.path()).expect("is there");
        let other = |identity| folder.calibration_for::<u32>(&identity);
        let engine = json!({"threads": 1, "trace": "a", "sessions": 3, "seed": 1});
        let text = other(engine.clone()).expect_err("empty").error.to_string();
        assert!(text.contains("holds no calibration"), "{text}");
        folder.check_identity(&engine).expect("is new");
        folder.write_json("calibration.json", &7).expect("writes");
        let load = json!({"threads": 1, "trace": "b", "sessions": 9, "seed": 2});
        assert_eq!(other(load).expect("the same engine"), 7);
        let refused = other(json!({"threads": 2, "trace": "a"})).expect_err("is another");
        let text = refused.error.to_string();
        assert!(text.contains("`threads` 1, not 2"), "{text}");
    }
}
