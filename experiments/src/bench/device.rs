//! The executor that is measured, and the machine that it is held against.

use anyhow::anyhow;
use engine::Executor;
use engine::cpu::{CpuOptions, Mode};
use engine::cuda::PrefillAttention;
use engine::floor::Machine;
use engine::measure::Reach;
use engine::model::ModelConfig;
use units::{BlockSize, Blocks, Bytes, Tokens};

use super::args::{DeviceKind, EngineBenchArgs, ModeKind};
use super::numbers;
use crate::engine::args::ExecutorKind;
use crate::engine::model::{Model, Place};
use crate::engine::prefill::PrefillChoice;
#[cfg(feature = "cuda")]
use crate::engine::trial;
use crate::failure::Failure;

/// Tokens of a block.
const BLOCK: u64 = 16;

/// What is measured.
pub(super) struct Subject {
    pub(super) executor: Box<dyn Executor>,
    pub(super) config: ModelConfig,
    pub(super) reach: Reach,
    pub(super) machine: Machine,
    /// Its name.
    pub(super) device: String,
    /// Where bandwidth and arithmetic come from.
    pub(super) evidence: String,
    /// What computes prefill attention; only where there is a choice.
    pub(super) prefill: Option<PrefillChoice>,
}

/// Makes it.
///
/// # Errors
/// Bad input: no such model, a device that is not there, a pool that does not fit.
pub(super) fn open(args: &EngineBenchArgs) -> Result<Subject, Failure> {
    let gpu = args.device == DeviceKind::Cuda;
    let prefill = args.prefill_attention.asked(gpu, "--device")?;
    let mut subject = match args.device {
        DeviceKind::Candle => on_cpu(args, "candle")?,
        DeviceKind::Cpu => on_cpu(args, "cpu")?,
        DeviceKind::Cuda => on_gpu(args, prefill)?,
    };
    if let Some(text) = &args.bandwidth {
        subject.machine.bytes_per_s = 1e9 * numbers::positive("--bandwidth", text)?;
        subject.evidence.push_str("; bandwidth as told");
    }
    if let Some(text) = &args.tflops {
        subject.machine.flops = 1e12 * numbers::positive("--tflops", text)?;
        subject.evidence.push_str("; arithmetic as told");
    }
    Ok(subject)
}

/// Blocks that so much memory holds, each of so many bytes.
fn blocks(gib: f64, block: Bytes) -> u64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bytes of a block far below 2^53; a whole number of blocks, and positive"
    )]
    let blocks = (gib * f64::from(1 << 30) / block.get() as f64) as u64;
    blocks.clamp(1, u64::from(u32::MAX / 32))
}

/// Blocks 1 to `blocks`; block 0 is nobody's. What does not fit is left out by the pool alone.
fn reach(blocks: u64) -> Reach {
    Reach {
        block_size: block_size(),
        usable_blocks: Blocks(blocks),
        max_running: u64::MAX,
        token_budget: u64::MAX,
        context: Tokens(u64::MAX),
    }
}

fn block_size() -> BlockSize {
    BlockSize::new(BLOCK).expect("not zero")
}

fn on_cpu(args: &EngineBenchArgs, name: &str) -> Result<Subject, Failure> {
    let gib = numbers::positive("--kv-gib", args.kv_gib.as_deref().unwrap_or("1"))?;
    let model = Model::open(&args.model)?;
    let threads = args.threads.as_deref();
    let threads = threads.map(|text| numbers::whole("--threads", text));
    let candle = args.device == DeviceKind::Candle;
    let (mode, weight_bytes) = match args.mode {
        ModeKind::Bf16 if !candle => (Mode::Bf16, 2.0),
        // A byte, and a scale and a least of two each for every 32.
        ModeKind::Int8 if !candle => (Mode::Int8, 1.125),
        _ => (Mode::F32, 4.0),
    };
    let cpu = CpuOptions {
        mode,
        threads: threads
            .transpose()?
            .map(usize::try_from)
            .transpose()
            .map_err(Failure::bad_input)?,
        ..CpuOptions::fast()
    };
    let (kind, kv_bytes) = if candle {
        (ExecutorKind::Candle, 4.0)
    } else {
        (ExecutorKind::Cpu, 2.0)
    };
    let size = block_size();
    // The null block besides.
    let pool = |per_block| Ok(Blocks(blocks(gib, per_block) + 1));
    let place = Place {
        kind,
        cpu,
        size,
        prefill: PrefillAttention::Auto,
    };
    let executor = model.executor(place, &pool)?;
    let blocks = blocks(gib, executor.block_bytes());
    let mut host = engine::floor::host().map_err(Failure::bad_input)?;
    let mut evidence = "bandwidth and 32-bit arithmetic measured on this machine".to_owned();
    if args.device == DeviceKind::Cpu && args.mode == ModeKind::Int8 {
        // A vector instruction multiplies four bytes where it multiplies one 32-bit float.
        host.flops *= 4.0;
        evidence.push_str(", four times that for bytes");
    }
    Ok(Subject {
        executor,
        config: model.config().clone(),
        reach: reach(blocks),
        machine: Machine {
            weight_bytes,
            kv_bytes,
            ..host
        },
        device: name.into(),
        evidence,
        prefill: None,
    })
}

#[cfg(not(feature = "cuda"))]
fn on_gpu(_: &EngineBenchArgs, _: PrefillAttention) -> Result<Subject, Failure> {
    Err(Failure::bad_input(anyhow!(
        "this program is built without the `cuda` executor\nhint: `cargo build -p experiments --release \
         --features cuda`, or `--device cpu`"
    )))
}

#[cfg(feature = "cuda")]
fn on_gpu(args: &EngineBenchArgs, prefill: PrefillAttention) -> Result<Subject, Failure> {
    use engine::cuda::{Device as _, block_bytes, gpu, nvrtc};

    let no_gpu = |e| Failure::bad_input(anyhow!("{e}\nhint: `--device cpu` needs no GPU"));
    // A model may take long to read: not for a GPU that is not there.
    gpu::capability(0).map_err(no_gpu)?;
    let model = Model::open(&args.model)?;
    let tokens = u32::try_from(BLOCK).expect("small");
    // Before this process has a context: a GPU may take one process at a time.
    let prefill = trial::of_model(prefill, model.config(), tokens);
    let gpu = gpu::Gpu::open(0, &nvrtc::folder()).map_err(no_gpu)?;
    let device = gpu.name();
    let catalog = crate::run::cost::catalog("")?;
    let spec = catalog
        .gpu_known_as(&device.to_lowercase())
        .and_then(|name| catalog.gpu(name).ok());
    if spec.is_none() && (args.bandwidth.is_none() || args.tflops.is_none()) {
        return Err(Failure::bad_input(anyhow!(
            "`{device}` is in no spec (found: `orrery hardware list`)\nhint: say --bandwidth and --tflops"
        )));
    }
    let (free, _) = gpu.memory().map_err(Failure::bad_input)?;
    let gib = match &args.kv_gib {
        Some(text) => numbers::positive("--kv-gib", text)?,
        None => room(free, model.config()),
    };
    let blocks = blocks(gib, Bytes(block_bytes(model.config(), tokens)));
    let (executor, prefill) = model.on_gpu(gpu, block_size(), Blocks(blocks + 1), &prefill)?;
    #[expect(clippy::cast_precision_loss, reason = "figures of a data sheet")]
    let machine = Machine {
        bytes_per_s: spec.map_or(0.0, |s| 1e9 * s.bandwidth_gb_per_s as f64),
        flops: spec
            .and_then(|s| s.bf16_tflops)
            .map_or(f64::INFINITY, |t| 1e12 * t as f64),
        weight_bytes: 2.0,
        kv_bytes: 2.0,
    };
    Ok(Subject {
        prefill: Some(prefill),
        executor: Box::new(executor),
        config: model.config().clone(),
        reach: reach(blocks),
        machine,
        evidence: spec.map_or_else(String::new, |s| format!("data sheet of {}", s.name)),
        device,
    })
}

/// GiB of KV: what is left beside weights, and a tenth for working memory.
#[cfg(feature = "cuda")]
#[expect(clippy::cast_precision_loss, reason = "bytes, to be rounded down")]
fn room(free: u64, config: &ModelConfig) -> f64 {
    let weights = 2.0 * config.parameters() as f64;
    ((0.9 * free as f64 - weights) / f64::from(1 << 30)).max(0.1)
}
