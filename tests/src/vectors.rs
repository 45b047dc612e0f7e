//! The reference's hand-computed cases: how a file becomes a run, and what is compared.

use std::num::NonZeroU32;
use std::path::PathBuf;

use scheduler::Info;
use serde::Deserialize;
use sim::cost::InMillis;
use sim::world::{Offered, Setup, ToolMode};
use units::{Blocks, SessionId, Tokens};

use crate::machine::{self, Record, in_group, offered, turn, with_tool};

/// One file of the folder.
#[derive(Debug, Deserialize)]
pub struct Vector {
    /// Its name.
    pub name: String,
    /// `caps` for a test of the cap formulas alone.
    #[serde(default)]
    pub kind: String,
    /// The arithmetic.
    pub why: String,
    /// The machine and the policy.
    #[serde(default)]
    pub config: VectorConfig,
    /// The load.
    #[serde(default)]
    pub sessions: Vec<VectorSession>,
    /// What must come out.
    #[serde(default)]
    pub expect: Expect,
    /// Of `caps`: KV pressures and the caps they give.
    #[serde(default)]
    pub u: Vec<f64>,
    /// Of `caps`: the caps.
    #[serde(default)]
    pub w_kv: Vec<u64>,
    /// Of `caps`: cores, low, high, cap.
    #[serde(default)]
    pub cpu: Vec<(u32, f64, f64, u64)>,
}

/// The machine and the policy of a case.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, non_snake_case, reason = "the files' own names")]
pub struct VectorConfig {
    pub p0: f64,
    pub p1: f64,
    pub p2: f64,
    pub d0: f64,
    pub e: f64,
    pub d1: f64,
    pub d2: f64,
    pub k_over_E: f64,
    pub host_ms: f64,
    pub kv_blocks: u64,
    pub token_budget: u64,
    pub max_running: usize,
    pub policy: String,
    pub tool_cores: u32,
    pub tool_mode: String,
    pub admission: Option<String>,
}

impl Default for VectorConfig {
    fn default() -> Self {
        Self {
            p0: 10.0,
            p1: 0.0,
            p2: 0.0,
            d0: 10.0,
            e: 0.0,
            d1: 0.0,
            d2: 0.0,
            k_over_E: 1.0,
            host_ms: 0.0,
            kv_blocks: 17_000,
            token_budget: 2048,
            max_running: 128,
            policy: "fcfs".to_owned(),
            tool_cores: 8,
            tool_mode: "ps".to_owned(),
            admission: None,
        }
    }
}

/// A session of a case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the files' own names")]
pub struct VectorSession {
    pub arrival: f64,
    #[serde(default)]
    pub group: Option<serde_json::Value>,
    #[serde(default)]
    pub shared: u64,
    pub turns: Vec<VectorTurn>,
}

/// A turn of a case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the files' own names")]
pub struct VectorTurn {
    pub prompt: u64,
    pub reused: u64,
    pub output: u64,
    pub tool: String,
    pub wall: f64,
    pub cpu: f64,
}

/// What must come out; what is absent is not compared.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "the files' own names")]
pub struct Expect {
    pub finish_ms: Option<Vec<f64>>,
    pub steps: Option<u64>,
    pub preemptions: Option<u64>,
    pub evicted: Option<u64>,
    pub recomputed: Option<u64>,
    pub hit_tokens: Option<Vec<Vec<u64>>>,
    pub first_token_ms: Option<Vec<Vec<f64>>>,
    pub admit_ms: Option<Vec<f64>>,
    pub chunks: Option<Vec<Vec<u64>>>,
    pub preempt_log: Option<Vec<(f64, u32)>>,
    pub pin_log: Option<Vec<(f64, String, u32)>>,
    pub window: Option<Vec<(f64, u64, u64, u64)>>,
}

/// The reference's folder, if this checkout stands beside one.
pub fn folder() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference/vectors");
    folder.is_dir().then_some(folder)
}

/// All cases, by name.
pub fn load(folder: &std::path::Path) -> Vec<Vector> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    files
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).expect("a readable file");
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        })
        .collect()
}

impl Vector {
    /// The machine of this case.
    pub fn setup(&self) -> Setup {
        let c = &self.config;
        let cost = InMillis {
            p0: c.p0,
            p1: c.p1,
            p2: c.p2,
            d0: c.d0,
            e: c.e,
            d1: c.d1,
            d2: c.d2,
        };
        let mut setup = machine::machine(&cost, c.k_over_E, c.host_ms);
        setup.engine.usable_blocks = Blocks(c.kv_blocks - 1);
        setup.engine.token_budget = Tokens(c.token_budget);
        setup.engine.max_running = c.max_running;
        setup.engine.tool_cores = c.tool_cores;
        setup.tools = match c.tool_mode.as_str() {
            "unlimited" => ToolMode::Unlimited,
            "ps" => ToolMode::Shared(NonZeroU32::new(c.tool_cores).expect("cores")),
            other => panic!("{}: unknown tool mode {other}", self.name),
        };
        setup
    }

    /// The load of this case.
    pub fn offered(&self) -> Vec<Offered> {
        self.sessions
            .iter()
            .map(|session| {
                let turns = session.turns.iter().map(|t| {
                    let plain = turn(t.prompt, t.reused, t.output);
                    if t.tool.is_empty() {
                        plain
                    } else {
                        with_tool(plain, &t.tool, t.wall, t.cpu)
                    }
                });
                let one = offered(session.arrival, turns.collect());
                match &session.group {
                    Some(group) if session.shared > 0 => {
                        in_group(one, &group.to_string(), session.shared)
                    }
                    _ => one,
                }
            })
            .collect()
    }

    /// Policy overrides of this case.
    pub fn overrides(&self) -> Vec<(&str, &str)> {
        match self.config.admission.as_deref() {
            Some("none") => vec![("admission.kind", "open")],
            Some(other) => panic!("{}: unknown admission {other}", self.name),
            None => Vec::new(),
        }
    }

    /// Every expectation that the record does not meet, in words.
    pub fn differences(&self, record: &Record) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut check = |what: &str, want: String, got: String| {
            if want != got {
                wrong.push(format!("{}: {what}: want {want}, got {got}", self.name));
            }
        };
        let e = &self.expect;
        let summary = &record.summary;
        if let Some(want) = &e.finish_ms {
            let want: Vec<_> = want.iter().map(|&ms| Some(nanos(ms))).collect();
            let got: Vec<_> = record
                .finish_ms()
                .into_iter()
                .map(|m| m.map(nanos))
                .collect();
            check("finish", format!("{want:?}"), format!("{got:?}"));
        }
        let totals = [
            ("steps", e.steps, summary.counters.steps),
            ("preemptions", e.preemptions, summary.counters.preemptions),
            ("evicted", e.evicted, summary.counters.evicted),
            ("recomputed", e.recomputed, summary.counters.recomputed),
        ];
        for (what, want, got) in totals {
            if let Some(want) = want {
                check(what, want.to_string(), got.to_string());
            }
        }
        let turns_of = |id: usize| {
            record
                .turns
                .iter()
                .filter(move |t| t.session.0 as usize == id)
        };
        if let Some(want) = &e.hit_tokens {
            let got: Vec<Vec<u64>> = (0..want.len())
                .map(|id| turns_of(id).map(|t| t.hit.get()).collect())
                .collect();
            check("hit tokens", format!("{want:?}"), format!("{got:?}"));
        }
        if let Some(want) = &e.first_token_ms {
            let want: Vec<Vec<u64>> = want
                .iter()
                .map(|l| l.iter().map(|&ms| nanos(ms)).collect())
                .collect();
            let got: Vec<Vec<u64>> = (0..want.len())
                .map(|id| turns_of(id).map(|t| t.first_token.as_nanos()).collect())
                .collect();
            check("first token", format!("{want:?}"), format!("{got:?}"));
        }
        if let Some(want) = &e.chunks {
            let got: Vec<Vec<u64>> = (0..want.len())
                .map(|id| record.chunks(u32::try_from(id).expect("few sessions")))
                .collect();
            check("chunks", format!("{want:?}"), format!("{got:?}"));
        }
        if let Some(want) = &e.admit_ms {
            let want: Vec<u64> = want.iter().map(|&ms| nanos(ms)).collect();
            let mut got: Vec<(SessionId, u64)> = record
                .infos
                .iter()
                .filter_map(|(at, info)| match info {
                    Info::Admitted { session } => Some((*session, at.as_nanos())),
                    _ => None,
                })
                .collect();
            got.sort_unstable();
            let got: Vec<u64> = got.into_iter().map(|(_, at)| at).collect();
            check("admitted", format!("{want:?}"), format!("{got:?}"));
        }
        if let Some(want) = &e.preempt_log {
            let want: Vec<(u64, u32)> = want.iter().map(|&(ms, s)| (nanos(ms), s)).collect();
            let got: Vec<(u64, u32)> = record
                .infos
                .iter()
                .filter_map(|(at, info)| match info {
                    Info::Preempted { session, .. } => Some((at.as_nanos(), session.0)),
                    _ => None,
                })
                .collect();
            check("preemptions", format!("{want:?}"), format!("{got:?}"));
        }
        if let Some(want) = &e.pin_log {
            let want: Vec<(u64, &str, u32)> = want
                .iter()
                .map(|(ms, what, s)| (nanos(*ms), what.as_str(), *s))
                .collect();
            let got: Vec<(u64, &str, u32)> = record
                .infos
                .iter()
                .filter_map(|(at, info)| match info {
                    Info::Pinned { session, .. } => Some((at.as_nanos(), "pin", session.0)),
                    Info::Unpinned { session, .. } => Some((at.as_nanos(), "unpin", session.0)),
                    _ => None,
                })
                .collect();
            check("pins", format!("{want:?}"), format!("{got:?}"));
        }
        if let Some(want) = &e.window {
            let want: Vec<_> = want
                .iter()
                .map(|&(ms, w, c, k)| (nanos(ms), w, c, k))
                .collect();
            let got: Vec<_> = record
                .infos
                .iter()
                .filter_map(|(at, info)| match info {
                    Info::Window(w) => Some((at.as_nanos(), w.size, w.cpu_cap, w.kv_cap)),
                    _ => None,
                })
                .collect();
            check("window", format!("{want:?}"), format!("{got:?}"));
        }
        wrong
    }
}

/// Milliseconds of a file as the nearest nanosecond.
fn nanos(ms: f64) -> u64 {
    units::Nanos::from_secs(ms / 1e3)
        .expect("a span")
        .as_nanos()
}
