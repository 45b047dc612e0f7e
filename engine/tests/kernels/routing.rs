//! Whole steps of a model with experts, of which a token goes through few: where routing is the reference's
//! the steps are, and where it is not, the router was as near to a tie as rounding can turn.
//!
//! Why apart from the other steps: which experts a token goes through jumps. A router whose input is rounded
//! to brain floats may turn a near tie, and then the row is another function's, however right the kernels.

use engine::{
    Executor,
    cuda::{CudaExecutor, Options, PrefillAttention},
    model::{ModelConfig, Storage, Weights, preset, random},
    reference::Candle,
};
use units::{BlockSize, Blocks};

use crate::{
    bench::Routed,
    device::{Bench, device},
    steps::{LOGITS, batch},
    values::error,
};

/// Tokens of a block, and blocks of a session.
const BLOCK: u64 = 4;
const TABLE: u32 = 4;
/// Sessions of a step.
const SESSIONS: u32 = 24;

/// How far a router's logit is from the reference's while all before it was routed alike, over the largest
/// of its row. A router's input has passed as many roundings to brain floats as logits have: their bound,
/// twice for the worst of a token's experts where theirs is a mean. Measured: up to 0.025.
const ROUTER: f32 = 0.04;

/// The shape of `tiny-qwen3moe`: 2 of 8 experts a token, in two layers.
fn weights() -> Weights {
    let preset = preset("tiny-qwen3moe").expect("a preset");
    let config = ModelConfig {
        head_dim: preset.head_dim.max(32),
        ..preset
    };
    random(&config, 3, Storage::Bf16)
}

struct Pair {
    cuda: CudaExecutor<Bench>,
    candle: Candle,
}

/// What a step of both gave.
struct Step {
    /// Logits of the sampling rows.
    found: Vec<f32>,
    wanted: Vec<f32>,
    /// Routers of the tested executor, by layer, and the reference's logits.
    seen: Vec<Routed>,
    reference: Vec<Vec<Vec<f32>>>,
}

impl Step {
    /// The largest difference of a router's logit from the reference's, over the largest of its row.
    fn routers_are_off(&self) -> f32 {
        let mut worst = 0_f32;
        assert_eq!(self.seen.len(), self.reference.len());
        for (seen, reference) in self.seen.iter().zip(&self.reference) {
            assert_eq!(seen.logits.len(), reference.len());
            for (logits, wanted) in seen.logits.iter().zip(reference) {
                let most = wanted.iter().fold(0_f32, |m, v| m.max(v.abs()));
                let far = logits.iter().zip(wanted).map(|(a, b)| (a - b).abs());
                worst = far.fold(worst, |w, v| w.max(v / most));
            }
        }
        worst
    }
}

impl Pair {
    fn new(test: &str, weights: &Weights, invariant: bool) -> Option<Self> {
        let device = device(test)?;
        let blocks = u64::from(SESSIONS * TABLE);
        let options = Options {
            blocks,
            block_size: BLOCK as u32,
            invariant,
            // What is recorded cannot be watched.
            graphs: false,
            prefill: PrefillAttention::Mma,
        };
        let size = BlockSize::new(BLOCK).expect("not zero");
        let mut cuda = CudaExecutor::new(device, weights, options).expect("takes it");
        cuda.device().routing.watch = true;
        let candle = Candle::new(weights, Blocks(blocks), size).expect("takes it");
        Some(Self { cuda, candle })
    }

    /// A step of (session, tokens before, tokens now, first block); with the reference's routing if `forced`.
    fn step(&mut self, rows: &[(u32, u64, u64, u32)], forced: bool) -> Step {
        let (batch, ids) = batch(rows, BLOCK);
        self.candle.step(&batch, &ids).expect("runs");
        let reference = self.candle.router_logits().to_vec();
        let routing = &mut self.cuda.device().routing;
        routing.seen.clear();
        if forced {
            let best = |row: &Vec<f32>| chosen(row).to_vec();
            let layers = reference
                .iter()
                .map(|layer| layer.iter().map(best).collect());
            routing.forced = layers.collect();
        }
        self.cuda.step(&batch, &ids).expect("runs");
        Step {
            found: self.cuda.logits().expect("read"),
            wanted: self.candle.logits().expect("read"),
            seen: std::mem::take(&mut self.cuda.device().routing.seen),
            reference,
        }
    }
}

/// So many tokens of each session, after so many.
fn all_sessions(before: u64, now: u64) -> Vec<(u32, u64, u64, u32)> {
    let row = |i| (i, before, now, (i + 1) * TABLE - 1);
    (0..SESSIONS).map(row).collect()
}

/// The two best experts of a row of logits, the lowest of equals first.
fn chosen(row: &[f32]) -> [i32; 2] {
    let mut all: Vec<usize> = (0..row.len()).collect();
    all.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
    [all[0] as i32, all[1] as i32]
}

/// How far the last expert chosen is from the first one not chosen.
fn margin(row: &[f32]) -> f32 {
    let mut sorted = row.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    sorted[1] - sorted[2]
}

/// The same set, whichever came first.
fn same(a: &[i32], b: &[i32]) -> bool {
    a.len() == b.len() && a.iter().all(|e| b.contains(e))
}

/// Prompts of seven tokens, all in one step: 168 tokens go through two routers each.
#[test]
fn with_the_references_routing_every_step_is_the_references() {
    for invariant in [false, true] {
        let test = "with_the_references_routing_every_step_is_the_references";
        let Some(mut pair) = Pair::new(test, &weights(), invariant) else {
            return;
        };
        // Prompts, then chunks of three, then decodes.
        for (before, now) in [(0, 7), (7, 3), (10, 1), (11, 1)] {
            let step = pair.step(&all_sessions(before, now), true);
            let off = error(&step.found, &step.wanted);
            assert!(off < LOGITS, "{invariant} {before}+{now}: {off}");
            let far = step.routers_are_off();
            eprintln!("{invariant} {before}+{now}: logits {off}, routers {far}");
            assert!(far <= ROUTER, "{invariant} {before}+{now}: {far}");
        }
    }
}

/// The steps that `steps.rs` takes with all experts: with few, rounding may turn a tie, and nothing else may
/// put them off.
#[test]
fn steps_that_are_off_had_a_tie_turned() {
    let test = "steps_that_are_off_had_a_tie_turned";
    let (Some(mut free), Some(mut forced)) = (
        Pair::new(test, &weights(), false),
        Pair::new(test, &weights(), false),
    ) else {
        return;
    };
    let many: Vec<_> = (0..12).map(|i| (i + 2, 0, 1, 41 + i)).collect();
    let steps: [&[_]; 5] = [
        &[(0, 0, 21, 20), (1, 0, 3, 40)],
        &[(0, 21, 9, 20), (1, 3, 1, 40)],
        &[(1, 4, 1, 40), (0, 30, 1, 20)],
        &[(0, 31, 1, 20), (1, 5, 1, 40)],
        &many,
    ];
    let mut turned = 0;
    for rows in steps {
        let step = free.step(rows, false);
        let alike = |(seen, layer): (&Routed, &Vec<Vec<f32>>)| {
            let pairs = seen.ids.iter().zip(layer);
            pairs.filter(|(ids, row)| !same(ids, &chosen(row))).count()
        };
        turned += step
            .seen
            .iter()
            .zip(&step.reference)
            .map(alike)
            .sum::<usize>();
        let off = error(&step.found, &step.wanted);
        eprintln!("{rows:?}: off by {off}, {turned} turned so far");
        assert!(off < LOGITS || turned > 0, "{rows:?}: {off}");

        let step = forced.step(rows, true);
        let off = error(&step.found, &step.wanted);
        eprintln!("with the reference's routing: off by {off}");
        assert!(off < LOGITS, "{rows:?}: {off}");
    }
}

/// Sessions do not see each other, so one that is routed as in the reference has the reference's logits.
#[test]
fn routing_differs_only_at_near_ties_and_agrees_elsewhere() {
    let test = "routing_differs_only_at_near_ties_and_agrees_elsewhere";
    let Some(mut pair) = Pair::new(test, &weights(), false) else {
        return;
    };
    let tokens = 7;
    let step = pair.step(&all_sessions(0, tokens as u64), false);
    let mut turned = vec![false; SESSIONS as usize];
    let (mut near, mut clear) = (0, 0);
    for (seen, reference) in step.seen.iter().zip(&step.reference) {
        let before = turned.clone();
        for (t, wanted) in reference.iter().enumerate() {
            let session = t / tokens;
            // The kernel chooses the best of what it was given.
            assert!(same(&seen.ids[t], &chosen(&seen.logits[t])), "token {t}");
            // What follows a turned tie has another input.
            if before[session] {
                continue;
            }
            let most = wanted.iter().fold(0_f32, |m, v| m.max(v.abs()));
            let far = 2.0 * ROUTER * most;
            if same(&seen.ids[t], &chosen(wanted)) {
                clear += usize::from(margin(wanted) > far);
                continue;
            }
            // Both logits moved by at most the rounding.
            assert!(
                margin(wanted) <= far,
                "token {t}: {} of {most}",
                margin(wanted)
            );
            (near, turned[session]) = (near + 1, true);
        }
    }
    assert!(clear >= 150, "{clear} tokens are far from a tie");
    let rows = step.found.chunks(256).zip(step.wanted.chunks(256));
    let mut alike = 0;
    for ((found, wanted), turned) in rows.zip(&turned) {
        let off = error(found, wanted);
        eprintln!("turned: {turned}, off by {off}");
        if !turned {
            alike += 1;
            assert!(off < LOGITS, "{off}");
        }
    }
    eprintln!("{near} near ties turned, {clear} clear, {alike} sessions alike");
    assert!(alike >= SESSIONS / 2, "{alike} of {SESSIONS} sessions");
}
