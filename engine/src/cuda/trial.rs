//! One small problem of prefill attention for both kernels, on the device itself.
//!
//! What: [`run`] makes random queries and KV on the device, runs [`PrefillKernel::Mma`] and
//! [`PrefillKernel::Wgmma`] on them, and compares.
//! Why: the second kernel has only run in emulation. Heads, group and block size are the model's; rows begin
//! inside and at tiles, some behind a context that is there already.
//! Limits: a kernel that reads where it must not ends the device's context, and with it the executor; then
//! the error says how to leave the trial out. One that does not end is waited for. [`try_wgmma`] is the
//! trial alone, for a program that does it in a process of its own, which may be lost.

use units::{SessionId, Tokens};

use crate::{
    batch::{Batch, Row},
    executor::ExecutorError,
};

use super::{
    device::Device,
    launch::{self, Heads, Paged, Tiled},
    metadata::{Layout, pack},
    op::{Address, Op},
    prefill::{PrefillKernel, Trial},
    shape::Shape,
    work::Work,
};

/// Tokens of the step, and of the context with them.
const ROWS: [(u64, u64); 4] = [(70, 300), (129, 129), (1, 65), (9, 64)];

/// What both kernels read.
struct Problem {
    heads: Heads,
    block_size: u32,
    batch: Batch,
    blocks: u64,
    queries: Address,
    pool: Address,
}

impl Problem {
    /// Values of keys and values in a block.
    fn stride(&self) -> u64 {
        2 * u64::from(self.block_size) * u64::from(self.heads.kv * self.heads.width)
    }

    fn tokens(&self) -> u64 {
        self.batch.positions.len() as u64
    }

    fn results(&self) -> u64 {
        self.tokens() * u64::from(self.heads.query * self.heads.width)
    }
}

/// The trial by itself: how far the two kernels are apart on this device, with a model's `heads` and blocks of
/// `block_size` tokens. What it means: [`super::Decision::after`].
///
/// # Errors
/// Heads, a block size or a device that one of the kernels does not take; the device's own. After an error
/// of the device its context may be lost.
pub fn try_wgmma<D: Device>(
    device: &mut D,
    heads: Heads,
    block_size: u32,
) -> Result<Trial, ExecutorError> {
    let Heads { query, kv, .. } = heads;
    let grouped = kv > 0 && query > 0 && query.is_multiple_of(kv) && query / kv <= 16;
    let obstacle = if grouped {
        PrefillKernel::Wgmma.obstacle(heads, device.limits())
    } else {
        Some(format!(
            "{query} query heads and {kv} KV heads (wanted: 1 to 16 query heads a KV head)"
        ))
    };
    let obstacle = obstacle.or_else(|| {
        (!block_size.is_power_of_two())
            .then(|| format!("blocks of {block_size} tokens (wanted: a power of two)"))
    });
    match obstacle {
        None => run(device, heads, block_size),
        Some(why) => Err(ExecutorError::Batch(format!(
            "wgmma prefill attention: {why}"
        ))),
    }
}

/// Runs the trial. `heads` are the model's; two KV heads of them take part at most.
///
/// # Errors
/// The device's own. A launch that it does not take.
pub(super) fn run<D: Device>(
    device: &mut D,
    heads: Heads,
    block_size: u32,
) -> Result<Trial, ExecutorError> {
    let kv = heads.kv.min(2);
    let heads = Heads {
        query: kv * heads.group(),
        kv,
        ..heads
    };
    let (batch, blocks) = batch(u64::from(block_size));
    let mut problem = Problem {
        heads,
        block_size,
        batch,
        blocks,
        queries: Address::NULL,
        pool: Address::NULL,
    };
    let queries = problem.tokens() * u64::from(heads.projected());
    let values = problem.blocks * problem.stride();
    problem.queries = device.alloc(2 * queries)?;
    problem.pool = device.alloc(2 * values)?;
    device.run(&[
        Op::Launch(launch::random_fill(problem.queries, queries, 1, 4.0)),
        Op::Launch(launch::random_fill(problem.pool, values, 2, 1.0)),
    ])?;
    let expected = results(device, &problem, PrefillKernel::Mma)?;
    let found = results(device, &problem, PrefillKernel::Wgmma)?;
    device.free(problem.queries)?;
    device.free(problem.pool)?;
    Ok(Trial::compare(&found, &expected, heads.width as usize))
}

/// The rows, and how many blocks they need. Blocks are dealt from the last down, so that tables matter.
fn batch(block_size: u64) -> (Batch, u64) {
    let mut batch = Batch {
        starts: vec![0],
        ..Batch::default()
    };
    let blocks: u64 = ROWS.iter().map(|r| r.1.div_ceil(block_size)).sum();
    let mut left = u32::try_from(blocks).expect("a few blocks");
    for (session, &(query, context)) in (0..).zip(&ROWS) {
        let mut table = Vec::new();
        for _ in 0..context.div_ceil(block_size) {
            left -= 1;
            table.push(left);
        }
        for position in context - query..context {
            batch.positions.push(position);
            // Nothing is written: KV is random.
            batch.slots.push(0);
        }
        batch.starts.push(batch.positions.len() as u64);
        batch.block_tables.push(table);
        batch.rows.push(Row {
            session: SessionId(session),
            query: Tokens(query),
            context: Tokens(context),
            samples: false,
        });
    }
    (batch, blocks)
}

/// What one kernel makes of it, into memory that is not-a-number before.
fn results<D: Device>(
    device: &mut D,
    problem: &Problem,
    kernel: PrefillKernel,
) -> Result<Vec<f32>, ExecutorError> {
    let heads = problem.heads;
    let work = Work::new(
        &problem.batch,
        heads.group() as usize,
        heads.kv as usize,
        1,
        // Every row by tiles.
        true,
        kernel,
    );
    let shape = Shape::exact(&problem.batch, &work);
    let layout = Layout::new(shape);
    let mut arrays = Vec::new();
    let ids = vec![0; problem.batch.positions.len()];
    pack(&mut arrays, shape, &problem.batch, &ids, &work).map_err(ExecutorError::Batch)?;
    let bytes: Vec<u8> = arrays.iter().flat_map(|v| v.to_le_bytes()).collect();
    let at = device.alloc(bytes.len() as u64)?;
    device.write(at, &bytes)?;
    let array = |index: usize| at.offset(4 * index as u64);
    let kv = Paged {
        keys: problem.pool,
        values: problem.pool.offset(problem.stride()),
        block_stride: i64::try_from(problem.stride()).expect("a block is below 2^63 values"),
        shift: i32::try_from(problem.block_size.trailing_zeros()).expect("below 32"),
        tables: (
            array(layout.tables),
            i32::try_from(shape.table).expect("a few blocks"),
        ),
    };
    let tiled = Tiled {
        starts: array(layout.starts),
        contexts: array(layout.contexts),
        items: array(layout.tiles),
    };
    let out = device.alloc(2 * problem.results())?;
    let launch = launch::prefill(
        problem.queries,
        out,
        &kv,
        &tiled,
        heads,
        launch::count(shape.tiles),
        kernel,
    );
    if let Some(fault) = launch.fault(device.limits()) {
        return Err(ExecutorError::Device {
            device: device.name(),
            doing: "launch".into(),
            what: fault,
        });
    }
    // Two brain floats of it are one word that is filled: not-a-number both.
    let poison = launch::fill(out, problem.results() / 2, f32::from_bits(0x7fff_7fff));
    device.run(&[Op::Launch(poison), Op::Launch(launch)])?;
    let mut bytes = vec![0; usize::try_from(2 * problem.results()).expect("a few values")];
    device.read(out, &mut bytes)?;
    device.free(out)?;
    device.free(at)?;
    Ok(bytes
        .chunks_exact(2)
        .map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32())
        .collect())
}
