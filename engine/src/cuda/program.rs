//! A step as a list of operations: a function of the model, the memory and the step's shape.

use crate::model::{ModelConfig, Moe};

use super::{
    buffers::{Buffer, Buffers},
    launch::{
        self, Choices, Heads, Matmul, Norm, Paged, Rope, Rows, Split, Tiled, count, tile_limit,
    },
    metadata::Layout,
    model::{DeviceFfn, DeviceLayer, DeviceModel},
    op::{Address, Op, Product},
    prefill::PrefillKernel,
    shape::Shape,
};

/// Paged KV in the device's memory: `[blocks, layers, 2, kv_heads, block_size, head_dim]`. A block is
/// one piece over all layers, so it moves to host memory and back as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Block 0.
    pub base: Address,
    /// Tokens of a block, a power of two.
    pub block_size: u32,
    /// Blocks, with block 0.
    pub blocks: u64,
}

/// What the list is made from.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// The model's shape.
    pub config: &'a ModelConfig,
    /// Its weights.
    pub model: &'a DeviceModel,
    /// Its KV.
    pub pool: Pool,
    /// Working memory, large enough for the shape.
    pub buffers: &'a Buffers,
    /// The step's shape.
    pub shape: Shape,
    /// Whether a token's result must not depend on what else is in the step: all products run through
    /// kernels that sum in one order.
    pub invariant: bool,
    /// What computes attention by tiles; the shape's tiles are its own.
    pub prefill: PrefillKernel,
}

impl Program<'_> {
    fn at(&self, buffer: Buffer) -> Address {
        self.buffers.at(buffer)
    }

    fn array(&self, index: usize) -> Address {
        self.at(Buffer::Metadata).offset(4 * index as u64)
    }

    fn tokens(&self) -> u32 {
        count(self.shape.tokens)
    }

    fn heads(&self) -> Heads {
        Heads::of(self.config)
    }

    /// The whole step: from token ids to sampled ids.
    pub fn ops(&self) -> Vec<Op> {
        let config = self.config;
        let layout = Layout::new(self.shape);
        let mut ops = vec![
            Op::Launch(launch::embed(
                self.array(layout.ids),
                self.model.embedding,
                self.at(Buffer::Residual),
                self.tokens(),
                count(config.hidden),
            )),
            Op::Launch(launch::rotations(
                self.array(layout.positions),
                self.model.inverse,
                self.at(Buffer::Turns),
                self.tokens(),
                count(config.head_dim / 2),
            )),
        ];
        // What the last block computed and has not added yet.
        let mut delta = Address::NULL;
        for (number, layer) in self.model.layers.iter().enumerate() {
            self.norm(&mut ops, delta, layer.attn_norm);
            self.attention(&mut ops, layer, number, &layout);
            self.norm(&mut ops, self.at(Buffer::Delta), layer.ffn_norm);
            delta = self.feed_forward(&mut ops, layer, &layout);
        }
        if self.shape.samples > 0 {
            self.sample(&mut ops, delta, &layout);
        }
        ops
    }

    fn norm(&self, ops: &mut Vec<Op>, delta: Address, gain: Address) {
        let norm = Norm {
            residual: self.at(Buffer::Residual),
            delta,
            rows: Address::NULL,
            gain,
            out: self.at(Buffer::Normed),
        };
        let width = count(self.config.hidden);
        ops.push(Op::Launch(launch::rms_norm(
            &norm,
            self.tokens(),
            width,
            self.config.norm_eps,
        )));
    }

    /// `c = a w^T` by whatever is quickest for so many rows.
    fn matmul(&self, ops: &mut Vec<Op>, product: &Matmul, m: u32) {
        let Matmul {
            a,
            w,
            c,
            n,
            k,
            wide,
        } = *product;
        ops.push(if self.invariant {
            Op::Launch(launch::gemm(
                product,
                Rows::All(m),
                if m <= 64 { 16 } else { 128 },
            ))
        } else if m <= 8 {
            Op::Launch(launch::gemv(product, m))
        } else {
            Op::Product(Product {
                a,
                w,
                c,
                m,
                n,
                k,
                wide,
            })
        });
    }

    fn attention(&self, ops: &mut Vec<Op>, layer: &DeviceLayer, number: usize, layout: &Layout) {
        let (config, heads) = (self.config, self.heads());
        let kv = self.paged(number, layout);
        let qkv = self.at(Buffer::Qkv);
        let hidden = count(config.hidden);
        let projection = Matmul {
            a: self.at(Buffer::Normed),
            w: layer.qkv,
            c: qkv,
            n: heads.projected(),
            k: hidden,
            wide: false,
        };
        self.matmul(ops, &projection, self.tokens());
        let rope = Rope {
            qkv,
            bias: layer.qkv_bias,
            gains: layer.qk_norm,
            turns: self.at(Buffer::Turns),
            slots: self.array(layout.slots),
            eps: config.norm_eps,
        };
        ops.push(Op::Launch(launch::rope_write(
            &rope,
            &kv,
            heads,
            self.tokens(),
        )));

        let out = self.at(Buffer::Attention);
        if self.shape.tiles > 0 {
            let tiled = Tiled {
                starts: self.array(layout.starts),
                contexts: self.array(layout.contexts),
                items: self.array(layout.tiles),
            };
            let items = count(self.shape.tiles);
            ops.push(Op::Launch(launch::prefill(
                qkv,
                out,
                &kv,
                &tiled,
                heads,
                items,
                self.prefill,
            )));
        }
        if self.shape.parts > 0 {
            let split = Split {
                items: self.array(layout.parts),
                parts: self.at(Buffer::Parts),
                sums: self.at(Buffer::Sums),
                starts: self.array(layout.part_starts),
                tokens: self.array(layout.decode_tokens),
            };
            ops.push(Op::Launch(launch::decode(
                qkv,
                &kv,
                &split,
                heads,
                count(self.shape.parts),
            )));
            let decodes = count(self.shape.decodes);
            ops.push(Op::Launch(launch::attention_combine(
                &split, out, heads, decodes,
            )));
        }
        let output = Matmul {
            a: out,
            w: layer.o,
            c: self.at(Buffer::Delta),
            n: hidden,
            k: heads.query * heads.width,
            wide: false,
        };
        self.matmul(ops, &output, self.tokens());
    }

    fn paged(&self, layer: usize, layout: &Layout) -> Paged {
        let config = self.config;
        let plane = config.kv_heads * config.head_dim * self.pool.block_size as usize;
        let keys = self.pool.base.offset((4 * layer * plane) as u64);
        Paged {
            keys,
            values: keys.offset(2 * plane as u64),
            block_stride: i64::try_from(2 * config.layers * plane)
                .expect("a block is below 2^63 bytes"),
            shift: i32::try_from(self.pool.block_size.trailing_zeros()).expect("below 32"),
            tables: (
                self.array(layout.tables),
                i32::try_from(self.shape.table).expect("a table is below 2^31 blocks"),
            ),
        }
    }

    /// Gives what is still to be added to the residual: nothing after experts, which add themselves.
    fn feed_forward(&self, ops: &mut Vec<Op>, layer: &DeviceLayer, layout: &Layout) -> Address {
        let (hidden, ff) = (count(self.config.hidden), count(self.config.ff));
        let delta = self.at(Buffer::Delta);
        match (layer.ffn, &self.config.moe) {
            (DeviceFfn::Dense { gate_up, down }, _) => {
                let up = Matmul {
                    a: self.at(Buffer::Normed),
                    w: gate_up,
                    c: self.at(Buffer::GateUp),
                    n: 2 * ff,
                    k: hidden,
                    wide: false,
                };
                self.matmul(ops, &up, self.tokens());
                ops.push(Op::Launch(launch::silu_mul(
                    up.c,
                    self.at(Buffer::Activated),
                    self.tokens(),
                    ff,
                )));
                let down = Matmul {
                    a: self.at(Buffer::Activated),
                    w: down,
                    c: delta,
                    n: hidden,
                    k: ff,
                    wide: false,
                };
                self.matmul(ops, &down, self.tokens());
                delta
            }
            (DeviceFfn::Moe { .. }, None) => delta,
            (
                DeviceFfn::Moe {
                    router,
                    gate_up,
                    down,
                },
                Some(moe),
            ) => {
                let router = Matmul {
                    a: self.at(Buffer::Normed),
                    w: router,
                    c: self.at(Buffer::RouterLogits),
                    n: count(moe.experts),
                    k: hidden,
                    wide: true,
                };
                self.matmul(ops, &router, self.tokens());
                self.experts(ops, moe, [gate_up, down], self.array(layout.positions));
                Address::NULL
            }
        }
    }

    fn experts(
        &self,
        ops: &mut Vec<Op>,
        moe: &Moe,
        [gate_up, down]: [Address; 2],
        positions: Address,
    ) {
        let hidden = count(self.config.hidden);
        let (experts, active, ff) = (count(moe.experts), count(moe.active), count(moe.ff));
        let entries = self.tokens() * active;
        let tile = if entries >= 64 * experts { 128 } else { 16 };
        let limit = tile_limit(entries, experts, tile);
        let choices = Choices {
            ids: self.at(Buffer::ExpertIds),
            weights: self.at(Buffer::ExpertWeights),
            order: self.at(Buffer::ExpertOrder),
            place: self.at(Buffer::ExpertPlace),
            starts: self.at(Buffer::ExpertStarts),
            tiles: self.at(Buffer::ExpertTiles),
        };
        let rows = |from, divisor| Rows::Grouped {
            tiles: choices.tiles,
            limit,
            from,
            divisor,
        };
        let up = Matmul {
            a: self.at(Buffer::Normed),
            w: gate_up,
            c: self.at(Buffer::GateUp),
            n: 2 * ff,
            k: hidden,
            wide: false,
        };
        let out = Matmul {
            a: self.at(Buffer::Activated),
            w: down,
            c: self.at(Buffer::ExpertOut),
            n: hidden,
            k: ff,
            wide: false,
        };
        let logits = self.at(Buffer::RouterLogits);
        ops.extend(
            [
                launch::route(logits, positions, &choices, self.tokens(), moe),
                launch::sort_by_expert(&choices, entries, experts),
                launch::expert_tiles(&choices, experts, tile, limit),
                launch::gemm(&up, rows(choices.order, active), tile),
                launch::silu_mul(up.c, out.a, entries, ff),
                launch::gemm(&out, rows(Address::NULL, 1), tile),
                launch::combine_experts(
                    out.c,
                    &choices,
                    self.at(Buffer::Residual),
                    self.tokens(),
                    hidden,
                    active,
                ),
            ]
            .map(Op::Launch),
        );
    }

    fn sample(&self, ops: &mut Vec<Op>, delta: Address, layout: &Layout) {
        let samples = count(self.shape.samples);
        let norm = Norm {
            residual: self.at(Buffer::Residual),
            delta,
            rows: self.array(layout.sample_at),
            gain: self.model.norm,
            out: self.at(Buffer::Normed),
        };
        let (hidden, vocabulary) = (count(self.config.hidden), count(self.config.vocabulary));
        ops.push(Op::Launch(launch::rms_norm(
            &norm,
            samples,
            hidden,
            self.config.norm_eps,
        )));
        let head = Matmul {
            a: norm.out,
            w: self.model.head,
            c: self.at(Buffer::Logits),
            n: vocabulary,
            k: hidden,
            wide: true,
        };
        self.matmul(ops, &head, samples);
        ops.push(Op::Launch(launch::argmax(
            head.c,
            self.at(Buffer::Sampled),
            samples,
            vocabulary,
        )));
    }
}
