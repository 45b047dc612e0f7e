//! Launches of the kernels: grids, shared memory and arguments in the order in which each takes them.

use crate::model::ModelConfig;

use super::{
    kernels::Module,
    op::{Address, Arg, Launch},
    prefill::PrefillKernel,
};

/// Tokens that one head width, paged KV and the block tables say where to find.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paged {
    /// Keys of the layer in block 0.
    pub keys: Address,
    /// Values of the layer in block 0.
    pub values: Address,
    /// Values (2 bytes) from one block to the next.
    pub block_stride: i64,
    /// Binary logarithm of the block size.
    pub shift: i32,
    /// Block tables of the step, and their width.
    pub tables: (Address, i32),
}

/// Heads of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heads {
    /// Of queries.
    pub query: u32,
    /// Of keys and values.
    pub kv: u32,
    /// Values of a head.
    pub width: u32,
}

impl Heads {
    /// Those of a model.
    pub fn of(config: &ModelConfig) -> Self {
        Self {
            query: count(config.heads),
            kv: count(config.kv_heads),
            width: count(config.head_dim),
        }
    }

    /// Query heads of a KV head.
    pub fn group(self) -> u32 {
        self.query / self.kv
    }

    /// Values of a token's queries, keys and values.
    pub fn projected(self) -> u32 {
        (self.query + 2 * self.kv) * self.width
    }

    /// Factor of the scores: softmax by powers of two.
    #[expect(clippy::cast_precision_loss, reason = "a head's width")]
    pub fn scale(self) -> f32 {
        std::f32::consts::LOG2_E / (self.width as f32).sqrt()
    }
}

pub(super) fn int(n: u32) -> Arg {
    Arg::Int(i32::try_from(n).expect("shapes fit 31 bits"))
}

fn launch(
    module: Module,
    kernel: &'static str,
    grid: [u32; 2],
    block: u32,
    args: Vec<Arg>,
) -> Launch {
    Launch {
        module,
        kernel,
        grid,
        block,
        shared: 0,
        args,
    }
}

/// `residual[t] = table[ids[t]]`.
pub fn embed(ids: Address, table: Address, residual: Address, tokens: u32, width: u32) -> Launch {
    let args = vec![
        Arg::Address(ids),
        Arg::Address(table),
        Arg::Address(residual),
        int(width),
    ];
    launch(Module::Dense, "embed", [tokens, 1], 256, args)
}

/// A normalisation, with the addition before it.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    /// `[tokens, width]`, 32 bits.
    pub residual: Address,
    /// `[tokens, width]` to add first, or null.
    pub delta: Address,
    /// `[rows]`: which tokens, or null for all.
    pub rows: Address,
    /// `[width]`, 32 bits.
    pub gain: Address,
    /// `[rows, width]`.
    pub out: Address,
}

/// `residual += delta; out = norm(residual) * gain`.
pub fn rms_norm(norm: &Norm, rows: u32, width: u32, eps: f32) -> Launch {
    let args = vec![
        Arg::Address(norm.residual),
        Arg::Address(norm.delta),
        Arg::Address(norm.rows),
        Arg::Address(norm.gain),
        Arg::Address(norm.out),
        int(width),
        Arg::Float(eps),
    ];
    launch(Module::Dense, "rms_norm", [rows, 1], 256, args)
}

/// `out = silu(gate) * up`.
pub fn silu_mul(gate_up: Address, out: Address, rows: u32, ff: u32) -> Launch {
    let args = vec![Arg::Address(gate_up), Arg::Address(out), int(ff)];
    launch(
        Module::Dense,
        "silu_mul",
        [rows, ff.div_ceil(1024)],
        256,
        args,
    )
}

/// The likeliest token of each row.
pub fn argmax(logits: Address, out: Address, rows: u32, vocabulary: u32) -> Launch {
    let args = vec![Arg::Address(logits), Arg::Address(out), int(vocabulary)];
    launch(Module::Dense, "argmax", [rows, 1], 1024, args)
}

/// Cosines and sines of a step.
pub fn rotations(
    positions: Address,
    inverse: Address,
    turns: Address,
    tokens: u32,
    half: u32,
) -> Launch {
    let args = vec![
        Arg::Address(positions),
        Arg::Address(inverse),
        Arg::Address(turns),
        int(half),
    ];
    launch(Module::Rope, "rotations", [tokens, 1], 64, args)
}

/// What [`rope_write`] reads beside KV.
#[derive(Clone, Copy, Debug)]
pub struct Rope {
    /// `[tokens, projected]`.
    pub qkv: Address,
    /// `[projected]`, 32 bits, or null.
    pub bias: Address,
    /// Gains of query and key heads, `[width]` each, 32 bits, or null.
    pub gains: [Address; 2],
    /// From [`rotations`].
    pub turns: Address,
    /// `[tokens]`.
    pub slots: Address,
    /// Of the normalisations.
    pub eps: f32,
}

/// Bias, normalisation and rotation of queries and keys, and the write to KV.
pub fn rope_write(rope: &Rope, kv: &Paged, heads: Heads, tokens: u32) -> Launch {
    let args = vec![
        Arg::Address(rope.qkv),
        Arg::Address(rope.bias),
        Arg::Address(rope.gains[0]),
        Arg::Address(rope.gains[1]),
        Arg::Address(rope.turns),
        Arg::Address(rope.slots),
        Arg::Address(kv.keys),
        Arg::Address(kv.values),
        Arg::Long(kv.block_stride),
        int(heads.query),
        int(heads.kv),
        int(heads.width),
        Arg::Int(kv.shift),
        Arg::Float(rope.eps),
    ];
    let grid = [tokens, (heads.query + 2 * heads.kv).div_ceil(4)];
    launch(Module::Rope, "rope_write", grid, 128, args)
}

/// Memory of split attention.
#[derive(Clone, Copy, Debug)]
pub struct Split {
    /// `[parts, 4]`.
    pub items: Address,
    /// `[parts, heads, width]`, 32 bits.
    pub parts: Address,
    /// `[parts, heads, 2]`, 32 bits.
    pub sums: Address,
    /// `[decodes + 1]`.
    pub starts: Address,
    /// `[decodes]`.
    pub tokens: Address,
}

/// Attention of decoding rows, by parts. The head's width is 32, 64 or 128, the group at most 16.
pub fn decode(q: Address, kv: &Paged, split: &Split, heads: Heads, parts: u32) -> Launch {
    let kernel = match (heads.width, heads.group() > 8) {
        (32, false) => "decode_32",
        (64, false) => "decode_64",
        (_, false) => "decode_128",
        (32, true) => "decode_32_wide",
        (64, true) => "decode_64_wide",
        (_, true) => "decode_128_wide",
    };
    let args = vec![
        Arg::Address(q),
        Arg::Long(i64::from(heads.projected())),
        Arg::Address(kv.keys),
        Arg::Address(kv.values),
        Arg::Long(kv.block_stride),
        Arg::Address(kv.tables.0),
        Arg::Int(kv.tables.1),
        Arg::Address(split.items),
        Arg::Address(split.parts),
        Arg::Address(split.sums),
        int(heads.group()),
        Arg::Int(kv.shift),
        Arg::Float(heads.scale()),
    ];
    launch(Module::Decode, kernel, [parts, heads.kv], 128, args)
}

/// Adds the parts of each decoding row up.
pub fn attention_combine(split: &Split, out: Address, heads: Heads, decodes: u32) -> Launch {
    let args = vec![
        Arg::Address(split.parts),
        Arg::Address(split.sums),
        Arg::Address(split.starts),
        Arg::Address(split.tokens),
        Arg::Address(out),
    ];
    let grid = [decodes, heads.query];
    launch(Module::Decode, "attention_combine", grid, heads.width, args)
}

/// Arrays of attention by tiles.
#[derive(Clone, Copy, Debug)]
pub struct Tiled {
    /// `[rows + 1]`.
    pub starts: Address,
    /// `[rows]`.
    pub contexts: Address,
    /// `[tiles, 2]`.
    pub items: Address,
}

/// Attention of rows with many queries. The head's width is 32, 64 or 128; not 32 for
/// [`PrefillKernel::Wgmma`]. Tiles are the kernel's.
pub fn prefill(
    q: Address,
    out: Address,
    kv: &Paged,
    tiled: &Tiled,
    heads: Heads,
    count: u32,
    kernel: PrefillKernel,
) -> Launch {
    // Queries, and stages of keys and values: see the kernels. Wgmma moves their beginning up to 1024.
    let (module, name, block, shared) = match (kernel, heads.width) {
        (PrefillKernel::Mma, 32) => (Module::Prefill, "prefill_32", 128, 640 * 32),
        (PrefillKernel::Mma, 64) => (Module::Prefill, "prefill_64", 128, 640 * 64),
        (PrefillKernel::Mma, _) => (Module::Prefill, "prefill_128", 128, 640 * 128),
        (PrefillKernel::Wgmma, 64) => (Module::PrefillWgmma, "prefill_wgmma_64", 256, 1024 * 65),
        (PrefillKernel::Wgmma, _) => (Module::PrefillWgmma, "prefill_wgmma_128", 256, 1024 * 129),
    };
    let args = vec![
        Arg::Address(q),
        Arg::Long(i64::from(heads.projected())),
        Arg::Address(kv.keys),
        Arg::Address(kv.values),
        Arg::Long(kv.block_stride),
        Arg::Address(kv.tables.0),
        Arg::Int(kv.tables.1),
        Arg::Address(tiled.starts),
        Arg::Address(tiled.contexts),
        Arg::Address(tiled.items),
        Arg::Address(out),
        int(heads.group()),
        Arg::Int(kv.shift),
        Arg::Float(heads.scale()),
    ];
    Launch {
        shared,
        ..launch(module, name, [count, heads.kv], block, args)
    }
}

/// A product by our own kernels: `c = a w^T`.
#[derive(Clone, Copy, Debug)]
pub struct Matmul {
    /// `[*, k]`.
    pub a: Address,
    /// `[groups, n, k]`.
    pub w: Address,
    /// `[rows, n]`.
    pub c: Address,
    /// Outputs.
    pub n: u32,
    /// Inputs, a multiple of 8.
    pub k: u32,
    /// Whether `c` is 32 bits.
    pub wide: bool,
}

/// For at most eight rows.
pub fn gemv(product: &Matmul, m: u32) -> Launch {
    let kernel = match (m, product.wide) {
        (0..=1, false) => "gemv_1",
        (2, false) => "gemv_2",
        (3..=4, false) => "gemv_4",
        (_, false) => "gemv_8",
        (0..=1, true) => "gemv_f32_1",
        (2, true) => "gemv_f32_2",
        (3..=4, true) => "gemv_f32_4",
        (_, true) => "gemv_f32_8",
    };
    let args = vec![
        Arg::Address(product.a),
        Arg::Address(product.w),
        Arg::Address(product.c),
        int(m),
        int(product.n),
        int(product.k),
    ];
    launch(Module::Gemv, kernel, [product.n.div_ceil(8), 1], 256, args)
}

/// Which rows go through which matrix.
#[derive(Clone, Copy, Debug)]
pub enum Rows {
    /// All `m` through one.
    All(u32),
    /// Tiles that [`expert_tiles`] made, at most so many; row `r` is row `from[r] / divisor` of `a`.
    Grouped {
        /// `[limit, 3]`.
        tiles: Address,
        /// So many at most.
        limit: u32,
        /// `[rows]`, or null for row `r` itself.
        from: Address,
        /// Choices of a token.
        divisor: u32,
    },
}

/// On tensor cores, by tiles of `tile` rows: 16 or 128.
pub fn gemm(product: &Matmul, rows: Rows, tile: u32) -> Launch {
    let (kernel, columns, block, shared) = match (tile, product.wide) {
        (16, false) => ("gemm_16", 64, 128, 128 * 4 * (16 + 64)),
        (16, true) => ("gemm_f32_16", 64, 128, 128 * 4 * (16 + 64)),
        (_, false) => ("gemm_128", 128, 256, 128 * 3 * (128 + 128)),
        (_, true) => ("gemm_f32_128", 128, 256, 128 * 3 * (128 + 128)),
    };
    let (from, divisor, tiles, m, x) = match rows {
        Rows::All(m) => (Address::NULL, 1, Address::NULL, m, m.div_ceil(tile)),
        Rows::Grouped {
            tiles,
            limit,
            from,
            divisor,
        } => (from, divisor, tiles, 0, limit),
    };
    let args = vec![
        Arg::Address(product.a),
        Arg::Address(from),
        int(divisor),
        Arg::Address(product.w),
        Arg::Address(product.c),
        Arg::Address(tiles),
        int(m),
        int(product.n),
        int(product.k),
    ];
    Launch {
        shared,
        ..launch(
            Module::Gemm,
            kernel,
            [x, product.n.div_ceil(columns)],
            block,
            args,
        )
    }
}

/// Arrays of a step's choices of experts.
#[derive(Clone, Copy, Debug)]
pub struct Choices {
    /// `[tokens, k]`.
    pub ids: Address,
    /// `[tokens, k]`, 32-bit floats.
    pub weights: Address,
    /// `[tokens * k]`.
    pub order: Address,
    /// `[tokens * k]`.
    pub place: Address,
    /// `[experts + 1]`.
    pub starts: Address,
    /// `[limit, 3]`.
    pub tiles: Address,
}

/// Which experts each token goes to.
pub fn route(
    logits: Address,
    positions: Address,
    choices: &Choices,
    tokens: u32,
    moe: &crate::model::Moe,
) -> Launch {
    let args = vec![
        Arg::Address(logits),
        Arg::Address(positions),
        Arg::Address(choices.ids),
        Arg::Address(choices.weights),
        int(tokens),
        int(count(moe.experts)),
        int(count(moe.active)),
        Arg::Int(i32::from(moe.normalise)),
    ];
    launch(Module::Moe, "route", [tokens.div_ceil(4), 1], 128, args)
}

/// Choices in the order of their experts.
pub fn sort_by_expert(choices: &Choices, entries: u32, experts: u32) -> Launch {
    let args = vec![
        Arg::Address(choices.ids),
        Arg::Address(choices.order),
        Arg::Address(choices.place),
        Arg::Address(choices.starts),
        int(entries),
    ];
    launch(Module::Moe, "sort_by_expert", [experts, 1], 256, args)
}

/// Most tiles that so many choices of so many experts make.
pub fn tile_limit(entries: u32, experts: u32, tile: u32) -> u32 {
    (entries.div_ceil(tile) + experts).min(entries)
}

/// Tiles of the grouped product.
pub fn expert_tiles(choices: &Choices, experts: u32, tile: u32, limit: u32) -> Launch {
    let args = vec![
        Arg::Address(choices.starts),
        Arg::Address(choices.tiles),
        int(experts),
        int(tile),
        int(limit),
    ];
    launch(Module::Moe, "expert_tiles", [1, 1], 512, args)
}

/// `residual[t] += sum of weight * y`.
pub fn combine_experts(
    y: Address,
    choices: &Choices,
    residual: Address,
    tokens: u32,
    width: u32,
    active: u32,
) -> Launch {
    let args = vec![
        Arg::Address(y),
        Arg::Address(choices.place),
        Arg::Address(choices.weights),
        Arg::Address(residual),
        int(width),
        int(active),
    ];
    launch(Module::Moe, "combine_experts", [tokens, 1], 256, args)
}

/// Not-a-number into whole blocks of `bytes` bytes, a multiple of 16.
///
/// # Panics
/// If a block has 64 GiB and more.
pub fn poison_blocks(pool: Address, list: Address, blocks: u32, bytes: u64) -> Launch {
    let pieces = u32::try_from(bytes / 16).expect("a block is below 64 GiB");
    let args = vec![Arg::Address(pool), Arg::Address(list), int(pieces)];
    let grid = [blocks, pieces.div_ceil(1024)];
    launch(Module::Blocks, "poison_blocks", grid, 256, args)
}

/// Uniform brain floats in `[-scale, scale)`, a function of seed and index.
#[expect(clippy::cast_possible_wrap, reason = "the bits are meant")]
pub fn random_fill(to: Address, count: u64, seed: u64, scale: f32) -> Launch {
    let args = vec![
        Arg::Address(to),
        Arg::Long(count as i64),
        Arg::Long(seed as i64),
        Arg::Float(scale),
    ];
    launch(
        Module::Blocks,
        "random_fill",
        [grid_for(count), 1],
        256,
        args,
    )
}

/// One 32-bit value everywhere.
#[expect(clippy::cast_possible_wrap, reason = "memory is below 2^63")]
pub fn fill(to: Address, count: u64, value: f32) -> Launch {
    let args = vec![Arg::Address(to), Arg::Long(count as i64), Arg::Float(value)];
    launch(Module::Blocks, "fill", [grid_for(count), 1], 256, args)
}

fn grid_for(count: u64) -> u32 {
    u32::try_from(count.div_ceil(256).clamp(1, 4096)).expect("clamped")
}

pub(super) fn count(n: usize) -> u32 {
    u32::try_from(n).expect("shapes fit 32 bits")
}
