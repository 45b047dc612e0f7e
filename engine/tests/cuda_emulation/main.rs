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
    reason = "a test that starts a compiler, and small numbers"
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
#[path = "../kernels/products.rs"]
mod products;
#[path = "../kernels/steps.rs"]
mod steps;
#[path = "../kernels/values.rs"]
mod values;
