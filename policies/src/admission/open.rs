//! No admission control: every session enters as it arrives (vLLM, and every baseline of MARS).

use scheduler::policy::{Admission, Backlog, Choice, InFlight, Trigger};
use scheduler::{Reason, Telemetry, Window};
use units::Time;

/// Lets everybody in at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;

impl Admission for Open {
    fn admit(
        &mut self,
        _now: Time,
        _why: Trigger,
        _telemetry: &Telemetry,
        backlog: &Backlog,
        _in_flight: &dyn InFlight,
        admit: &mut Vec<Choice>,
    ) -> Option<Window> {
        let everybody = backlog.by_arrival();
        admit.extend(everybody.map(|c| Choice::new(c.session, Reason::Open)));
        None
    }
}
