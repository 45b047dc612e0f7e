//! The trial of the `wgmma` prefill kernel, in a process of its own.
//!
//! What: [`main`] is the hidden command that does the trial and prints a line; [`run`] starts a program and
//! waits so long for it; [`decide`] says what an end of it means; [`settle`] asks only where it matters.
//! Why: the kernel may fault or hang, and either takes the GPU's context with it. A process that has nothing
//! else can be lost; the one that is to serve takes `mma` then.
//! Limits: at most [`LIMIT`]. A process that the driver does not let go of is left behind. One trial a shape and
//! process of ours.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use engine::cuda::{Decision, PrefillAttention, PrefillKernel, launch::Heads};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// First argument of a process that does the trial: query heads, KV heads, values of a head and tokens of a
/// block follow.
pub const TRIAL: &str = "prefill-trial";

/// How long a trial may take: starting a driver takes seconds, the kernels milliseconds. They are compiled
/// before.
pub const LIMIT: Duration = Duration::from_mins(1);

/// Between two looks at a process.
const LOOK: Duration = Duration::from_millis(10);

/// How long a process may take to die, or its last words to arrive.
const GRACE: Duration = Duration::from_secs(2);

/// Bytes that are read of what a process says; who says more is cut off.
const MOST: u64 = 64 << 10;

/// What the trial is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// The model's heads.
    pub heads: Heads,
    /// Tokens of a block.
    pub block_size: u32,
}

impl Shape {
    /// As arguments, [`TRIAL`] first.
    pub fn args(self) -> [String; 5] {
        let Heads { query, kv, width } = self.heads;
        let [query, kv, width, size] = [query, kv, width, self.block_size].map(|n| n.to_string());
        [TRIAL.to_owned(), query, kv, width, size]
    }

    /// From the arguments behind [`TRIAL`].
    fn parse(args: &[OsString]) -> Result<Self, Failure> {
        let number = |arg: &OsString| arg.to_str()?.parse::<u32>().ok();
        let numbers: Option<Vec<u32>> = args.iter().map(number).collect();
        match numbers.as_deref() {
            Some(&[query, kv, width, block_size]) => Ok(Self {
                heads: Heads { query, kv, width },
                block_size,
            }),
            _ => Err(Failure::bad_input(anyhow!(
                "`{TRIAL}` has the arguments {args:?} (wanted: query heads, KV heads, values of a head, tokens \
                 of a block; this command is for the engine's own use)"
            ))),
        }
    }
}

/// The line that the command prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// `mma` or `wgmma`.
    pub kernel: String,
    /// The largest relative distance of a query's result; none if one was not a number.
    pub distance: Option<f64>,
    /// In words.
    pub reason: String,
}

/// Does the trial if the arguments (without the program's name) say so; `None` if they do not.
pub fn main(mut args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if args.next()? != TRIAL {
        return None;
    }
    let args: Vec<OsString> = args.collect();
    let said = Shape::parse(&args).and_then(verdict).and_then(|verdict| {
        let line = serde_json::to_string(&verdict).map_err(Failure::bad_input)?;
        crate::output::data(&format!("{line}\n"))
    });
    Some(match said {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            failure.exit.into()
        }
    })
}

#[cfg(not(feature = "cuda"))]
fn verdict(_: Shape) -> Result<Verdict, Failure> {
    Err(Failure::bad_input(anyhow!(
        "this program is built without the `cuda` executor"
    )))
}

#[cfg(feature = "cuda")]
fn verdict(shape: Shape) -> Result<Verdict, Failure> {
    use engine::cuda::{Trial, gpu::Gpu, nvrtc, try_wgmma};

    let mut gpu = Gpu::open(0, &nvrtc::folder()).map_err(Failure::bad_input)?;
    let trial = try_wgmma(&mut gpu, shape.heads, shape.block_size).map_err(Failure::bad_input)?;
    let Decision { kernel, reason, .. } = Decision::after(trial);
    Ok(Verdict {
        kernel: kernel.name().to_owned(),
        distance: match trial {
            Trial::Apart(by) => Some(by),
            Trial::NotANumber => None,
        },
        reason,
    })
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It could not be started or watched.
    Lost(String),
    /// It took longer than this and was killed.
    TooLong(Duration),
    /// A signal of this number ended it.
    Killed(i32),
    /// By itself.
    Exited {
        /// Its exit status.
        status: i32,
        /// What it wrote to stdout.
        stdout: String,
        /// What it wrote to stderr.
        stderr: String,
    },
}

/// What the end of a trial's process means: `Wgmma` only if it ended well and says so.
pub fn decide(ended: &Ended) -> Decision {
    let reason = match ended {
        Ended::Lost(why) => format!("the trial of wgmma could not be run: {why}"),
        Ended::TooLong(limit) => {
            format!(
                "the trial of wgmma was killed after {} s",
                limit.as_secs_f64()
            )
        }
        Ended::Killed(signal) => format!("the trial of wgmma was ended by signal {signal}"),
        Ended::Exited {
            status: 0, stdout, ..
        } => match read_verdict(stdout) {
            Some((PrefillKernel::Wgmma, reason)) => {
                return Decision {
                    kernel: PrefillKernel::Wgmma,
                    reason,
                    disagreed: false,
                };
            }
            Some((PrefillKernel::Mma, reason)) => reason,
            None => format!(
                "the trial of wgmma printed no verdict but {:?}",
                short(stdout)
            ),
        },
        Ended::Exited { status, stderr, .. } => {
            format!(
                "the trial of wgmma ended with status {status}: {}",
                last_words(stderr)
            )
        }
    };
    Decision {
        kernel: PrefillKernel::Mma,
        reason,
        disagreed: true,
    }
}

/// The last line of what was printed: libraries may talk before.
fn read_verdict(stdout: &str) -> Option<(PrefillKernel, String)> {
    let line = stdout.lines().rfind(|line| !line.trim().is_empty())?;
    let verdict: Verdict = serde_json::from_str(line).ok()?;
    let kernel = [PrefillKernel::Mma, PrefillKernel::Wgmma]
        .into_iter()
        .find(|kernel| kernel.name() == verdict.kernel)?;
    Some((kernel, verdict.reason))
}

/// So much of a text as a warning has room for.
fn short(text: &str) -> &str {
    text.char_indices()
        .nth(200)
        .map_or(text, |(end, _)| &text[..end])
}

/// Our own error if there is one, else the last line.
fn last_words(stderr: &str) -> &str {
    let mut lines = stderr.lines().filter(|line| !line.trim().is_empty());
    let error = lines.clone().find_map(|line| line.strip_prefix("error: "));
    short(error.or_else(|| lines.next_back()).unwrap_or("no word"))
}

/// Runs a program without input, for so long.
pub fn run(program: &Path, args: &[String], limit: Duration) -> Ended {
    let spawned = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return Ended::Lost(format!("{}: {error}", program.display())),
    };
    let stdout = listen(child.stdout.take());
    let stderr = listen(child.stderr.take());
    let began = Instant::now();
    let status: ExitStatus = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if began.elapsed() < limit => std::thread::sleep(LOOK),
            Ok(None) => {
                kill(&mut child);
                return Ended::TooLong(limit);
            }
            Err(error) => {
                kill(&mut child);
                return Ended::Lost(error.to_string());
            }
        }
    };
    match status.code() {
        Some(status) => Ended::Exited {
            status,
            stdout: stdout.recv_timeout(GRACE).unwrap_or_default(),
            stderr: stderr.recv_timeout(GRACE).unwrap_or_default(),
        },
        None => Ended::Killed(status.signal().unwrap_or_default()),
    }
}

/// Kills a process and waits a little: in the driver of a GPU that hangs it may stay for good.
fn kill(child: &mut Child) {
    // It may have ended just now.
    let _ = child.kill();
    let began = Instant::now();
    while matches!(child.try_wait(), Ok(None)) && began.elapsed() < GRACE {
        std::thread::sleep(LOOK);
    }
}

/// Reads beside the waiting, so that a full pipe holds nobody up. Not joined: whoever a process left behind
/// may hold its pipe open.
fn listen(from: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (send, receive) = channel();
    if let Some(from) = from {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // What was read until an error is what there is.
            let _ = from.take(MOST).read_to_end(&mut bytes);
            let _ = send.send(String::from_utf8_lossy(&bytes).into_owned());
        });
    }
    receive
}

/// What an executor is asked for, once a trial had its say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Never `Auto` after a trial: the executor makes none of its own then.
    pub asked: PrefillAttention,
    /// What came of the trial, if there was one.
    pub tried: Option<Decision>,
}

/// Lets `trial` decide where its result matters: nothing asked for by name, a device and heads that `wgmma`
/// takes. Elsewhere the executor finds its reason by itself, without a trial.
pub fn settle(
    asked: PrefillAttention,
    heads: Heads,
    capability: Option<(u32, u32)>,
    trial: impl FnOnce() -> Decision,
) -> Settled {
    let limits = capability.map(|of| engine::cuda::Limits::of(of, 1));
    let able = limits.is_some_and(|of| PrefillKernel::Wgmma.obstacle(heads, of).is_none());
    if asked != PrefillAttention::Auto || !able {
        return Settled { asked, tried: None };
    }
    let decision = trial();
    Settled {
        asked: match decision.kernel {
            PrefillKernel::Mma => PrefillAttention::Mma,
            PrefillKernel::Wgmma => PrefillAttention::Wgmma,
        },
        tried: Some(decision),
    }
}

/// Settles it for a model with blocks of so many tokens on the first GPU, of which this process has no
/// context yet. The first time for a shape it takes seconds.
#[cfg(feature = "cuda")]
pub fn of_model(
    asked: PrefillAttention,
    config: &engine::model::ModelConfig,
    block_size: u32,
) -> Settled {
    use std::sync::Mutex;

    use engine::cuda::{Module, gpu, nvrtc};

    static TRIED: Mutex<Vec<(Shape, Decision)>> = Mutex::new(Vec::new());

    // Heads that no executor takes are refused by it, with the reason.
    if config.kv_heads == 0 {
        return Settled { asked, tried: None };
    }
    let heads = Heads::of(config);
    // Without a device there is nothing to try, and whoever opens it says why.
    let capability = gpu::capability(0).ok();
    settle(asked, heads, capability, || {
        let shape = Shape { heads, block_size };
        let mut tried = TRIED
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, decision)) = tried.iter().find(|(of, _)| *of == shape) {
            return decision.clone();
        }
        // Not in the trial's time: it takes long the first time, and this process needs them too.
        let arch = gpu::architecture(capability.unwrap_or_default());
        for module in Module::ALL {
            if module.compiles_for(&arch) {
                // An error is told when the device is opened.
                let _ = nvrtc::cached(module, &arch, &nvrtc::folder());
            }
        }
        let ended = match std::env::current_exe() {
            Ok(program) => run(&program, &shape.args(), LIMIT),
            Err(error) => Ended::Lost(error.to_string()),
        };
        let decision = decide(&ended);
        tried.push((shape, decision.clone()));
        decision
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WGMMA: &str = r#"{"kernel":"wgmma","distance":0.00125,"reason":"close"}"#;
    const HEADS: Heads = Heads {
        query: 32,
        kv: 8,
        width: 128,
    };

    fn exited(status: i32, stdout: &str, stderr: &str) -> Ended {
        Ended::Exited {
            status,
            stdout: stdout.into(),
            stderr: stderr.into(),
        }
    }

    fn stays_with_mma(ended: &Ended) -> String {
        let decision = decide(ended);
        assert_eq!(decision.kernel, PrefillKernel::Mma, "{ended:?}");
        assert!(decision.disagreed, "it is warned of: {ended:?}");
        decision.reason
    }

    fn shell(script: &str, limit: Duration) -> Ended {
        run(
            Path::new("/bin/sh"),
            &["-c".to_owned(), script.to_owned()],
            limit,
        )
    }

    #[test]
    fn a_trial_that_ends_well_and_says_wgmma_is_believed() {
        for printed in [WGMMA.to_owned(), format!("a library talks\n{WGMMA}\n\n")] {
            let decision = decide(&exited(0, &printed, "and warns"));
            assert_eq!(decision.kernel, PrefillKernel::Wgmma);
            assert_eq!((&*decision.reason, decision.disagreed), ("close", false));
        }
    }

    #[test]
    fn a_trial_that_says_mma_has_its_reason_told() {
        let said = r#"{"kernel":"mma","distance":null,"reason":"not-a-number"}"#;
        assert_eq!(stays_with_mma(&exited(0, said, "")), "not-a-number");
    }

    #[test]
    fn a_status_other_than_0_is_a_no_whatever_was_printed() {
        let words = "error: an illegal instruction\nhint: none\n";
        assert_eq!(
            stays_with_mma(&exited(2, WGMMA, words)),
            "the trial of wgmma ended with status 2: an illegal instruction"
        );
        let last = stays_with_mma(&exited(101, WGMMA, "thread panicked\nat the disco\n"));
        assert_eq!(
            last,
            "the trial of wgmma ended with status 101: at the disco"
        );
        let none = stays_with_mma(&exited(1, "", ""));
        assert_eq!(none, "the trial of wgmma ended with status 1: no word");
        let long = stays_with_mma(&exited(1, "", &"ä".repeat(300)));
        assert!(long.ends_with(&format!(": {}", "ä".repeat(200))), "{long}");
    }

    #[test]
    fn a_signal_is_a_no() {
        assert_eq!(
            stays_with_mma(&Ended::Killed(11)),
            "the trial of wgmma was ended by signal 11"
        );
    }

    #[test]
    fn a_trial_out_of_time_is_a_no() {
        assert_eq!(
            stays_with_mma(&Ended::TooLong(LIMIT)),
            "the trial of wgmma was killed after 60 s"
        );
    }

    #[test]
    fn what_cannot_be_read_is_a_no() {
        for printed in [
            "",
            "\n",
            "wgmma",
            "{\"kernel\":\"wgmma\"",
            r#"{"kernel":"WGMMA","distance":0.0,"reason":"r"}"#,
            r#"{"kernel":"wgmma","distance":0.0}"#,
            // The verdict is the last line.
            &format!("{WGMMA}\nand then a fault"),
        ] {
            let reason = stays_with_mma(&exited(0, printed, ""));
            assert!(reason.contains("printed no verdict but \""), "{reason}");
        }
    }

    #[test]
    fn a_trial_that_could_not_be_run_is_a_no() {
        let reason = stays_with_mma(&Ended::Lost("no such file".into()));
        assert_eq!(reason, "the trial of wgmma could not be run: no such file");
    }

    #[test]
    fn a_program_s_end_is_seen() {
        let lost = run(Path::new("/nonexistent/program"), &[], LIMIT);
        assert!(
            matches!(&lost, Ended::Lost(why) if why.starts_with("/nonexistent/program: ")),
            "{lost:?}"
        );
        assert_eq!(shell("false", LIMIT), exited(1, "", ""));
        let said = format!("echo a warning >&2; echo '{WGMMA}'");
        let ended = shell(&said, LIMIT);
        assert_eq!(ended, exited(0, &format!("{WGMMA}\n"), "a warning\n"));
        assert_eq!(decide(&ended).kernel, PrefillKernel::Wgmma);
        assert_eq!(shell("kill -SEGV $$", LIMIT), Ended::Killed(11));
    }

    #[test]
    fn a_program_that_does_not_end_is_killed() {
        let limit = Duration::from_millis(200);
        let began = Instant::now();
        // It says yes first, which counts for nothing.
        let ended = shell(&format!("echo '{WGMMA}'; exec sleep 600"), limit);
        assert_eq!(ended, Ended::TooLong(limit));
        // Far below the 600 s of the sleep, on however busy a machine.
        assert!(began.elapsed() < Duration::from_mins(5));
    }

    #[test]
    fn a_program_that_talks_without_end_is_cut_off() {
        // 1 MiB is more than a pipe and more than what is read; nobody waits for it in vain.
        let ended = shell("head -c 1048576 /dev/zero >&2; exit 3", LIMIT);
        assert!(
            matches!(ended, Ended::Exited { status: 3, .. }),
            "{ended:?}"
        );
    }

    #[test]
    fn a_trial_is_made_only_where_it_matters() {
        let never = || -> Decision { panic!("nobody asked") };
        let narrow = Heads { width: 32, ..HEADS };
        for (asked, heads, capability) in [
            (PrefillAttention::Mma, HEADS, Some((9, 0))),
            (PrefillAttention::Wgmma, HEADS, Some((9, 0))),
            (PrefillAttention::Auto, HEADS, Some((8, 0))),
            (PrefillAttention::Auto, HEADS, Some((10, 0))),
            (PrefillAttention::Auto, HEADS, None),
            (PrefillAttention::Auto, narrow, Some((9, 0))),
        ] {
            let settled = settle(asked, heads, capability, never);
            assert_eq!(settled, Settled { asked, tried: None });
        }
        for (ended, asked) in [
            (exited(0, WGMMA, ""), PrefillAttention::Wgmma),
            (Ended::Killed(9), PrefillAttention::Mma),
        ] {
            let decision = decide(&ended);
            let settled = settle(PrefillAttention::Auto, HEADS, Some((9, 0)), || {
                decision.clone()
            });
            let tried = Some(decision);
            assert_eq!(settled, Settled { asked, tried });
        }
    }

    #[test]
    fn a_shape_is_read_as_it_was_written() {
        let shape = Shape {
            heads: HEADS,
            block_size: 16,
        };
        let args = shape.args();
        assert_eq!(args, ["prefill-trial", "32", "8", "128", "16"]);
        let args: Vec<OsString> = args[1..].iter().map(OsString::from).collect();
        assert_eq!(Shape::parse(&args).expect("numbers"), shape);
        assert!(Shape::parse(&args[1..]).is_err());
    }
}
