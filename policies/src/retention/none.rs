//! No retention: blocks are released at the yield and live on in the LRU cache (stock vLLM).

use scheduler::Telemetry;
use scheduler::policy::{Keep, Retention, Yielding};
use units::Time;

/// Releases at every yield.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRetention;

impl Retention for NoRetention {
    fn on_yield(&mut self, _now: Time, _yielding: &Yielding, _telemetry: &Telemetry) -> Keep {
        Keep::Release
    }
}
