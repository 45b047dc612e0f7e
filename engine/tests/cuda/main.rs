//! The CUDA kernels and the executor on a GPU, by the same tests that the emulation runs.
//!
//! Needs the feature `cuda`, a GPU and its libraries; skipped by name without. They have not run on a GPU yet.
#![cfg(feature = "cuda")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::many_single_char_names,
    clippy::similar_names,
    reason = "small numbers, and the notation of linear algebra"
)]

mod device;
mod library;

#[path = "../kernels/attention.rs"]
mod attention;
#[path = "../kernels/bench.rs"]
mod bench;
#[path = "../common/mod.rs"]
mod common;
#[path = "../kernels/dense.rs"]
mod dense;
#[path = "../kernels/experts.rs"]
mod experts;
#[path = "../kernels/products.rs"]
mod products;
#[path = "../kernels/routing.rs"]
mod routing;
#[path = "../kernels/steps.rs"]
mod steps;
#[path = "../kernels/values.rs"]
mod values;
