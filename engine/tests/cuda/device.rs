//! A GPU for a test.

use engine::cuda::{
    gpu::{self, Gpu},
    nvrtc,
};

use crate::bench::OnDevice;

/// What the tests hold.
pub(crate) type Bench = crate::bench::Bench<Gpu>;

impl OnDevice for Gpu {}

/// The first GPU, or `None` (said by name) where there is none.
pub(crate) fn device(test: &str) -> Option<Bench> {
    if !matches!(gpu::count(), Ok(1..)) {
        eprintln!("SKIPPED: {test}: no GPU");
        return None;
    }
    // A GPU that cannot be opened is a failure, not a reason to skip.
    Some(Bench::new(
        Gpu::open(0, &nvrtc::folder()).expect("the GPU opens"),
    ))
}
