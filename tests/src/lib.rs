//! What the cross-crate tests share: small machines, recorders, a naive scheduler, random loads, and
//! the reference's vectors.

#![allow(
    clippy::missing_panics_doc,
    clippy::disallowed_methods,
    clippy::too_many_lines,
    reason = "test support: a panic is a failed test, tests read files, comparisons are long and flat"
)]

pub mod account;
pub mod both_ways;
pub mod crowd;
pub mod hot;
pub mod loads;
pub mod machine;
pub mod medium;
pub mod mixes;
pub mod naive;
pub mod scenario;
pub mod scripted;
pub mod vectors;
