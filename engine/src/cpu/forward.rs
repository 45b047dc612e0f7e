//! One step through the model.

use super::attention::{Heads, Item, attend, tokens_of_item, write};
use super::kv::{Cache, Element};
use super::linear::{Input, Mode, On, Onto};
use super::moe::{self, grow};
use super::norm::{Rope, gated, rms_rows};
use super::packed::{Packed, PackedUnit};
use crate::batch::Batch;

/// What a step computes in, kept from step to step.
#[derive(Debug)]
pub(crate) struct Buffers {
    /// The residual stream, `[tokens, hidden]`.
    x: Vec<f32>,
    h: Input,
    qkv: Vec<f32>,
    attended: Input,
    both: Vec<f32>,
    act: Input,
    items: Vec<Item>,
    moe: moe::Buffers,
    rope: Rope,
    /// `[samples, vocabulary]`, of the last step.
    pub(crate) logits: Vec<f32>,
}

impl Buffers {
    pub(crate) fn new(model: &Packed) -> Self {
        let c = &model.config;
        Self {
            x: Vec::new(),
            h: Input::default(),
            qkv: Vec::new(),
            attended: Input::default(),
            both: Vec::new(),
            act: Input::default(),
            items: Vec::new(),
            moe: moe::Buffers::default(),
            rope: Rope::new(c.rotary_frequencies()),
            logits: Vec::new(),
        }
    }
}

/// Computes a checked batch: KV to its slots, logits of its sampling rows to `buffers`.
pub(crate) fn forward<E: Element>(
    on: &On<'_>,
    mode: Mode,
    model: &Packed,
    cache: &mut Cache<E>,
    (batch, tokens): (&Batch, &[u32]),
    buffers: &mut Buffers,
) {
    let c = &model.config;
    let Buffers {
        x,
        h,
        qkv,
        attended,
        both,
        act,
        items,
        moe,
        rope,
        logits,
    } = buffers;
    let n = tokens.len();
    grow(x, n * c.hidden);
    let x = &mut x[..n * c.hidden];
    for (token, to) in tokens.iter().zip(x.chunks_exact_mut(c.hidden)) {
        model.embed(*token, to);
    }
    rope.set(&batch.positions);
    list(batch, c.group(), items);
    let q_width = c.heads * c.head_dim;
    for (i, layer) in model.layers.iter().enumerate() {
        rms_rows(on, x, &layer.attn_norm, c.norm_eps, None, h);
        h.ready(on, mode);
        grow(qkv, n * layer.qkv.outputs());
        let qkv = &mut qkv[..n * layer.qkv.outputs()];
        layer.qkv.run(on, h, Onto::Replace, qkv);
        let heads = Heads {
            heads: c.heads,
            kv_heads: c.kv_heads,
            head_dim: c.head_dim,
            bias: layer.bias.as_ref(),
            norm: layer.qk_norm.as_ref(),
            eps: c.norm_eps,
            rope,
            qkv,
        };
        write(on, cache, i, &heads, &batch.slots);
        attended.resize(n, q_width);
        let places = (items.as_slice(), batch.block_tables.as_slice());
        attend(on, cache, i, &heads, places, attended.rows_mut());
        attended.ready(on, mode);
        layer.o.run(on, attended, Onto::Add, x);
        rms_rows(on, x, &layer.ffn_norm, c.norm_eps, None, h);
        match &layer.unit {
            PackedUnit::Dense(ffn) => {
                h.ready(on, mode);
                grow(both, n * ffn.gate_up.outputs());
                let both = &mut both[..n * ffn.gate_up.outputs()];
                ffn.gate_up.run(on, h, Onto::Replace, both);
                gated(on, both, n, c.ff, act);
                act.ready(on, mode);
                ffn.down.run(on, act, Onto::Add, x);
            }
            PackedUnit::Moe { router, experts } => {
                let shape = c.moe.as_ref().expect("checked when packed");
                moe::run(on, mode, (router, experts, shape), h, moe, x);
            }
        }
    }
    rms_rows(on, x, &model.norm, c.norm_eps, Some(&batch.sample_at), h);
    h.ready(on, mode);
    logits.resize(batch.sample_at.len() * c.vocabulary, 0.0);
    model.head.run(on, h, Onto::Replace, logits);
}

/// Cuts a batch into items of attention.
fn list(batch: &Batch, group: usize, items: &mut Vec<Item>) {
    items.clear();
    let most = tokens_of_item(group);
    for row in 0..batch.rows.len() {
        let place = |i: usize| usize::try_from(batch.starts[i]).expect("checked with the batch");
        let (from, to) = (place(row), place(row + 1));
        let mut token = from;
        while token < to {
            let tokens = most.min(to - token);
            let position = usize::try_from(batch.positions[token]).expect("checked with the batch");
            items.push(Item {
                row,
                token,
                tokens,
                context: position + 1,
            });
            token += tokens;
        }
    }
}
