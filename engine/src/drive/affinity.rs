//! Which cores the engine's threads run on.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Cores that the engine cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the engine cannot run on cores {wanted:?}: {source}\nhint: it may use {allowed:?}, counted from 0"
)]
pub struct CoresError {
    /// The cores asked for.
    pub wanted: Vec<usize>,
    /// The cores that this process may use.
    pub allowed: Vec<usize>,
    /// What the kernel says.
    pub source: nix::Error,
}

/// Cores that the calling thread may use, as the kernel numbers them.
pub fn allowed_cores() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
    let is_set = |&core: &usize| set.is_set(core).unwrap_or(false);
    (0..CpuSet::count()).filter(is_set).collect()
}

/// Keeps the calling thread, and every thread that it starts from now on, on these cores.
///
/// # Errors
/// [`CoresError`] if one of them is not there or not allowed.
pub fn pin_to(cores: &[usize]) -> Result<(), CoresError> {
    let allowed = allowed_cores();
    let failed = |source| CoresError {
        wanted: cores.to_vec(),
        allowed: allowed.clone(),
        source,
    };
    // The kernel silently leaves out cores that are not there.
    if cores.is_empty() || cores.iter().any(|core| !allowed.contains(core)) {
        return Err(failed(nix::Error::EINVAL));
    }
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core).map_err(failed)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).map_err(failed)
}
