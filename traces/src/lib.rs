//! x
pub mod model;
pub mod rng;
