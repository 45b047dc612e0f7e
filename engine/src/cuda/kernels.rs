//! The kernels' sources and names.
//!
//! A module is what NVRTC compiles at once: [`PRIMITIVES`], [`COMMON`], and its own file, one behind the
//! other; with [`WARPGROUP`] before it where it needs compute capability 9.0. No file includes another, so a bare library is enough.

/// Number formats and the instructions that C++ has no name for. Tests put another file in its place.
pub const PRIMITIVES: &str = include_str!("kernels/device.cu");

/// Instructions of compute capability 9.0 alone. Tests put another file in its place too.
pub const WARPGROUP: &str = include_str!("kernels/warpgroup.cu");

/// Functions that several modules share.
pub const COMMON: &str = include_str!("kernels/common.cu");

/// A file of kernels, compiled as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Module {
    /// Embedding, normalisation, activation, choice of the next token.
    Dense,
    /// Rotation of queries and keys, and the write to paged KV.
    Rope,
    /// Products with at most eight rows.
    Gemv,
    /// Poison for KV blocks; random weights.
    Blocks,
    /// Attention of one query a row.
    Decode,
    /// Attention of many queries a row.
    Prefill,
    /// The same by products of warpgroups, on compute capability 9.0.
    PrefillWgmma,
    /// Products on tensor cores, of one matrix or of one an expert.
    Gemm,
    /// Routing to experts and back.
    Moe,
}

impl Module {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Dense,
        Self::Rope,
        Self::Gemv,
        Self::Blocks,
        Self::Decode,
        Self::Prefill,
        Self::PrefillWgmma,
        Self::Gemm,
        Self::Moe,
    ];

    /// The file's name, without ending.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Rope => "rope",
            Self::Gemv => "gemv",
            Self::Blocks => "blocks",
            Self::Decode => "decode",
            Self::Prefill => "prefill",
            Self::PrefillWgmma => "prefill_wgmma",
            Self::Gemm => "gemm",
            Self::Moe => "moe",
        }
    }

    /// Whether it compiles for an architecture, as NVRTC names it. Instructions of compute capability 9.0
    /// alone are behind an `a`.
    pub fn compiles_for(self, arch: &str) -> bool {
        self != Self::PrefillWgmma || arch == "sm_90a"
    }

    /// Its own file, which needs [`PRIMITIVES`] and [`COMMON`] before it, and [`WARPGROUP`] for
    /// [`Module::PrefillWgmma`].
    pub fn body(self) -> &'static str {
        match self {
            Self::Dense => include_str!("kernels/dense.cu"),
            Self::Rope => include_str!("kernels/rope.cu"),
            Self::Gemv => include_str!("kernels/gemv.cu"),
            Self::Blocks => include_str!("kernels/blocks.cu"),
            Self::Decode => include_str!("kernels/decode.cu"),
            Self::Prefill => include_str!("kernels/prefill.cu"),
            Self::PrefillWgmma => include_str!("kernels/prefill_wgmma.cu"),
            Self::Gemm => include_str!("kernels/gemm.cu"),
            Self::Moe => include_str!("kernels/moe.cu"),
        }
    }

    /// What NVRTC compiles.
    pub fn source(self) -> String {
        let warpgroup = if self == Self::PrefillWgmma {
            WARPGROUP
        } else {
            ""
        };
        [PRIMITIVES, COMMON, warpgroup, self.body()].concat()
    }

    /// The kernels that it holds.
    pub fn kernels(self) -> &'static [&'static str] {
        match self {
            Self::Dense => &["embed", "rms_norm", "silu_mul", "argmax"],
            Self::Rope => &["rotations", "rope_write"],
            Self::Gemv => &[
                "gemv_1",
                "gemv_2",
                "gemv_4",
                "gemv_8",
                "gemv_f32_1",
                "gemv_f32_2",
                "gemv_f32_4",
                "gemv_f32_8",
            ],
            Self::Blocks => &["poison_blocks", "random_fill", "fill"],
            Self::Decode => &[
                "decode_32",
                "decode_64",
                "decode_128",
                "decode_32_wide",
                "decode_64_wide",
                "decode_128_wide",
                "attention_combine",
            ],
            Self::Prefill => &["prefill_32", "prefill_64", "prefill_128"],
            Self::PrefillWgmma => &["prefill_wgmma_64", "prefill_wgmma_128"],
            Self::Gemm => &["gemm_16", "gemm_f32_16", "gemm_128", "gemm_f32_128"],
            Self::Moe => &["route", "sort_by_expert", "expert_tiles", "combine_experts"],
        }
    }
}
