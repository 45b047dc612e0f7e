//! Products by cuBLASLt: a plan for each shape, made once, and one workspace.
//!
//! Why: asking the library which algorithm to use takes longer than a small product. A recorded graph
//! keeps the workspace's address, so there is one for good.
//! Limits: used on one stream; has not run on a GPU yet.

#![expect(unsafe_code, reason = "calls into cuBLASLt")]

use std::{ffi::c_void, ptr};

use cudarc::cublaslt::{result, sys};
use rustc_hash::FxHashMap;

use super::op::{Address, Product};

/// Bytes that the library may use beside its operands: what NVIDIA advises for Hopper.
pub(super) const WORKSPACE: usize = 32 << 20;

/// Plans beyond this are forgotten: prefill steps have many shapes.
const PLANS: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    m: u32,
    n: u32,
    k: u32,
    wide: bool,
}

struct Plan {
    description: sys::cublasLtMatmulDesc_t,
    layouts: [sys::cublasLtMatrixLayout_t; 3],
    algorithm: sys::cublasLtMatmulAlgo_t,
}

impl Drop for Plan {
    fn drop(&mut self) {
        for layout in self.layouts {
            // SAFETY: made by `plan`, dropped once.
            let _ = unsafe { result::destroy_matrix_layout(layout) };
        }
        // SAFETY: as above.
        let _ = unsafe { result::destroy_matmul_desc(self.description) };
    }
}

/// A handle, its workspace and its plans.
pub(super) struct Blas {
    handle: sys::cublasLtHandle_t,
    workspace: Address,
    plans: FxHashMap<Shape, Plan>,
}

impl Drop for Blas {
    fn drop(&mut self) {
        self.plans.clear();
        // SAFETY: made by `new`, dropped once; plans are gone.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

impl Blas {
    /// `workspace` is [`WORKSPACE`] bytes of device memory that nobody else uses.
    pub(super) fn new(workspace: Address) -> Result<Self, result::CublasError> {
        Ok(Self {
            handle: result::create_handle()?,
            workspace,
            plans: FxHashMap::default(),
        })
    }

    /// Begins a product on a stream.
    ///
    /// # Safety
    /// The operands' memory holds what [`Product`] says, and lives until the stream has passed; the
    /// stream is of the context that was current at [`Blas::new`], and always the same.
    pub(super) unsafe fn run(
        &mut self,
        product: &Product,
        stream: sys::cudaStream_t,
    ) -> Result<(), result::CublasError> {
        let Product { m, n, k, wide, .. } = *product;
        let shape = Shape { m, n, k, wide };
        if self.plans.len() >= PLANS && !self.plans.contains_key(&shape) {
            self.plans.clear();
        }
        let plan = match self.plans.entry(shape) {
            std::collections::hash_map::Entry::Occupied(plan) => plan.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(plan(self.handle, shape)?)
            }
        };
        let (one, zero) = (1.0_f32, 0.0_f32);
        let [a, b, c] = plan.layouts;
        // SAFETY: the caller's promise for operands and stream; the factors are read before the call
        // returns (pointer mode host); layouts and description live in the plan.
        unsafe {
            result::matmul(
                self.handle,
                plan.description,
                (&raw const one).cast(),
                (&raw const zero).cast(),
                pointer(product.w),
                a,
                pointer(product.a),
                b,
                pointer(product.c),
                c,
                pointer(product.c).cast_mut(),
                c,
                &raw const plan.algorithm,
                pointer(self.workspace).cast_mut(),
                WORKSPACE,
                stream,
            )
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "addresses of a 64-bit machine: the only kind that CUDA 12 and later know"
)]
fn pointer(address: Address) -> *const c_void {
    ptr::without_provenance(address.0 as usize)
}

/// The library counts column by column: a row-major `[r, c]` is its `c x r`. So `c^T = w a^T` is `op(A) B` with `A`
/// the `k x n` of the weights, transposed, and `B` the `k x m` of the rows.
fn plan(handle: sys::cublasLtHandle_t, shape: Shape) -> Result<Plan, result::CublasError> {
    let Shape { m, n, k, wide } = shape;
    let half = sys::cudaDataType_t::CUDA_R_16BF;
    let full = sys::cudaDataType_t::CUDA_R_32F;
    let description =
        result::create_matmul_desc(sys::cublasComputeType_t::CUBLAS_COMPUTE_32F, full)?;
    let layout = |kind, rows: u32, columns: u32| {
        result::create_matrix_layout(kind, rows.into(), columns.into(), rows.into())
    };
    let mut plan = Plan {
        description,
        layouts: [
            layout(half, k, n)?,
            layout(half, k, m)?,
            layout(if wide { full } else { half }, n, m)?,
        ],
        algorithm: sys::cublasLtMatmulAlgo_t { data: [0; 8] },
    };
    let transpose = cudarc::cublas::sys::cublasOperation_t::CUBLAS_OP_T;
    // SAFETY: the attribute is of this type, and read before the call returns.
    unsafe {
        result::set_matmul_desc_attribute(
            description,
            sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA,
            (&raw const transpose).cast(),
            size_of_val(&transpose),
        )?;
    }
    let (preference, workspace) = (result::create_matmul_pref()?, WORKSPACE);
    let [a, b, c] = plan.layouts;
    // SAFETY: the attribute is of this type; all parts were made above and live until the call returns.
    let found = unsafe {
        result::set_matmul_pref_attribute(
            preference,
            sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
            (&raw const workspace).cast(),
            size_of::<usize>(),
        )
        .and_then(|()| {
            result::get_matmul_algo_heuristic(handle, description, a, b, c, c, preference)
        })
    };
    // SAFETY: made above, used no more.
    unsafe { result::destroy_matmul_pref(preference)? };
    plan.algorithm = found?.algo;
    Ok(plan)
}
