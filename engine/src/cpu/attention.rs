//! Attention over paged KV: the chunk's own keys and values are written first, then every query reads
//! its context block by block.
//!
//! One item of work is a few adjacent tokens of one turn and all query heads of one KV head: they
//! share every load of keys and values. Keys come 64 at a time: scores (a matrix product), running
//! maximum and exponentials (online softmax, Milakov and Gimelshein 2018), weighted values (another
//! product). The 64 are counted from the start of the context and a query that ends before them adds
//! zeros, so its result depends on its own context alone: not on the chunk, not on the batch.

use super::kv::{Cache, Element, Shape};
use super::linear::{On, tile, with_rows};
use super::norm::{Rope, rms};
use super::simd::{Kernel, LANES, Simd, exp, sum};
use super::threads::Parts;

/// Keys between two looks at the maximum.
const CHUNK: usize = 64;

/// Query rows (token and head) of one item: twice a register tile.
const ROWS: usize = 24;

/// Widest head that fits the buffers.
pub(crate) const WIDEST_HEAD: usize = 256;

/// How heads are made from the product of the fused query, key and value matrix.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_field_names, reason = "counts of heads")]
pub(crate) struct Heads<'a> {
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) bias: Option<&'a [Vec<f32>; 3]>,
    pub(crate) norm: Option<&'a [Vec<f32>; 2]>,
    pub(crate) eps: f32,
    pub(crate) rope: &'a Rope,
    /// `[tokens, heads + 2 kv_heads, head_dim]`.
    pub(crate) qkv: &'a [f32],
}

/// Which of a token's heads.
#[derive(Clone, Copy, Debug)]
enum Which {
    Query(usize),
    Key(usize),
    Value(usize),
}

impl Heads<'_> {
    /// One head of one token, with bias, normalisation and rotation.
    #[inline(always)]
    fn make<S: Simd>(&self, s: S, token: usize, which: Which, to: &mut [f32]) {
        let wide = self.head_dim;
        let to = &mut to[..wide];
        let (kind, within, before) = match which {
            Which::Query(head) => (0, head, 0),
            Which::Key(head) => (1, head, self.heads),
            Which::Value(head) => (2, head, self.heads + self.kv_heads),
        };
        let row = token * (self.heads + 2 * self.kv_heads);
        to.copy_from_slice(&self.qkv[(row + before + within) * wide..][..wide]);
        if let Some(bias) = self.bias {
            for (x, b) in to.iter_mut().zip(&bias[kind][within * wide..][..wide]) {
                *x += b;
            }
        }
        if kind == 2 {
            return;
        }
        if let Some(norm) = self.norm {
            let mut plain = [0.0; WIDEST_HEAD];
            plain[..wide].copy_from_slice(to);
            rms(s, &plain[..wide], &norm[kind], self.eps, to);
        }
        self.rope.turn(token, to);
    }
}

/// Writes keys and values of a step's tokens to their slots.
pub(crate) fn write<E: Element>(
    on: &On<'_>,
    cache: &mut Cache<E>,
    layer: usize,
    heads: &Heads<'_>,
    slots: &[u64],
) {
    let shape = cache.shape;
    let layer = &mut cache.layers[layer];
    let (key_len, value_len) = (
        shape.blocks * shape.key_vectors(),
        shape.blocks * shape.value_vectors(),
    );
    let keys = Parts::new(&mut layer.keys);
    let values = Parts::new(&mut layer.values);
    let cost = 8 * slots.len() * shape.kv_heads * shape.head_dim;
    on.threads.run(shape.kv_heads, cost, |head| {
        #[allow(unsafe_code, reason = "each KV head of a layer is one piece")]
        // SAFETY: an item takes the piece of its own head.
        let (keys, values) = unsafe {
            (
                keys.part(head * key_len, key_len),
                values.part(head * value_len, value_len),
            )
        };
        on.isa.run(Write {
            shape,
            head,
            heads,
            slots,
            keys,
            values,
        });
    });
}

struct Write<'a, E> {
    shape: Shape,
    head: usize,
    heads: &'a Heads<'a>,
    slots: &'a [u64],
    keys: &'a mut [[E; LANES]],
    values: &'a mut [[E; LANES]],
}

impl<E: Element> Kernel for Write<'_, E> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let shape = self.shape;
        let wide = shape.head_dim;
        let mut buffer = [0.0; WIDEST_HEAD];
        for (token, slot) in self.slots.iter().enumerate() {
            let slot = usize::try_from(*slot).expect("checked with the batch");
            let (block, offset) = (slot / shape.block_size, slot % shape.block_size);
            self.heads
                .make(s, token, Which::Key(self.head), &mut buffer);
            let group = block * shape.groups() + offset / LANES;
            let keys = &mut self.keys[group * wide..][..wide];
            for (to, x) in keys.iter_mut().zip(&buffer) {
                to[offset % LANES] = E::from_f32(*x);
            }
            self.heads
                .make(s, token, Which::Value(self.head), &mut buffer);
            let at = (block * shape.block_size + offset) * shape.vectors();
            let values = self.values[at..][..shape.vectors()].as_flattened_mut();
            for (to, x) in values.iter_mut().zip(&buffer[..wide]) {
                *to = E::from_f32(*x);
            }
        }
    }
}

/// Adjacent tokens of one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// Which row of the batch: whose block table.
    pub(crate) row: usize,
    /// First token, counted over the step.
    pub(crate) token: usize,
    /// How many.
    pub(crate) tokens: usize,
    /// Keys that the first one attends to; each further one sees one more.
    pub(crate) context: usize,
}

/// Tokens of an item, for so many query heads a KV head.
pub(crate) fn tokens_of_item(group: usize) -> usize {
    (ROWS / group).max(1)
}

/// Attention of all items, all heads: `out` is `[tokens, heads, head_dim]`.
pub(crate) fn attend<E: Element>(
    on: &On<'_>,
    cache: &Cache<E>,
    layer: usize,
    heads: &Heads<'_>,
    (items, tables): (&[Item], &[Vec<u32>]),
    out: &mut [f32],
) {
    let kv_heads = cache.shape.kv_heads;
    let pairs: usize = items
        .iter()
        .map(|i| i.tokens * (i.context + i.tokens / 2))
        .sum();
    let cost = pairs * heads.heads * heads.head_dim / 4;
    let out = Parts::new(out);
    on.threads.run(items.len() * kv_heads, cost, |i| {
        SCRATCH.with_borrow_mut(|scratch| {
            let item = items[i / kv_heads];
            let attend = Attend {
                cache,
                layer,
                heads,
                head: i % kv_heads,
                item,
                table: &tables[item.row],
                out: &out,
            };
            on.isa.run((attend, scratch));
        });
    });
}

thread_local! {
    /// Buffers of one item, kept from item to item.
    static SCRATCH: std::cell::RefCell<Vec<f32>> = const { std::cell::RefCell::new(Vec::new()) };
}

struct Attend<'a, E> {
    cache: &'a Cache<E>,
    layer: usize,
    heads: &'a Heads<'a>,
    head: usize,
    item: Item,
    table: &'a [u32],
    out: &'a Parts<'a, f32>,
}

/// What an item keeps while it goes through its context.
struct State<'a> {
    /// `[rows, head_dim padded]`: queries, scaled.
    q: &'a [f32],
    /// `[rows, head_dim padded]`: weighted values so far.
    acc: &'a mut [f32],
    /// `[rows, CHUNK]`: scores, then weights, of the keys at hand.
    scores: &'a mut [f32],
    /// `[rows]`: largest score so far.
    max: &'a mut [f32],
    /// `[rows, LANES]`: sum of weights so far.
    total: &'a mut [f32],
}

/// Sixteen keys at hand.
#[derive(Clone, Copy, Default)]
struct Group {
    /// Position of the first in the context.
    start: usize,
    /// How many of the sixteen are tokens that the item attends to.
    valid: usize,
    /// Where they lie, in vectors.
    keys: usize,
    values: usize,
}

/// An item and its buffers.
impl<E: Element> Kernel for (Attend<'_, E>, &mut Vec<f32>) {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.0.item(s, self.1);
    }
}

impl<E: Element> Attend<'_, E> {
    /// All of the item.
    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "head widths are small")]
    fn item<S: Simd>(&self, s: S, scratch: &mut Vec<f32>) {
        let (group, wide) = (self.heads.heads / self.heads.kv_heads, self.heads.head_dim);
        let rows = self.item.tokens * group;
        let padded = self.cache.shape.vectors() * LANES;
        scratch.clear();
        scratch.resize(rows * (2 * padded + CHUNK + 1 + LANES), 0.0);
        let (q, rest) = scratch.split_at_mut(rows * padded);
        let (acc, rest) = rest.split_at_mut(rows * padded);
        let (scores, rest) = rest.split_at_mut(rows * CHUNK);
        let (total, max) = rest.split_at_mut(rows * LANES);
        let scale = 1.0 / (wide as f32).sqrt();
        for (row, q) in q.chunks_exact_mut(padded).enumerate() {
            let token = self.item.token + row / group;
            let head = self.head * group + row % group;
            self.heads.make(s, token, Which::Query(head), q);
            for x in q {
                *x *= scale;
            }
        }
        max.fill(f32::MIN);
        let mut state = State {
            q,
            acc,
            scores,
            max,
            total,
        };
        let end = self.item.context + self.item.tokens - 1;
        let mut walk = Walk {
            shape: self.cache.shape,
            head: self.head,
            table: self.table,
            next: (0, 0),
            end,
        };
        loop {
            let mut groups = [Group::default(); CHUNK / LANES];
            let mut found = 0;
            while found < groups.len() {
                let Some(next) = walk.next() else { break };
                groups[found] = next;
                found += 1;
            }
            if found == 0 {
                break;
            }
            self.chunk(s, &groups[..found], &mut state, rows);
        }
        let heads = self.heads.heads;
        for row in 0..rows {
            let by = 1.0 / sum(s, vector(s, &state.total[row * LANES..]));
            let token = self.item.token + row / group;
            let head = self.head * group + row % group;
            #[allow(unsafe_code, reason = "heads of a token go to several threads")]
            // SAFETY: a head of a token belongs to one item, and an item writes it once.
            let out = unsafe { self.out.part((token * heads + head) * wide, wide) };
            for (out, x) in out.iter_mut().zip(&state.acc[row * padded..]) {
                *out = x * by;
            }
        }
    }
}

/// The sixteens of a context, in order.
struct Walk<'a> {
    shape: Shape,
    head: usize,
    table: &'a [u32],
    /// Block of the table, group in it.
    next: (usize, usize),
    /// Keys that the last token attends to.
    end: usize,
}

impl Walk<'_> {
    #[inline(always)]
    fn next(&mut self) -> Option<Group> {
        let shape = self.shape;
        let (block, group) = self.next;
        let offset = group * LANES;
        let start = block * shape.block_size + offset;
        if start >= self.end {
            return None;
        }
        self.next = if group + 1 < shape.groups() {
            (block, group + 1)
        } else {
            (block + 1, 0)
        };
        let at = self.head * shape.blocks + self.table[block] as usize;
        Some(Group {
            start,
            valid: (self.end - start).min(LANES).min(shape.block_size - offset),
            keys: at * shape.key_vectors() + group * shape.head_dim,
            values: at * shape.value_vectors() + offset * shape.vectors(),
        })
    }
}

#[inline(always)]
fn vector<S: Simd>(s: S, from: &[f32]) -> S::F {
    s.load(from[..LANES].try_into().expect("sixteen"))
}

#[inline(always)]
fn vector_mut(from: &mut [f32]) -> &mut [f32; LANES] {
    (&mut from[..LANES]).try_into().expect("sixteen")
}

impl<E: Element> Attend<'_, E> {
    /// Up to 64 keys, all rows.
    #[inline(always)]
    fn chunk<S: Simd>(&self, s: S, groups: &[Group], state: &mut State<'_>, rows: usize) {
        let mut row = 0;
        while row < rows {
            let now = tile(rows - row, S::ROWS);
            // A decode has few rows: several sixteens of keys at once fill the registers.
            if 4 * now <= S::ROWS && groups.len() == 4 {
                let at = (0, row);
                with_rows!(now, S::ROWS / 4, T => self.scores::<S, T, 4>(s, groups, at, state));
            } else {
                for i in 0..groups.len() {
                    let at = (i, row);
                    with_rows!(now, S::ROWS, T => self.scores::<S, T, 1>(s, groups, at, state));
                }
            }
            row += now;
        }
        for row in 0..rows {
            self.weigh(s, groups, state, row);
        }
        let mut row = 0;
        while row < rows {
            let now = tile(rows - row, S::ROWS.div_ceil(2));
            let mut v = 0;
            while v < self.cache.shape.vectors() {
                if v + 4 <= self.cache.shape.vectors() {
                    with_rows!(now, S::ROWS.div_ceil(2), T => self.values::<S, T, 4>(s, groups, state, (row, v)));
                    v += 4;
                } else {
                    with_rows!(now, S::ROWS.div_ceil(2), T => self.values::<S, T, 1>(s, groups, state, (row, v)));
                    v += 1;
                }
            }
            row += now;
        }
    }

    /// Scores of `G` groups of keys from group `first` on, `T` rows from `row` on.
    #[inline(always)]
    fn scores<S: Simd, const T: usize, const G: usize>(
        &self,
        s: S,
        groups: &[Group],
        (first, row): (usize, usize),
        state: &mut State<'_>,
    ) {
        let wide = self.heads.head_dim;
        let padded = self.cache.shape.vectors() * LANES;
        let mut keys: [&[[E; LANES]]; G] = [&[]; G];
        for (g, keys) in keys.iter_mut().enumerate() {
            *keys = &self.cache.layers[self.layer].keys[groups[first + g].keys..][..wide];
        }
        let mut q: [&[f32]; T] = [&[]; T];
        for (t, q) in q.iter_mut().enumerate() {
            *q = &state.q[(row + t) * padded..][..wide];
        }
        let mut sums = [[s.splat(0.0); G]; T];
        for i in 0..wide {
            let mut key = [s.splat(0.0); G];
            for g in 0..G {
                key[g] = E::load(s, &keys[g][i]);
            }
            for t in 0..T {
                let q = s.splat(q[t][i]);
                for g in 0..G {
                    sums[t][g] = s.fma(q, key[g], sums[t][g]);
                }
            }
        }
        for (t, sums) in sums.into_iter().enumerate() {
            for (g, sum) in sums.into_iter().enumerate() {
                let at = (row + t) * CHUNK + (first + g) * LANES;
                s.store(sum, vector_mut(&mut state.scores[at..]));
            }
        }
    }

    /// Turns a row's scores to weights and brings what it has so far to the new maximum.
    #[inline(always)]
    fn weigh<S: Simd>(&self, s: S, groups: &[Group], state: &mut State<'_>, row: usize) {
        let heads = self.heads.heads / self.heads.kv_heads;
        let limit = self.item.context + row / heads;
        let scores = &mut state.scores[row * CHUNK..][..CHUNK];
        let none = s.splat(f32::MIN);
        let mut most = none;
        for (i, group) in groups.iter().enumerate() {
            let seen = limit.saturating_sub(group.start).min(group.valid);
            most = s.max(s.first(seen, vector(s, &scores[i * LANES..]), none), most);
        }
        let most = s.max_lanes(most);
        let before = state.max[row];
        let after = if most > before { most } else { before };
        state.max[row] = after;
        let mut total = vector(s, &state.total[row * LANES..]);
        if after > before {
            let by = exp(s, s.splat(before - after));
            total = s.mul(total, by);
            let padded = self.cache.shape.vectors() * LANES;
            let (acc, _) = state.acc[row * padded..][..padded].as_chunks_mut::<LANES>();
            for acc in acc {
                s.store(s.mul(s.load(acc), by), acc);
            }
        }
        for (i, group) in groups.iter().enumerate() {
            let seen = limit.saturating_sub(group.start).min(group.valid);
            let score = vector(s, &scores[i * LANES..]);
            let weight = exp(s, s.sub(score, s.splat(after)));
            let weight = s.first(seen, weight, s.splat(0.0));
            total = s.add(total, weight);
            s.store(weight, vector_mut(&mut scores[i * LANES..]));
        }
        s.store(total, vector_mut(&mut state.total[row * LANES..]));
    }

    /// Adds the weighted values: `T` rows, `V` vectors of the head from vector `v` on.
    #[inline(always)]
    fn values<S: Simd, const T: usize, const V: usize>(
        &self,
        s: S,
        groups: &[Group],
        state: &mut State<'_>,
        (row, v): (usize, usize),
    ) {
        let vectors = self.cache.shape.vectors();
        let values = &self.cache.layers[self.layer].values;
        let mut acc = [[s.splat(0.0); V]; T];
        for (t, acc) in acc.iter_mut().enumerate() {
            for (i, acc) in acc.iter_mut().enumerate() {
                *acc = vector(s, &state.acc[((row + t) * vectors + v + i) * LANES..]);
            }
        }
        let mut weights: [&[f32]; T] = [&[]; T];
        for (t, weights) in weights.iter_mut().enumerate() {
            *weights = &state.scores[(row + t) * CHUNK..][..CHUNK];
        }
        for (place, group) in groups.iter().enumerate() {
            let rows = &values[group.values..][..group.valid * vectors];
            for (key, values) in rows.chunks_exact(vectors).enumerate() {
                let values = &values[v..][..V];
                let mut vector = [s.splat(0.0); V];
                for i in 0..V {
                    vector[i] = E::load(s, &values[i]);
                }
                for t in 0..T {
                    let weight = s.splat(weights[t][place * LANES + key]);
                    for i in 0..V {
                        acc[t][i] = s.fma(weight, vector[i], acc[t][i]);
                    }
                }
            }
        }
        for (t, acc) in acc.into_iter().enumerate() {
            for (i, acc) in acc.into_iter().enumerate() {
                let at = ((row + t) * vectors + v + i) * LANES;
                s.store(acc, vector_mut(&mut state.acc[at..]));
            }
        }
    }
}
