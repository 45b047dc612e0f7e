//! The executor: keeps model, KV and copies in a device's memory and runs steps there.

use rustc_hash::FxHashMap;
use units::{Bytes, SessionId};

use crate::{
    batch::Batch,
    executor::{Copy, Executor, ExecutorError, Sampled, Way},
    model::{ModelConfig, Weights},
};

use super::{
    buffers::{Buffer, Buffers},
    device::Device,
    launch::{self, Heads},
    metadata::{Layout, pack},
    model::{self, DeviceModel},
    op::{Address, Op},
    prefill::{Decision, PrefillAttention, PrefillKernel, decide},
    program::{Pool, Program},
    shape::Shape,
    trial,
    work::Work,
};

/// How an executor is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Blocks of the KV pool; ids are below this.
    pub blocks: u64,
    /// Tokens of a block, a power of two.
    pub block_size: u32,
    /// Whether a token's result must not depend, by a bit, on what else is in its step or on how its
    /// prompt was cut into chunks. It costs speed: products run through kernels of ours alone, and
    /// decoding rows go through the prefill kernel.
    pub invariant: bool,
    /// Whether steps that only decode are recorded and replayed as one graph.
    pub graphs: bool,
    /// What computes attention of rows with many queries.
    pub prefill: PrefillAttention,
}

/// Host memory of one session's copy.
#[derive(Clone, Copy, Debug)]
struct Kept {
    at: Address,
    /// Blocks that were copied.
    blocks: usize,
    /// Blocks that fit.
    room: u64,
}

/// Runs steps on a [`Device`].
#[derive(Debug)]
pub struct CudaExecutor<D> {
    device: D,
    config: ModelConfig,
    model: DeviceModel,
    pool: Pool,
    options: Options,
    prefill: Decision,
    buffers: Buffers,
    /// Arrays of the step, reused.
    arrays: Vec<i32>,
    /// Rows of the last step whose logits were wanted.
    samples: usize,
    host: FxHashMap<SessionId, Kept>,
    /// Host memory that nobody uses: (blocks that fit, where).
    spare: Vec<(u64, Address)>,
    /// Copies that have begun, in order.
    copying: Vec<u64>,
    /// Number of each recorded shape.
    graphs: FxHashMap<Shape, u64>,
}

impl<D: Device> CudaExecutor<D> {
    /// With weights from a file.
    ///
    /// # Errors
    /// A model or options that the kernels do not take; the device's own.
    pub fn new(mut device: D, weights: &Weights, options: Options) -> Result<Self, ExecutorError> {
        check(&weights.config, options)?;
        let model = model::upload(&mut device, weights)?;
        Self::with(device, weights.config.clone(), model, options)
    }

    /// With random weights of a true shape, made on the device.
    ///
    /// # Errors
    /// As [`CudaExecutor::new`].
    pub fn random(
        mut device: D,
        config: ModelConfig,
        seed: u64,
        options: Options,
    ) -> Result<Self, ExecutorError> {
        check(&config, options)?;
        let model = model::random(&mut device, &config, seed)?;
        Self::with(device, config, model, options)
    }

    fn with(
        mut device: D,
        config: ModelConfig,
        model: DeviceModel,
        options: Options,
    ) -> Result<Self, ExecutorError> {
        let prefill = choose(&mut device, &config, options)?;
        let bytes = options.blocks * block_bytes(&config, options.block_size);
        let base = device.alloc(bytes)?;
        // Fresh memory holds numbers, as with the other executors.
        device.run(&[Op::Launch(launch::fill(base, bytes / 4, 0.0))])?;
        Ok(Self {
            device,
            config,
            model,
            pool: Pool {
                base,
                block_size: options.block_size,
                blocks: options.blocks,
            },
            options,
            prefill,
            buffers: Buffers::default(),
            arrays: Vec::new(),
            samples: 0,
            host: FxHashMap::default(),
            spare: Vec::new(),
            copying: Vec::new(),
            graphs: FxHashMap::default(),
        })
    }

    /// The device.
    pub fn device(&mut self) -> &mut D {
        &mut self.device
    }

    /// What computes attention of rows with many queries, and why.
    pub fn prefill(&self) -> &Decision {
        &self.prefill
    }

    /// The model's shape.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn failed(&self, doing: &str, what: String) -> ExecutorError {
        ExecutorError::Device {
            device: self.device.name(),
            doing: doing.into(),
            what,
        }
    }

    fn check_batch(&self, batch: &Batch, tokens: &[u32]) -> Result<(), ExecutorError> {
        let vocabulary = self.config.vocabulary;
        if let Some(id) = tokens.iter().find(|&&id| id as usize >= vocabulary) {
            return Err(ExecutorError::Batch(format!(
                "token id {id} of a vocabulary of {vocabulary}"
            )));
        }
        let blocks = batch.block_tables.iter().flatten();
        if let Some(block) = blocks.copied().find(|&b| u64::from(b) >= self.pool.blocks) {
            return Err(ExecutorError::Batch(format!(
                "block {block} of a pool of {}",
                self.pool.blocks
            )));
        }
        let slots = self.pool.blocks * u64::from(self.pool.block_size);
        if let Some(slot) = batch.slots.iter().find(|&&s| s >= slots) {
            return Err(ExecutorError::Batch(format!("slot {slot} of {slots}")));
        }
        Ok(())
    }

    fn run(&mut self, shape: Shape, record: bool) -> Result<(), ExecutorError> {
        if record
            && let Some(&graph) = self.graphs.get(&shape)
            && self.device.replay(graph)?
        {
            return Ok(());
        }
        let program = Program {
            config: &self.config,
            model: &self.model,
            pool: self.pool,
            buffers: &self.buffers,
            shape,
            invariant: self.options.invariant,
            prefill: self.prefill.kernel,
        };
        let ops = program.ops();
        let limits = self.device.limits();
        for op in &ops {
            if let Op::Launch(launch) = op
                && let Some(fault) = launch.fault(limits)
            {
                return Err(self.failed("launch", fault));
            }
        }
        if !record {
            return self.device.run(&ops);
        }
        let graph = self.graphs.len() as u64;
        self.device.record(graph, &ops)?;
        self.graphs.insert(shape, graph);
        Ok(())
    }

    fn read_u32(&mut self, buffer: Buffer, count: usize) -> Result<Vec<u32>, ExecutorError> {
        let mut bytes = vec![0; 4 * count];
        self.device.read(self.buffers.at(buffer), &mut bytes)?;
        Ok(bytes
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes(b.try_into().expect("four bytes")))
            .collect())
    }

    /// Host memory for so many blocks: what lies spare if it fits, else new. Room goes by powers of
    /// two, so that it is used again.
    fn host_memory(&mut self, blocks: usize) -> Result<(Address, u64), ExecutorError> {
        let room = (blocks as u64).next_power_of_two();
        if let Some(i) = self.spare.iter().position(|&(r, _)| r == room) {
            let (room, at) = self.spare.swap_remove(i);
            return Ok((at, room));
        }
        Ok((
            self.device.alloc_host(room * self.block_bytes().get())?,
            room,
        ))
    }
}

/// Chooses the kernel of prefill attention, by a trial on the device where that decides.
fn choose<D: Device>(
    device: &mut D,
    config: &ModelConfig,
    options: Options,
) -> Result<Decision, ExecutorError> {
    let heads = Heads::of(config);
    let obstacle = PrefillKernel::Wgmma.obstacle(heads, device.limits());
    let chosen = decide(options.prefill, options.invariant, obstacle, || {
        trial::run(device, heads, options.block_size)
    })
    .map_err(|e| ExecutorError::Device {
        device: device.name(),
        doing: "the trial of the wgmma prefill kernel (left out where `mma` is asked for)".into(),
        what: e.to_string(),
    })?;
    chosen.map_err(|why| ExecutorError::Batch(format!("wgmma prefill attention: {why}")))
}

/// Bytes of one KV block of such a model over all layers: what [`Executor::block_bytes`] says of an
/// executor, without one.
pub fn block_bytes(config: &ModelConfig, block_size: u32) -> u64 {
    2 * config.kv_values_per_token() as u64 * u64::from(block_size)
}

/// What the kernels do not take, said before anything is loaded.
fn check(config: &ModelConfig, options: Options) -> Result<(), ExecutorError> {
    let refuse = |what: String| Err(ExecutorError::Batch(what));
    if ![32, 64, 128].contains(&config.head_dim) {
        return refuse(format!(
            "the cuda executor takes heads of 32, 64 or 128 values, the model has {}",
            config.head_dim
        ));
    }
    if config.kv_heads == 0 || !config.heads.is_multiple_of(config.kv_heads) || config.group() > 16
    {
        return refuse(format!(
            "the cuda executor takes up to 16 query heads a KV head, the model has {} and {}",
            config.heads, config.kv_heads
        ));
    }
    let ff = config.moe.as_ref().map_or(config.ff, |moe| moe.ff);
    for (what, width) in [("hidden", config.hidden), ("feed-forward", ff)] {
        if width == 0 || !width.is_multiple_of(8) {
            return refuse(format!(
                "the cuda executor takes {what} widths that are multiples of 8, the model has {width}"
            ));
        }
    }
    if let Some(moe) = &config.moe
        && (moe.experts > 512 || moe.active > moe.experts || moe.active == 0)
    {
        return refuse(format!(
            "the cuda executor takes up to 512 experts, the model has {} and uses {}",
            moe.experts, moe.active
        ));
    }
    if !options.block_size.is_power_of_two() {
        return refuse(format!(
            "the cuda executor takes block sizes that are powers of two, not {}",
            options.block_size
        ));
    }
    if options.blocks * u64::from(options.block_size) > i32::MAX as u64 {
        return refuse(format!(
            "{} blocks are more than 2^31 tokens",
            options.blocks
        ));
    }
    Ok(())
}

impl<D: Device> Executor for CudaExecutor<D> {
    fn name(&self) -> &'static str {
        "cuda"
    }

    fn step(&mut self, batch: &Batch, tokens: &[u32]) -> Result<Sampled, ExecutorError> {
        self.samples = 0;
        if batch.positions.is_empty() {
            return Ok(Sampled::default());
        }
        self.check_batch(batch, tokens)?;
        let limits = self.device.limits();
        let work = Work::new(
            batch,
            self.config.group(),
            self.config.kv_heads,
            limits.processors,
            self.options.invariant,
            self.prefill.kernel,
        );
        let exact = Shape::exact(batch, &work);
        let bucket = exact.bucket().filter(|_| self.options.graphs);
        let shape = bucket.unwrap_or(exact);
        if self.buffers.fit(&mut self.device, &self.config, shape)? {
            self.device.forget_graphs();
            self.graphs.clear();
        }
        let mut arrays = std::mem::take(&mut self.arrays);
        pack(&mut arrays, shape, batch, tokens, &work).map_err(ExecutorError::Batch)?;
        debug_assert_eq!(arrays.len(), Layout::new(shape).len);
        let bytes: Vec<u8> = arrays.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.arrays = arrays;
        self.device
            .write(self.buffers.at(Buffer::Metadata), &bytes)?;
        self.run(shape, bucket.is_some())?;

        self.samples = batch.sample_at.len();
        let ids = self.read_u32(Buffer::Sampled, self.samples)?;
        let sessions = batch.rows.iter().filter(|r| r.samples).map(|r| r.session);
        if let Some(id) = ids
            .iter()
            .find(|&&id| id as usize >= self.config.vocabulary)
        {
            return Err(self.failed(
                "sampling",
                format!("token id {id}: the logits are not numbers"),
            ));
        }
        Ok(Sampled {
            tokens: sessions.zip(ids).collect(),
        })
    }

    fn logits(&mut self) -> Result<Vec<f32>, ExecutorError> {
        let values = self.samples * self.config.vocabulary;
        let bits = self.read_u32(Buffer::Logits, values)?;
        Ok(bits.into_iter().map(f32::from_bits).collect())
    }

    fn begin_copy(&mut self, copy: &Copy) -> Result<(), ExecutorError> {
        let refused = |what: String| ExecutorError::Copy {
            id: copy.id,
            session: copy.session,
            what,
        };
        if let Some(block) = copy
            .blocks
            .iter()
            .find(|&&b| u64::from(b) >= self.pool.blocks)
        {
            return Err(refused(format!(
                "block {block} of a pool of {}",
                self.pool.blocks
            )));
        }
        let to_host = copy.way == Way::ToHost;
        let host = if to_host {
            if copy.first != 0 {
                return Err(refused(format!(
                    "it begins at block {}, and host memory takes contexts from their start",
                    copy.first
                )));
            }
            self.forget(copy.session);
            let (at, room) = self.host_memory(copy.blocks.len())?;
            let blocks = copy.blocks.len();
            self.host.insert(copy.session, Kept { at, blocks, room });
            at
        } else {
            let kept = self
                .host
                .get(&copy.session)
                .ok_or_else(|| refused("nothing of it is in host memory".into()))?;
            let end = copy.first as usize + copy.blocks.len();
            if kept.blocks < end {
                return Err(refused(format!(
                    "it takes blocks {} to {end} and host memory has {}",
                    copy.first, kept.blocks
                )));
            }
            kept.at
                .offset(u64::from(copy.first) * self.block_bytes().get())
        };
        let ops = copy_ops(
            self.pool.base,
            host,
            &copy.blocks,
            self.block_bytes().get(),
            to_host,
        );
        self.device.begin(copy.id, &ops)?;
        self.copying.push(copy.id);
        Ok(())
    }

    fn ended_copies(&mut self) -> Result<Vec<u64>, ExecutorError> {
        // One queue: they end in the order in which they began.
        let mut ended = Vec::new();
        while let Some(&first) = self.copying.first()
            && self.device.ended(first)?
        {
            ended.push(self.copying.remove(0));
        }
        Ok(ended)
    }

    fn forget(&mut self, session: SessionId) {
        // A copy that still runs may use the memory: the next one waits behind it in the same queue.
        if let Some(kept) = self.host.remove(&session) {
            self.spare.push((kept.room, kept.at));
        }
    }

    fn poison(&mut self, blocks: &[u32]) -> Result<(), ExecutorError> {
        if blocks.is_empty() {
            return Ok(());
        }
        let bytes: Vec<u8> = blocks.iter().flat_map(|b| b.to_le_bytes()).collect();
        let list = self.device.alloc(bytes.len() as u64)?;
        self.device.write(list, &bytes)?;
        let launch = launch::poison_blocks(
            self.pool.base,
            list,
            launch::count(blocks.len()),
            self.block_bytes().get(),
        );
        self.device.run(&[Op::Launch(launch)])?;
        // Reading waits for the kernel, which uses the list.
        self.device.read(list, &mut [0; 4])?;
        self.device.free(list)
    }

    fn block_bytes(&self) -> Bytes {
        Bytes(block_bytes(&self.config, self.pool.block_size))
    }

    fn vocabulary(&self) -> u32 {
        launch::count(self.config.vocabulary)
    }
}

/// Copies of blocks, those that lie side by side as one.
fn copy_ops(pool: Address, host: Address, blocks: &[u32], bytes: u64, to_host: bool) -> Vec<Op> {
    let mut ops = Vec::new();
    let mut first = 0;
    while first < blocks.len() {
        let mut last = first + 1;
        while last < blocks.len() && blocks[last] == blocks[last - 1] + 1 {
            last += 1;
        }
        let device = pool.offset(u64::from(blocks[first]) * bytes);
        let host = host.offset(first as u64 * bytes);
        let (from, to) = if to_host {
            (device, host)
        } else {
            (host, device)
        };
        ops.push(Op::Copy {
            from,
            to,
            to_host,
            bytes: (last - first) as u64 * bytes,
        });
        first = last;
    }
    ops
}
