//! The `cuda` executor: one GPU, brain floats, kernels compiled at run time.
//!
//! What: a step becomes a plain list of operations ([`Op`]: kernel launches, matrix products, copies)
//! over addresses that are worked out beforehand; a [`Device`] runs such lists. With the feature `cuda`
//! there is one that drives a GPU through libraries opened at run time: the driver, NVRTC, cuBLASLt.
//! Why: everything that can be decided without a GPU (what is launched, with which shapes, over which
//! memory) is a value that tests can look at, and the tests run the same lists, kernels included, on the
//! CPU. What is left for the GPU itself is small.
//! Limits: one GPU; head widths 32, 64 and 128, at most 16 query heads a KV head; block sizes that are
//! powers of two; at most 512 experts; compute capability 8.0 and up.

pub mod buffers;
#[cfg(feature = "cuda")]
pub mod gpu;
pub mod kernels;
pub mod launch;
pub mod metadata;
pub mod model;
#[cfg(feature = "cuda")]
pub mod nvrtc;
pub mod prefill;
pub mod program;
pub mod shape;
pub mod work;

#[cfg(feature = "cuda")]
mod blas;
mod device;
mod executor;
mod op;
mod trial;

pub use device::Device;
pub use executor::{CudaExecutor, Options, block_bytes};
pub use kernels::Module;
pub use op::{Address, Arg, Launch, Limits, Op, Product};
pub use prefill::{Decision, PrefillAttention, PrefillKernel, Trial};
pub use trial::try_wgmma;
