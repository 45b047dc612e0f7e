//! No retention: blocks are released at the yield and live on in the LRU cache (stock vLLM).

use scheduler::policy::{Keep, Retention, Yielding};
use scheduler::{Reason, Telemetry};
use units::Time;

/// Releases at every yield.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRetention;

impl Retention for NoRetention {
    fn on_yield(&mut self, _now: Time, _yielding: &Yielding, _telemetry: &Telemetry) -> Keep {
        Keep::Release
    }

    fn reason(&self, keep: Keep) -> Reason {
        let _ = keep;
        Reason::NoRetention
    }
}
