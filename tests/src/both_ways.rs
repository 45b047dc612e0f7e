//! A load with fast-forward and without it: everything that is told must be the same.

use std::fmt::Debug;

use scheduler::policy::Policy;
use sim::world::{Offered, Setup, SimError, simulate};

use crate::machine::Record;

fn run(
    setup: &Setup,
    policy: &dyn Fn() -> Policy,
    load: &[Offered],
    fast_forward: bool,
    blind: bool,
) -> Result<Record, SimError> {
    let mut setup = setup.clone();
    setup.engine.fast_forward = fast_forward;
    let mut record = Record {
        blind,
        ..Record::default()
    };
    record.summary = simulate(&setup, policy(), load.iter().cloned(), &mut record)?;
    Ok(record)
}

/// The first place where two lists part.
fn differ<T: PartialEq + Debug>(what: &str, slow: &[T], fast: &[T]) -> Result<(), String> {
    let longer = slow.len().max(fast.len());
    match (0..longer).find(|&i| slow.get(i) != fast.get(i)) {
        None => Ok(()),
        Some(at) => Err(format!(
            "{what} {at}: {:?} without, {:?} with",
            slow.get(at),
            fast.get(at)
        )),
    }
}

/// Runs the load step by step, fast-forwarded, and fast-forwarded with an observer that looks at no step.
/// Returns the steps and those that were repeated.
///
/// # Errors
/// The first thing that is not the same.
pub fn same(
    setup: &Setup,
    policy: &dyn Fn() -> Policy,
    load: &[Offered],
) -> Result<(u64, u64), String> {
    let slow = run(setup, policy, load, false, false);
    let fast = run(setup, policy, load, true, false);
    let blind = run(setup, policy, load, true, true);
    let (slow, fast, blind) = match (slow, fast, blind) {
        (Ok(slow), Ok(fast), Ok(blind)) => (slow, fast, blind),
        (Err(a), Err(b), Err(c)) if a == b && b == c => return Ok((0, 0)),
        (a, b, c) => {
            let (a, b, c) = (a.map(|_| ()), b.map(|_| ()), c.map(|_| ()));
            return Err(format!("{a:?}, {b:?}, {c:?}"));
        }
    };
    let steps = slow.summary.counters.steps;
    let repeated = fast.summary.repeated_steps;
    if slow.summary.repeated_steps != 0 || blind.summary.repeated_steps != repeated {
        return Err("repeated without being told to, or not alike".to_owned());
    }
    differ("step", &slow.steps, &fast.steps)?;
    for other in [&fast, &blind] {
        differ("fact", &slow.infos, &other.infos)?;
        differ("sample", &slow.samples, &other.samples)?;
        let records = |r: &Record| format!("{:?} {:?}", r.turns, r.sessions);
        if records(&slow) != records(other) {
            return Err("records differ".to_owned());
        }
        let mut summary = other.summary;
        summary.repeated_steps = 0;
        if slow.summary != summary {
            return Err(format!("{:?} without, {summary:?} with", slow.summary));
        }
    }
    Ok((steps, repeated))
}
