//! The CUDA kernels and the lists of operations, run on the CPU.
//!
//! The kernels' sources are compiled as C++ with the instructions of `device.cu` done in software
//! (`primitives.h`), and run in a process of their own, thread by thread. It finds wrong indices, missing
//! barriers, misaligned and stray accesses, wrong fragments, wrong arguments. It says nothing of speed,
//! nor of what only hardware does: memory order between blocks, graphs, the driver. Needs g++ on
//! Linux; skipped by name without it.

#![allow(
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::many_single_char_names,
    clippy::similar_names,
    reason = "a test that starts a compiler, small numbers, and the notation of linear algebra"
)]

#[path = "emulated.rs"]
mod device;

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
mod mutations;
#[path = "../kernels/products.rs"]
mod products;
#[path = "../kernels/routing.rs"]
mod routing;
#[path = "../kernels/steps.rs"]
mod steps;
#[path = "../kernels/values.rs"]
mod values;
