//! What the cross-crate tests share: small machines, recorders, and the reference's vectors.

#![allow(
    clippy::missing_panics_doc,
    clippy::disallowed_methods,
    reason = "test support: a panic is a failed test, and tests read files"
)]

pub mod machine;
pub mod vectors;
