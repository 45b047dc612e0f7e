//! No admission control: every session enters as it arrives (vLLM, and every baseline of MARS).

use scheduler::policy::{Admission, Backlog, InFlight, Trigger};
use scheduler::{Telemetry, Window};
use units::{SessionId, Time};

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
        admit: &mut Vec<SessionId>,
    ) -> Option<Window> {
        admit.extend(backlog.by_arrival().map(|c| c.session));
        None
    }
}
