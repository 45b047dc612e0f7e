//! Belady's retention: the KV whose next use is farthest in the future goes first.
//!
//! Rule: every yield pins. A pin gives way to whoever needs its blocks, the one with the farthest next
//! use first; a session whose next turn waits already goes after all others (the mechanism's rule).
//! Source: Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems
//! Journal 1966, over contexts in place of pages; reference section 2. Among contexts of one size, used
//! in a given order, no choice of pins evicts less. With sizes that differ, or where what is evicted
//! changes who comes when, it is a rule of thumb.

use scheduler::Telemetry;
use scheduler::policy::{Claim, Keep, PinView, Retention, Yielding};
use units::Time;

/// Pins that yield, the farthest next use first. No state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Belady;

impl Retention for Belady {
    fn needs_foresight(&self) -> bool {
        true
    }

    fn on_yield(&mut self, _now: Time, _yielding: &Yielding, _telemetry: &Telemetry) -> Keep {
        Keep::Pin { until: None }
    }

    fn yields_to(&self, _claim: Claim) -> bool {
        true
    }

    /// Where nobody knows the next use it is never: those go first.
    fn value(&self, _now: Time, pin: &PinView) -> f64 {
        -pin.next_use.unwrap_or(Time::NEVER).as_secs()
    }
}
