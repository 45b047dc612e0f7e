//! Kernel times measured on a GPU, looked up and put together to a step.
//!
//! What: tables as `LLMServingSim`'s profiler writes them (casys-kaist/LLMServingSim, `profiler/perf`): dense
//! layers by tokens, attention by (prefill chunk, its prefix, decodes, their context), output projection and
//! sampler by sequences, expert blocks by tokens and activated experts. A step is the sum of its layers.
//! Why: no fit stands between the measurement and the step. On the one real run that is at hand the sum
//! of kernel times alone is within 1 % of the engine's time (`sim/README.md`).
//! Limits: nothing outside the tables ([`Profile::reach`], [`StepCost::outside`]). Mixed batches are mapped to
//! the attention table's four axes as follows; the tables were measured with one chunk and equal
//! contexts, and nothing else is known about others.
//!
//! - Decodes: their number, and the mean of their contexts. Attention reads the KV of all, so a mean keeps
//!   the sum. Contexts below 16 count as 16: the kernel reads whole blocks.
//! - Several chunks become the one chunk with the same number of token pairs, because pairs are the work:
//!   as many new tokens as all together behind the prefix that gives the pairs; or, where even without
//!   a prefix so long a chunk would have more pairs, a shorter chunk without prefix. Chunks below 16
//!   count as 16: tiles are not smaller.
//! - Decodes beside a prefill are measured up to half as many as alone (128 of 256). More of them, up to those
//!   alone, are on the straight line through the last two measured. At twice the last number that is
//!   16-21 % of attention short (from 32 and 64 to 128, where the tables show the truth), in between less.
//! - Uneven contexts: where the profile measured what they cost (`skew_fit` in its `meta.yaml`), a share of
//!   the way from the time at the mean to the time at the largest context is added.
//! - Steps of up to 512 tokens run as captured graphs, padded to the next captured size.

mod error;
mod grid;
mod linear;
mod read;

use units::Nanos;

pub use error::ProfileError;
pub use grid::Space;
pub use read::Named;

use super::{BatchShape, Crowd, Host, Outside, Reach, StepCost};
use grid::Grid;

/// The tables of one model on one GPU, or on each of several that share its layers.
#[derive(Clone, Copy, Debug)]
pub struct Tables<'a> {
    /// `dense.csv`: `layer, tokens, time_us`.
    pub dense: Named<'a>,
    /// `attention.csv`: `prefill_chunk, kv_prefill, n_decode, kv_decode, time_us`.
    pub attention: Named<'a>,
    /// `per_sequence.csv`: `layer, sequences, time_us`.
    pub per_sequence: Named<'a>,
    /// `moe.csv`: `tokens, activated_experts, time_us`; for mixtures.
    pub moe: Option<Named<'a>>,
}

/// What the tables are put together with.
#[derive(Clone, Debug, PartialEq)]
pub struct Assembly {
    /// Transformer layers.
    pub layers: u32,
    /// Experts active and in all; `None` for a dense model.
    pub experts: Option<(u32, u32)>,
    /// Share of the way from the time at the mean context to that at the largest; 0 if not measured.
    pub skew: f64,
    /// Sizes of captured graphs, rising; a step of more tokens than the last is not padded.
    pub graphs: Vec<u64>,
    /// The attention table's grid; `None`: every value that occurs.
    pub grid: Option<Declared>,
    /// Communication between GPUs per step and per token, nanoseconds; zero for one GPU.
    pub link: (f64, f64),
}

/// The grid that a profile says it measured. A table may hold more points, from another sweep: those are
/// not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Sizes of the prefill chunk.
    pub chunks: Vec<u64>,
    /// Numbers of decodes.
    pub decodes: Vec<u64>,
    /// Contexts, of chunk and decodes alike.
    pub contexts: Vec<u64>,
}

/// Sizes at which vLLM captures graphs by default.
pub fn default_graphs() -> Vec<u64> {
    let small = [1, 2, 4].into_iter();
    let middle = (8..256).step_by(8);
    small.chain(middle).chain((256..=512).step_by(16)).collect()
}

/// A step's time from measured kernels.
#[derive(Clone, Debug)]
pub struct Profile {
    host: Host,
    assembly: Assembly,
    /// Nanoseconds by tokens, padded: dense layers, mixture layers, communication.
    by_tokens: Vec<f64>,
    /// Nanoseconds by sequences.
    by_sequences: Vec<f64>,
    /// Microseconds per layer.
    decode: Grid<2>,
    prefill: Grid<2>,
    mixed: Grid<4>,
}

/// The smallest chunk and context of the attention kernels: a tile, a block.
const TILE: f64 = 16.0;

impl Profile {
    /// Reads and checks the tables.
    ///
    /// # Errors
    /// [`ProfileError`]: bad CSV with file, line and field; an unknown or missing layer; a hole in a table.
    pub fn new(tables: &Tables<'_>, assembly: Assembly, host: Host) -> Result<Self, ProfileError> {
        let dense = read::by_layer(tables.dense, ["tokens"])?;
        let mixture = assembly.experts.is_some();
        let mut whole = linear::dense(tables.dense, &dense, assembly.layers, mixture)?;
        if let (Some(experts), Some(file)) = (assembly.experts, tables.moe) {
            let points = read::points(file, ["tokens", "activated_experts"])?;
            let moe = linear::mixture(file, &points, assembly.layers, experts)?;
            whole.truncate(moe.len());
            whole.iter_mut().zip(moe).for_each(|(sum, ns)| *sum += ns);
        } else if mixture {
            return Err(ProfileError::Empty {
                file: "moe.csv".into(),
                what: "at all, and the model is a mixture of experts",
            });
        }
        let sequences = read::by_layer(tables.per_sequence, ["sequences"])?;
        let columns = ["prefill_chunk", "kv_prefill", "n_decode", "kv_decode"];
        let attention = read::points(tables.attention, columns)?;
        let grids = Attention {
            file: tables.attention,
            points: &attention,
            declared: assembly.grid.as_ref(),
        };
        Ok(Self {
            host,
            by_tokens: pad(&whole, &assembly),
            by_sequences: linear::per_sequence(tables.per_sequence, &sequences)?,
            decode: grids.decode()?,
            prefill: grids.prefill()?,
            mixed: grids.mixed()?,
            assembly,
        })
    }

    /// The same with another host overhead.
    pub fn with_host(self, host: Host) -> Self {
        Self { host, ..self }
    }

    /// The host overhead it adds.
    pub const fn host(&self) -> Host {
        self.host
    }

    /// How the attention tables are interpolated and their leave-one-out error: decode alone, prefill alone,
    /// mixed.
    pub fn interpolation(&self) -> [(Space, f64); 3] {
        [
            (self.decode.space(), self.decode.leave_one_out()),
            (self.prefill.space(), self.prefill.leave_one_out()),
            (self.mixed.space(), self.mixed.leave_one_out()),
        ]
    }

    /// Attention of one layer, microseconds.
    fn attention(&self, shape: &BatchShape) -> f64 {
        let (chunk, prefix) = one_chunk(shape);
        let decodes = count(shape.decodes);
        let context = (count(shape.decode_context) / decodes).max(TILE);
        match (shape.prefill_tokens > 0, shape.decodes > 0) {
            (true, false) => self.prefill.at([chunk, prefix]),
            (true, true) => self.beside(chunk, prefix, decodes, context) + self.skew(shape),
            (false, _) => self.decode.at([decodes, context]) + self.skew(shape),
        }
    }

    /// Decodes beside a chunk, microseconds. More of them than were measured so: the straight line through
    /// the last two numbers that were.
    fn beside(&self, chunk: f64, prefix: f64, decodes: f64, context: f64) -> f64 {
        let most = self.mixed.range(2).1;
        if decodes <= most {
            return self.mixed.at([chunk, prefix, decodes, context]);
        }
        let fewer = self.mixed.last_but_one(2);
        let low = self.mixed.at([chunk, prefix, fewer, context]);
        let high = self.mixed.at([chunk, prefix, most, context]);
        high + (high - low) * (decodes - most) / (most - fewer)
    }

    /// What uneven contexts add, microseconds.
    fn skew(&self, shape: &BatchShape) -> f64 {
        if self.assembly.skew == 0.0 || shape.decodes < 2 {
            return 0.0;
        }
        let decodes = count(shape.decodes);
        let mean = (count(shape.decode_context) / decodes).max(TILE);
        let most = count(shape.decode_context_max).max(TILE);
        let (even, longest) = (
            self.decode.at([decodes, mean]),
            self.decode.at([decodes, most]),
        );
        self.assembly.skew * (longest - even)
    }
}

impl StepCost for Profile {
    fn step(&self, shape: &BatchShape) -> Nanos {
        self.step_in(shape, Crowd::NONE)
    }

    /// # Panics
    /// If the batch is outside the tables: [`StepCost::outside`] and [`StepCost::reach`] say so before.
    fn step_in(&self, shape: &BatchShape, crowd: Crowd) -> Nanos {
        if shape.is_empty() {
            return Nanos::ZERO;
        }
        if let Some(outside) = self.outside(shape) {
            panic!("asked without looking: {outside}");
        }
        let tokens = index(shape.decodes + shape.prefill_tokens);
        let layers = f64::from(self.assembly.layers);
        let ns = self.by_tokens[tokens]
            + self.by_sequences[index(shape.turns())]
            + layers * self.attention(shape) * 1e3;
        self.host.with_in(super::round(ns), shape.turns(), crowd)
    }

    fn outside(&self, shape: &BatchShape) -> Option<Outside> {
        let beyond = |what, value: f64, least: f64, most: f64| {
            (value > most).then_some(Outside {
                what,
                value,
                least,
                most,
            })
        };
        let reach = self.reach();
        let tokens = count(shape.decodes + shape.prefill_tokens);
        let whole = beyond("tokens in a step", tokens, 1.0, count(reach.tokens)).or_else(|| {
            let turns = count(shape.turns());
            beyond("sequences in a step", turns, 1.0, count(reach.turns))
        });
        if whole.is_some() || (shape.prefill_tokens == 0 && shape.decodes == 0) {
            return whole;
        }
        let (chunk, prefix) = one_chunk(shape);
        let decodes = count(shape.decodes);
        let context = count(shape.decode_context) / decodes.max(1.0);
        let longest = count(shape.decode_context_max);
        let axis = |grid: &Grid<4>, n: usize, what, value| {
            let (least, most) = grid.range(n);
            beyond(what, value, least, most)
        };
        if shape.prefill_tokens > 0 && shape.decodes > 0 {
            // A line needs two numbers of decodes; one is the end.
            let (least, most) = self.mixed.range(2);
            let single = if least < most {
                None
            } else {
                beyond("decodes beside a prefill", decodes, least, most)
            };
            return single
                .or_else(|| axis(&self.mixed, 0, "prefill tokens beside decodes", chunk))
                .or_else(|| axis(&self.mixed, 1, "prefix of a chunk beside decodes", prefix))
                .or_else(|| {
                    axis(
                        &self.mixed,
                        3,
                        "context of a decode beside a prefill",
                        context,
                    )
                });
        }
        let axis = |grid: &Grid<2>, n: usize, what, value| {
            let (least, most) = grid.range(n);
            beyond(what, value, least, most)
        };
        if shape.prefill_tokens > 0 {
            axis(&self.prefill, 0, "prefill tokens", chunk)
                .or_else(|| axis(&self.prefill, 1, "prefix of a chunk", prefix))
        } else {
            axis(&self.decode, 0, "decodes", decodes)
                .or_else(|| axis(&self.decode, 1, "context of a decode", context.max(longest)))
        }
    }

    fn reach(&self) -> Reach {
        let whole = |x: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "table axes are whole and below 2^40"
            )]
            let n = x as u64;
            n
        };
        let context = [
            self.decode.range(1).1,
            self.prefill.range(1).1,
            self.mixed.range(1).1,
            self.mixed.range(3).1,
        ];
        let decodes = whole(self.decode.range(0).1);
        Reach {
            turns: (self.by_sequences.len() as u64 - 1).min(decodes),
            tokens: self.by_tokens.len() as u64 - 1,
            context: whole(context.into_iter().fold(f64::INFINITY, f64::min)),
        }
    }
}

/// The one chunk, new tokens and prefix, with the token pairs of all chunks.
fn one_chunk(shape: &BatchShape) -> (f64, f64) {
    // Both twice over: `prefill_work` is the sum of new * (2 * prefix + new).
    let (new, pairs) = (count(shape.prefill_tokens), count(shape.prefill_work));
    let prefix = (pairs / new.max(1.0) - new) / 2.0;
    if prefix >= 0.0 {
        (new.max(TILE), prefix)
    } else {
        (pairs.sqrt().max(TILE), 0.0)
    }
}

/// Entry `n` becomes that of the smallest captured size that holds `n` tokens; communication is added
/// for the tokens that are sent, padding included.
fn pad(whole: &[f64], assembly: &Assembly) -> Vec<f64> {
    let (fixed, per_token) = assembly.link;
    (0..whole.len())
        .map(|tokens| {
            let next = assembly.graphs.partition_point(|&g| index(g) < tokens);
            let padded = assembly.graphs.get(next).map_or(tokens, |&g| index(g));
            let used = if padded < whole.len() { padded } else { tokens };
            whole[used] + fixed + per_token * count(used as u64)
        })
        .collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of one step are far below 2^53"
)]
fn count(n: u64) -> f64 {
    n as f64
}

fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// The attention table, cut into its three kinds of rows.
struct Attention<'a> {
    file: Named<'a>,
    points: &'a read::Points<4>,
    declared: Option<&'a Declared>,
}

impl Attention<'_> {
    fn decode(&self) -> Result<Grid<2>, ProfileError> {
        let axes = self.axes([2, 3], |p| p[0] == 0 && p[2] > 0, "of decodes alone")?;
        self.grid(axes, |[n, k]| [0, 0, n, k])
    }

    fn prefill(&self) -> Result<Grid<2>, ProfileError> {
        let axes = self.axes([0, 1], |p| p[0] > 0 && p[2] == 0, "of prefill alone")?;
        self.grid(axes, |[c, p]| [c, p, 0, 0])
    }

    fn mixed(&self) -> Result<Grid<4>, ProfileError> {
        let axes = self.axes([0, 1, 2, 3], |p| p[0] > 0 && p[2] > 0, "of mixed steps")?;
        self.grid(axes, |point| point)
    }

    fn grid<const N: usize>(
        &self,
        axes: [Vec<u64>; N],
        place: impl Fn([u64; N]) -> [u64; 4],
    ) -> Result<Grid<N>, ProfileError> {
        let time = |point| self.points.get(&place(point)).copied();
        Grid::new(axes, time).map_err(|hole| ProfileError::Hole {
            file: self.file.name.into(),
            point: format!(
                "(prefill_chunk, kv_prefill, n_decode, kv_decode) = {:?}",
                place(hole)
            )
            .into(),
        })
    }

    /// The values of these columns among the rows of a kind, less those that the grid does not have.
    fn axes<const N: usize>(
        &self,
        columns: [usize; N],
        of: impl Fn(&[u64; 4]) -> bool,
        what: &'static str,
    ) -> Result<[Vec<u64>; N], ProfileError> {
        let rows: Vec<&[u64; 4]> = self.points.keys().filter(|p| of(p)).collect();
        let axes = columns.map(|column| {
            let mut values: Vec<u64> = rows.iter().map(|p| p[column]).collect();
            values.sort_unstable();
            values.dedup();
            if let Some(declared) = self.declared {
                let axis = match column {
                    0 => &declared.chunks,
                    2 => &declared.decodes,
                    _ => &declared.contexts,
                };
                values.retain(|v| axis.contains(v));
            }
            values
        });
        if axes.iter().any(Vec::is_empty) {
            return Err(ProfileError::Empty {
                file: self.file.name.into(),
                what,
            });
        }
        Ok(axes)
    }
}

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;
