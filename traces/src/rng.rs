//! Random streams that belong to one purpose and one owner.
//!
//! A draw added in one place must not move any other: two policies must meet the same workload.

use rand_core::SeedableRng;
use rand_pcg::Pcg64;

/// The random stream of one `(seed, purpose, entity)`, for instance `(1, "tool_wall", session 17)`.
///
/// PCG64 is a fixed algorithm: a seed gives the same draws on every machine and in every version.
pub fn stream(seed: u64, purpose: &str, entity: u64) -> Pcg64 {
    let mut hasher = blake3::Hasher::new_derive_key("orrery random stream v1");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&entity.to_le_bytes());
    hasher.update(purpose.as_bytes());
    Pcg64::from_seed(*hasher.finalize().as_bytes())
}
