//! Attention over paged KV, by parts and by tiles, against the plain formula.

use engine::{
    Batch, ExecutorError, Row,
    cuda::{
        Address, Device, Op, PrefillKernel,
        launch::{self, Heads, Paged, Split, Tiled},
        metadata::{Layout, pack},
        prefill::{AGREEMENT, Trial},
        shape::Shape,
        work::Work,
    },
};
use units::{SessionId, Tokens};

use crate::{
    device::{Bench, device},
    values::{ONE_ROUNDING, error, rounded, uniform},
};

/// Rows as (query, context), and what they lie in.
pub(crate) struct Case {
    pub(crate) heads: Heads,
    pub(crate) block_size: usize,
    pub(crate) rows: Vec<(u64, u64)>,
}

pub(crate) struct Inputs {
    batch: Batch,
    /// `[tokens, projected]`.
    qkv: Vec<f32>,
    /// Per row `[context, kv, width]`.
    keys: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
}

impl Case {
    fn stride(&self) -> usize {
        2 * self.block_size * (self.heads.kv * self.heads.width) as usize
    }

    /// Blocks are dealt out of order, so that tables matter.
    pub(crate) fn inputs(&self, seed: u64) -> Inputs {
        let mut batch = Batch {
            starts: vec![0],
            ..Batch::default()
        };
        let per_row: Vec<u64> = self
            .rows
            .iter()
            .map(|r| r.1.div_ceil(self.block_size as u64))
            .collect();
        let mut block = per_row.iter().sum::<u64>() as u32;
        let size = (self.heads.kv * self.heads.width) as usize;
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for (r, &(query, context)) in self.rows.iter().enumerate() {
            let table: Vec<u32> = (0..per_row[r])
                .map(|_| {
                    block -= 1;
                    block
                })
                .collect();
            for position in context - query..context {
                batch.positions.push(position);
                let at = table[position as usize / self.block_size];
                batch.slots.push(
                    u64::from(at) * self.block_size as u64 + position % self.block_size as u64,
                );
            }
            batch.starts.push(batch.positions.len() as u64);
            batch.sample_at.push(batch.positions.len() as u64 - 1);
            batch.block_tables.push(table);
            batch.rows.push(Row {
                session: SessionId(r as u32),
                query: Tokens(query),
                context: Tokens(context),
                samples: true,
            });
            keys.push(rounded(seed + 2 * r as u64, context as usize * size));
            values.push(rounded(seed + 2 * r as u64 + 1, context as usize * size));
        }
        let tokens = batch.positions.len();
        let qkv = rounded(seed + 1000, tokens * self.heads.projected() as usize)
            .iter()
            .map(|v| 4.0 * v)
            .collect();
        Inputs {
            batch,
            qkv,
            keys,
            values,
        }
    }

    /// The formula, in 64 bits: `[tokens, heads, width]`.
    pub(crate) fn expected(&self, inputs: &Inputs) -> Vec<f32> {
        let (width, kv_heads) = (self.heads.width as usize, self.heads.kv as usize);
        let mut out = Vec::new();
        for (r, row) in inputs.batch.rows.iter().enumerate() {
            for t in inputs.batch.starts[r]..inputs.batch.starts[r + 1] {
                let seen = inputs.batch.positions[t as usize] as usize + 1;
                assert!(seen as u64 <= row.context.get());
                for head in 0..self.heads.query as usize {
                    let kv = head / self.heads.group() as usize;
                    let q = &inputs.qkv
                        [t as usize * self.heads.projected() as usize + head * width..][..width];
                    let at = |all: &'_ [f32], i: usize| {
                        all[(i * kv_heads + kv) * width..][..width].to_vec()
                    };
                    let scores: Vec<f64> = (0..seen)
                        .map(|i| {
                            let dot: f64 = at(&inputs.keys[r], i)
                                .iter()
                                .zip(q)
                                .map(|(a, b)| f64::from(a * b))
                                .sum();
                            dot / (width as f64).sqrt()
                        })
                        .collect();
                    let top = scores.iter().copied().fold(f64::MIN, f64::max);
                    let total: f64 = scores.iter().map(|s| (s - top).exp()).sum();
                    let mut sum = vec![0.0; width];
                    for (i, s) in scores.iter().enumerate() {
                        let weight = (s - top).exp() / total;
                        for (o, v) in sum.iter_mut().zip(at(&inputs.values[r], i)) {
                            *o += weight * f64::from(v);
                        }
                    }
                    out.extend(sum.into_iter().map(|v| v as f32));
                }
            }
        }
        out
    }

    /// KV in blocks; what no context fills stays not-a-number.
    fn pool(&self, inputs: &Inputs) -> Vec<f32> {
        let (width, kv_heads) = (self.heads.width as usize, self.heads.kv as usize);
        let blocks = inputs
            .batch
            .block_tables
            .iter()
            .map(Vec::len)
            .sum::<usize>();
        let mut pool = vec![f32::NAN; blocks * self.stride()];
        for (r, table) in inputs.batch.block_tables.iter().enumerate() {
            for position in 0..inputs.batch.rows[r].context.get() as usize {
                let block = table[position / self.block_size] as usize;
                for kv in 0..kv_heads {
                    let from = (position * kv_heads + kv) * width;
                    let to = block * self.stride()
                        + (kv * self.block_size + position % self.block_size) * width;
                    pool[to..to + width].copy_from_slice(&inputs.keys[r][from..from + width]);
                    let to = to + self.stride() / 2;
                    pool[to..to + width].copy_from_slice(&inputs.values[r][from..from + width]);
                }
            }
        }
        pool
    }

    /// Runs it: rows of one query by parts unless `tiles` says all by tiles.
    fn run(&self, d: &mut Bench, inputs: &Inputs, tiles: bool) -> Vec<f32> {
        self.run_on(d, inputs, tiles, PrefillKernel::Mma)
    }

    /// The same with another kernel for tiles.
    fn run_on(
        &self,
        d: &mut Bench,
        inputs: &Inputs,
        tiles: bool,
        kernel: PrefillKernel,
    ) -> Vec<f32> {
        self.try_on(d, inputs, tiles, kernel)
            .expect("the kernels end")
    }

    /// The same on a device that may stop.
    pub(crate) fn try_on(
        &self,
        d: &mut Bench,
        inputs: &Inputs,
        tiles: bool,
        kernel: PrefillKernel,
    ) -> Result<Vec<f32>, ExecutorError> {
        let heads = self.heads;
        let group = heads.group() as usize;
        let work = Work::new(
            &inputs.batch,
            group,
            heads.kv as usize,
            d.limits().processors,
            tiles,
            kernel,
        );
        let shape = Shape::exact(&inputs.batch, &work);
        // Decoding steps run in the padded shape they would be recorded in.
        let shape = shape.bucket().unwrap_or(shape);
        let layout = Layout::new(shape);
        let mut arrays = Vec::new();
        let ids = vec![0; inputs.batch.positions.len()];
        pack(&mut arrays, shape, &inputs.batch, &ids, &work).expect("fits");
        let arrays = d.ints(&arrays);
        let array = |i: usize| arrays.offset(4 * i as u64);
        let pool = d.halves(&self.pool(inputs));
        let kv = Paged {
            keys: pool,
            values: pool.offset(self.stride() as u64),
            block_stride: self.stride() as i64,
            shift: self.block_size.trailing_zeros() as i32,
            tables: (array(layout.tables), shape.table as i32),
        };
        let values = inputs.batch.positions.len() * (heads.query * heads.width) as usize;
        let (q, out) = (d.halves(&inputs.qkv), d.poisoned(2 * values));
        if shape.tiles > 0 {
            let tiled = Tiled {
                starts: array(layout.starts),
                contexts: array(layout.contexts),
                items: array(layout.tiles),
            };
            let count = shape.tiles as u32;
            let launch = launch::prefill(q, out, &kv, &tiled, heads, count, kernel);
            d.run(&[Op::Launch(launch)])?;
        }
        if shape.parts > 0 {
            let parts = shape.parts * heads.query as usize;
            let split = Split {
                items: array(layout.parts),
                parts: d.poisoned(4 * parts * heads.width as usize),
                sums: d.poisoned(8 * parts),
                starts: array(layout.part_starts),
                tokens: array(layout.decode_tokens),
            };
            d.go(launch::decode(q, &kv, &split, heads, shape.parts as u32));
            d.go(launch::attention_combine(
                &split,
                out,
                heads,
                shape.decodes as u32,
            ));
        }
        assert_ne!(out, Address::NULL);
        Ok(d.read_halves(out, values))
    }
}

/// Probabilities are rounded to brain floats and so is the result.
pub(crate) const TWO_ROUNDINGS: f64 = 2.0 * ONE_ROUNDING;

pub(crate) fn heads(query: u32, kv: u32, width: u32) -> Heads {
    Heads { query, kv, width }
}

#[test]
fn decoding_by_parts_is_attention() {
    let Some(mut d) = device("decoding_by_parts_is_attention") else {
        return;
    };
    for (i, (heads, block_size)) in [
        (heads(9, 3, 64), 16),
        (heads(4, 4, 32), 4),
        (heads(16, 2, 128), 16),
        (heads(24, 2, 64), 8),
        (heads(11, 1, 128), 2),
        (heads(10, 1, 32), 1),
    ]
    .into_iter()
    .enumerate()
    {
        let case = Case {
            heads,
            block_size,
            rows: vec![(1, 1), (1, 15), (1, 16), (1, 17), (1, 300)],
        };
        let inputs = case.inputs(30);
        d.set_order(i as u32);
        let found = case.run(&mut d, &inputs, false);
        let off = error(&found, &case.expected(&inputs));
        assert!(off < TWO_ROUNDINGS, "{heads:?}: {off}");
    }
    assert!(d.launched.keys().any(|k| *k == "decode_64_wide"));
    assert!(!d.launched.keys().any(|k| k.starts_with("prefill")));
}

#[test]
fn prefill_by_tiles_is_causal_attention() {
    let Some(mut d) = device("prefill_by_tiles_is_causal_attention") else {
        return;
    };
    for (i, (heads, block_size)) in [
        (heads(3, 1, 64), 16),
        (heads(4, 4, 32), 4),
        (heads(8, 2, 128), 16),
        (heads(5, 1, 32), 1),
    ]
    .into_iter()
    .enumerate()
    {
        let case = Case {
            heads,
            block_size,
            // Fresh, a later chunk, one query deep in a context, one at its start, over several tiles.
            rows: vec![(20, 20), (7, 90), (1, 129), (1, 1), (70, 140)],
        };
        let inputs = case.inputs(60);
        d.set_order(i as u32);
        let found = case.run(&mut d, &inputs, true);
        let off = error(&found, &case.expected(&inputs));
        assert!(off < TWO_ROUNDINGS, "{heads:?}: {off}");
    }
    assert!(!d.launched.keys().any(|k| k.starts_with("decode")));
}

#[test]
fn decodes_and_prefills_of_one_step_do_not_disturb_each_other() {
    let Some(mut d) = device("decodes_and_prefills_of_one_step_do_not_disturb_each_other") else {
        return;
    };
    let case = Case {
        heads: heads(6, 2, 64),
        block_size: 16,
        rows: vec![(1, 40), (33, 65), (1, 7), (2, 2)],
    };
    let inputs = case.inputs(90);
    let found = case.run(&mut d, &inputs, false);
    assert!(error(&found, &case.expected(&inputs)) < TWO_ROUNDINGS);
    assert_eq!((d.launched["prefill_64"], d.launched["decode_64"]), (1, 1));
}

/// Whether the device runs the kernel of warpgroups; said by name where it does not.
fn has_warpgroups(d: &Bench, test: &str) -> bool {
    let there = d.limits().wgmma;
    if !there {
        eprintln!("SKIPPED: {test}: the device is not of compute capability 9.0");
    }
    there
}

#[test]
fn prefill_by_warpgroups_is_causal_attention() {
    let test = "prefill_by_warpgroups_is_causal_attention";
    let Some(mut d) = device(test).filter(|d| has_warpgroups(d, test)) else {
        return;
    };
    for (i, (heads, block_size, rows)) in [
        // Fresh, a later chunk, one query deep in a context, one at its start, over several tiles of
        // queries, and over more stages of keys than there are.
        (
            heads(3, 1, 64),
            16,
            vec![(20, 20), (7, 90), (1, 129), (9, 71), (70, 140), (5, 700)],
        ),
        (
            heads(8, 2, 128),
            16,
            vec![(20, 20), (7, 90), (1, 129), (1, 1), (70, 140), (5, 330)],
        ),
        // Tiles that end with a block, a block larger than a tile, and blocks of one token.
        (
            heads(2, 2, 64),
            64,
            vec![(64, 64), (128, 128), (64, 128), (65, 256)],
        ),
        (heads(1, 1, 128), 256, vec![(63, 64), (130, 192), (2, 65)]),
        (heads(16, 1, 64), 1, vec![(8, 8), (9, 67), (1, 64), (1, 65)]),
        // A group that divides no tile.
        (heads(7, 1, 128), 32, vec![(37, 100), (1, 63)]),
    ]
    .into_iter()
    .enumerate()
    {
        let case = Case {
            heads,
            block_size,
            rows,
        };
        let inputs = case.inputs(200 + 20 * i as u64);
        d.set_order(i as u32);
        let found = case.run_on(&mut d, &inputs, true, PrefillKernel::Wgmma);
        let off = error(&found, &case.expected(&inputs));
        assert!(off < TWO_ROUNDINGS, "{heads:?}: {off}");
    }
    let launched: Vec<_> = d.launched.keys().copied().collect();
    assert_eq!(launched, ["prefill_wgmma_128", "prefill_wgmma_64"]);
}

/// A mixture like those of an executor: any rows, heads and block size from a seed.
#[test]
fn prefill_by_warpgroups_agrees_with_prefill_by_warps_on_random_steps() {
    let test = "prefill_by_warpgroups_agrees_with_prefill_by_warps_on_random_steps";
    let Some(mut d) = device(test).filter(|d| has_warpgroups(d, test)) else {
        return;
    };
    for seed in 0..6 {
        let mut draws = uniform(7000 + seed, 64)
            .into_iter()
            .map(|v| f64::from(v).midpoint(1.0));
        let mut below = |n: u64| (draws.next().expect("enough") * n as f64) as u64;
        let (kv, group) = (1 + below(2) as u32, 1 + below(9) as u32);
        let heads = heads(kv * group, kv, if seed % 2 == 0 { 64 } else { 128 });
        let block_size = 1 << below(8);
        let rows = (0..=below(4))
            .map(|_| {
                let context = 1 + below(260);
                (1 + below(context.min(90)), context)
            })
            .collect();
        let case = Case {
            heads,
            block_size,
            rows,
        };
        let inputs = case.inputs(8000 + 100 * seed);
        d.set_order(seed as u32);
        let found = case.run_on(&mut d, &inputs, true, PrefillKernel::Wgmma);
        let by_warps = case.run(&mut d, &inputs, true);
        let expected = case.expected(&inputs);
        let told = format!("{heads:?}, blocks of {block_size}, rows {:?}", case.rows);
        assert!(error(&found, &expected) < TWO_ROUNDINGS, "{told}");
        let trial = Trial::compare(&found, &by_warps, heads.width as usize);
        assert!(
            matches!(trial, Trial::Apart(by) if by < AGREEMENT),
            "{told}: {trial:?}"
        );
    }
}

#[test]
fn a_query_gives_the_same_bits_however_its_prompt_was_cut() {
    let Some(mut d) = device("a_query_gives_the_same_bits_however_its_prompt_was_cut") else {
        return;
    };
    for kernel in [PrefillKernel::Mma, PrefillKernel::Wgmma] {
        if kernel == PrefillKernel::Mma || d.limits().wgmma {
            cut_in_chunks(&mut d, kernel);
        }
    }
}

fn cut_in_chunks(d: &mut Bench, kernel: PrefillKernel) {
    let heads = heads(6, 2, 64);
    let whole = Case {
        heads,
        block_size: 16,
        rows: vec![(100, 100)],
    };
    let inputs = whole.inputs(120);
    let all = whole.run_on(d, &inputs, true, kernel);
    let (size, projected) = (
        (heads.query * heads.width) as usize,
        heads.projected() as usize,
    );
    for (first, last) in [(0, 37), (37, 41), (41, 42), (42, 100)] {
        // The chunk alone: the same KV, a batch that begins later.
        let chunk = Case {
            heads,
            block_size: 16,
            rows: vec![((last - first) as u64, last as u64)],
        };
        let mut part = chunk.inputs(120);
        part.qkv = inputs.qkv[first * projected..last * projected].to_vec();
        let kv = (heads.kv * heads.width) as usize * last;
        part.keys = vec![inputs.keys[0][..kv].to_vec()];
        part.values = vec![inputs.values[0][..kv].to_vec()];
        let found = chunk.run_on(d, &part, true, kernel);
        assert_eq!(found, all[first * size..last * size], "{first}..{last}");
    }
}
