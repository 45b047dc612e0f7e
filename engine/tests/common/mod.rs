//! What the tests of executors and models share.

#![allow(
    dead_code,
    reason = "every test file uses a part of it, and each compiles all of it"
)]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests write model files, and candle takes tensors by name in a hash map"
)]
#![allow(unreachable_pub, reason = "public to the test file that takes it in")]

pub mod files;
pub mod policy;
pub mod schedules;
