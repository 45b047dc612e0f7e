//! The sessions that both worlds are offered, and when.

use std::sync::Arc;

use anyhow::anyhow;
use policies::PolicySpec;
use sim::arrivals::Arrivals;
use sim::world::{Observer, Offered, SessionRecord, Setup, simulate};
use traces::generate::Spec;
use traces::{Known, Session};
use units::{Nanos, Time};

use super::args::LoadArgs;
use super::calibration::Calibration;
use crate::failure::Failure;
use crate::run::workload::{Loading, Workload};
use crate::trace::made::Make;

/// The description of the default sessions.
pub(super) const SHORT: &str = include_str!("short.toml");

/// The first `count` sessions of the workload, or of the default one.
///
/// # Errors
/// Bad input: a workload that cannot be used, or that has none.
pub(super) fn sessions(args: &LoadArgs, count: u32, seed: u64) -> Result<Vec<Session>, Failure> {
    let Some(name) = &args.workload else {
        let spec = Spec::from_toml(SHORT).map_err(|e| Failure::bad_input(anyhow!("{e}")))?;
        return Ok(spec.sessions(seed, u64::from(count)).collect());
    };
    let make = Make {
        sessions: u64::from(count),
        seed,
    };
    let loading = Loading {
        make,
        ..Loading::default()
    };
    let workload = Workload::load(name, loading)?;
    let of = workload.sessions.iter().cycle().take(count as usize);
    Ok(of.map(|s| Session::clone(s)).collect())
}

/// The same sessions as a simulator without processes must see them: every tool takes as much longer as a
/// process takes to start and to be seen to end, and keeps its core as much longer busy.
pub(super) fn with_process_starts(sessions: &[Session], calibration: &Calibration) -> Vec<Session> {
    let mut longer = sessions.to_vec();
    for tool in longer
        .iter_mut()
        .flat_map(|s| &mut s.turns)
        .flat_map(|t| &mut t.tools)
    {
        let Some(wall) = tool.wall else { continue };
        let start = match tool.cpu {
            Some(cpu) if cpu.value > Nanos::ZERO => {
                let on_core = Nanos::new(calibration.tool_core_ns);
                tool.cpu = Some(Known {
                    value: cpu.value + on_core,
                    ..cpu
                });
                on_core.max(Nanos::new(calibration.tool_start_ns))
            }
            _ => Nanos::new(calibration.wait_start_ns),
        };
        tool.wall = Some(Known {
            value: wall.value + start,
            ..wall
        });
    }
    longer
}

/// The sessions with their arrivals.
///
/// # Errors
/// Bad input: a rate at which nothing arrives.
pub(super) fn offered(
    sessions: &[Session],
    rate_per_s: f64,
    seed: u64,
) -> Result<Vec<Offered>, Failure> {
    let times = Arrivals::Poisson { rate_per_s }
        .times(seed)
        .map_err(Failure::bad_input)?;
    let pairs = sessions.iter().zip(times);
    Ok(pairs
        .map(|(session, arrival)| Offered {
            session: Arc::new(session.clone()),
            arrival,
        })
        .collect())
}

/// A session alone on the simulated machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alone {
    /// Its latency, `T_ideal`; `None` if it does not fit the pool.
    pub(super) latency: Option<Nanos>,
    /// Time of it in the engine: prefill and decode.
    pub(super) engine: Nanos,
}

#[derive(Default)]
struct Keep(Option<SessionRecord>);

impl Observer for Keep {
    fn session(&mut self, record: SessionRecord) {
        self.0 = Some(record);
    }
}

/// Each session alone, under fcfs.
///
/// # Errors
/// A session that cannot be simulated.
pub(super) fn alone(setup: &Setup, sessions: &[Session]) -> Result<Vec<Alone>, Failure> {
    let fcfs = PolicySpec::preset("fcfs").map_err(Failure::bad_input)?;
    let one = |session: &Session| {
        let offered = std::iter::once(Offered {
            session: Arc::new(session.clone()),
            arrival: Time::ZERO,
        });
        let mut keep = Keep::default();
        let policy = fcfs.build().map_err(Failure::bad_input)?;
        simulate(setup, policy, offered, &mut keep).map_err(Failure::of_run)?;
        let record = keep
            .0
            .ok_or_else(|| Failure::bad_input(anyhow!("a session left no record")))?;
        Ok(Alone {
            latency: record.finished.map(|end| end.since(record.arrival)),
            engine: record.phases.prefill + record.phases.decode,
        })
    };
    sessions.iter().map(one).collect()
}

/// Sessions per second at load 1, to three digits: as many as the engine could serve one at a time, or as
/// many as keep the tool cores busy, whichever are fewer.
///
/// # Errors
/// Bad input: no session takes any time.
pub(super) fn unit_rate(
    alone: &[Alone],
    sessions: &[Session],
    tool_cores: usize,
) -> Result<f64, Failure> {
    let engine: f64 = alone.iter().map(|a| a.engine.as_secs()).sum();
    let tools = sessions
        .iter()
        .flat_map(|s| &s.turns)
        .flat_map(|t| &t.tools);
    let cpu: f64 = tools
        .filter_map(|t| t.cpu)
        .map(|cpu| cpu.value.as_secs())
        .sum();
    #[expect(clippy::cast_precision_loss, reason = "counts of sessions and cores")]
    let (count, cores) = (alone.len() as f64, tool_cores.max(1) as f64);
    let rate = count / engine.max(cpu / cores);
    if !(rate.is_finite() && rate > 0.0) {
        return Err(Failure::bad_input(anyhow!(
            "the sessions take no time: there is no load to offer"
        )));
    }
    Ok(three_digits(rate))
}

/// The nearest number of three significant digits: a rate that can be read and given again.
pub(super) fn three_digits(x: f64) -> f64 {
    let scale = 10_f64.powf(2.0 - x.abs().log10().floor());
    (x * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_sessions_are_short_and_always_the_same() {
        let spec = Spec::from_toml(SHORT).expect("a description");
        let sessions: Vec<Session> = spec.sessions(1, 30).collect();
        assert_eq!(sessions, spec.sessions(1, 30).collect::<Vec<_>>());
        for s in &sessions {
            assert!(s.peak_tokens().get() <= 1024, "{}", s.id);
            assert!((3..=6).contains(&s.turns.len()));
            // All of its waiting and computing in tools is a few seconds: runs must not last.
            assert!(s.idle_time().expect("known").as_secs() < 12.0);
        }
        let cpu = |s: &Session| -> f64 {
            let tools = s.turns.iter().flat_map(|t| &t.tools);
            tools.filter_map(|t| t.cpu).map(|c| c.value.as_secs()).sum()
        };
        let total: f64 = sessions.iter().map(cpu).sum();
        assert!((1.5..15.0).contains(&total), "{total} s of one core in all");
    }

    /// Two sessions of 0.5 s each on the engine. Without tools 2 a second; with 3 s of tools on one core 2
    /// in 3 s, on two cores twice as many.
    #[test]
    fn load_1_is_what_the_slower_part_can_serve() {
        let alone = [Alone {
            latency: None,
            engine: Nanos::from_millis(500),
        }; 2];
        let spec = Spec::from_toml(SHORT).expect("a description");
        let mut sessions: Vec<Session> = spec.sessions(1, 2).collect();
        for turn in sessions.iter_mut().flat_map(|s| &mut s.turns) {
            turn.tools.truncate(0);
        }
        let rate =
            |sessions: &[Session], cores| unit_rate(&alone, sessions, cores).expect("a rate");
        assert!((rate(&sessions, 1) - 2.0).abs() < 1e-9);
        let mut tool = spec.session(1, 0).turns[0].tools[0].clone();
        tool.cpu = Some(Known::drawn(Nanos::from_millis(3_000)));
        sessions[0].turns[0].tools.push(tool);
        assert!((rate(&sessions, 1) - 0.667).abs() < 1e-9);
        assert!((rate(&sessions, 2) - 1.33).abs() < 1e-9);
    }

    #[test]
    fn rates_have_three_digits() {
        for (x, want) in [
            (1.23456, 1.23),
            (0.012_349, 0.0123),
            (98_765.0, 98_800.0),
            (1.0, 1.0),
        ] {
            assert!((three_digits(x) - want).abs() < 1e-9 * want, "{x}");
        }
    }

    #[test]
    fn process_starts_lengthen_calls_and_keep_their_cores() {
        let spec = Spec::from_toml(SHORT).expect("a description");
        let sessions: Vec<Session> = spec.sessions(1, 3).collect();
        let calibration = Calibration {
            tool_start_ns: 1_000,
            tool_core_ns: 300,
            wait_start_ns: 7,
            ..Calibration::default()
        };
        let longer = with_process_starts(&sessions, &calibration);
        for (a, b) in sessions.iter().zip(&longer) {
            for (a, b) in a.turns.iter().zip(&b.turns) {
                for (a, b) in a.tools.iter().zip(&b.tools) {
                    let more = b
                        .wall
                        .expect("known")
                        .value
                        .saturating_sub(a.wall.expect("known").value);
                    let cpu = |t: &traces::ToolCall| t.cpu.expect("known").value;
                    let on_core = cpu(b).saturating_sub(cpu(a));
                    assert_eq!((more, on_core), (Nanos::new(1_000), Nanos::new(300)));
                }
            }
        }
    }
}
