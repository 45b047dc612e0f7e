//! The executor that is measured, and the machine that it is held against.

use anyhow::{Context as _, anyhow};
use engine::cpu::{CpuExecutor, CpuOptions, Mode};
use engine::floor::Machine;
use engine::measure::Reach;
use engine::model::{ModelConfig, Weights};
use engine::reference::Candle;
use engine::{Executor, fetch};
use units::{BlockSize, Blocks, Tokens};

use super::args::{DeviceKind, EngineBenchArgs, ModeKind};
use super::numbers;
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
}

/// Makes it.
///
/// # Errors
/// Bad input: no such model, a device that is not there, a pool that does not fit.
pub(super) fn open(args: &EngineBenchArgs) -> Result<Subject, Failure> {
    let mut subject = match args.device {
        DeviceKind::Candle => on_cpu(args, "candle")?,
        DeviceKind::Cpu => on_cpu(args, "cpu")?,
        DeviceKind::Cuda => on_gpu(args)?,
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

fn weights(name: &str) -> Result<Weights, Failure> {
    if name.starts_with("random:") {
        return Weights::open(name).map_err(Failure::bad_input);
    }
    let path = fetch::find(name).map_err(Failure::bad_input)?;
    Weights::open(&path.to_string_lossy()).map_err(Failure::bad_input)
}

/// Blocks that so much memory holds, each value of so many bytes.
fn blocks(config: &ModelConfig, gib: f64, value: f64) -> u64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "bytes of a block, far below 2^53"
    )]
    let block = (config.kv_values_per_token() as u64 * BLOCK) as f64 * value;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number of blocks, and positive"
    )]
    let blocks = (gib * f64::from(1 << 30) / block) as u64;
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
    let weights = weights(&args.model)?;
    let config = weights.config.clone();
    let made = make_on_cpu(args, &weights, gib);
    let (executor, blocks, weight_bytes, kv_bytes) = made
        .with_context(|| format!("model `{}` on `{name}`", args.model))
        .map_err(Failure::bad_input)?;
    let mut host = engine::floor::host().map_err(Failure::bad_input)?;
    let mut evidence = "bandwidth and 32-bit arithmetic measured on this machine".to_owned();
    if args.device == DeviceKind::Cpu && args.mode == ModeKind::Int8 {
        // A vector instruction multiplies four bytes where it multiplies one 32-bit float.
        host.flops *= 4.0;
        evidence.push_str(", four times that for bytes");
    }
    Ok(Subject {
        executor,
        config,
        reach: reach(blocks),
        machine: Machine {
            weight_bytes,
            kv_bytes,
            ..host
        },
        device: name.into(),
        evidence,
    })
}

/// An executor, its blocks, and the bytes of a weight and of a value of KV.
type OnCpu = (Box<dyn Executor>, u64, f64, f64);

fn make_on_cpu(
    args: &EngineBenchArgs,
    weights: &Weights,
    gib: f64,
) -> Result<OnCpu, anyhow::Error> {
    let config = &weights.config;
    if args.device == DeviceKind::Candle {
        let blocks = blocks(config, gib, 4.0);
        let made = Candle::new(weights, Blocks(blocks + 1), block_size())?;
        return Ok((Box::new(made), blocks, 4.0, 4.0));
    }
    let (mode, weight_bytes) = match args.mode {
        ModeKind::F32 => (Mode::F32, 4.0),
        ModeKind::Bf16 => (Mode::Bf16, 2.0),
        // A byte, and a scale and a least of two each for every 32.
        ModeKind::Int8 => (Mode::Int8, 1.125),
    };
    let threads = args.threads.as_deref();
    let threads = threads.map(|text| numbers::whole("--threads", text));
    let threads = threads.transpose().map_err(|failure| failure.error)?;
    let options = CpuOptions {
        mode,
        threads: threads.map(usize::try_from).transpose()?,
        ..CpuOptions::fast()
    };
    let blocks = blocks(config, gib, 2.0);
    let executor = CpuExecutor::new(weights, options, Blocks(blocks + 1), block_size())?;
    Ok((Box::new(executor), blocks, weight_bytes, 2.0))
}

#[cfg(not(feature = "cuda"))]
fn on_gpu(_: &EngineBenchArgs) -> Result<Subject, Failure> {
    Err(Failure::bad_input(anyhow!(
        "this program is built without the `cuda` executor\nhint: `cargo build -p experiments --release \
         --features cuda`, or `--device cpu`"
    )))
}

#[cfg(feature = "cuda")]
fn on_gpu(args: &EngineBenchArgs) -> Result<Subject, Failure> {
    use engine::cuda::{CudaExecutor, Device as _, Options, gpu::Gpu, nvrtc};

    let gpu = Gpu::open(0, &nvrtc::folder())
        .map_err(|e| Failure::bad_input(anyhow!("{e}\nhint: `--device cpu` needs no GPU")))?;
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
    // With random weights only the shape is needed: they are made on the device.
    let shape = args
        .model
        .strip_prefix("random:")
        .and_then(engine::model::preset);
    let from_file = match shape {
        Some(_) => None,
        None => Some(weights(&args.model)?),
    };
    let config = match (&shape, &from_file) {
        (Some(config), _) => config.clone(),
        (None, Some(weights)) => weights.config.clone(),
        (None, None) => unreachable!("one of them is there"),
    };
    let (free, _) = gpu.memory().map_err(Failure::bad_input)?;
    let gib = match &args.kv_gib {
        Some(text) => numbers::positive("--kv-gib", text)?,
        None => room(free, &config),
    };
    let blocks = blocks(&config, gib, 2.0);
    let options = Options {
        blocks: blocks + 1,
        block_size: u32::try_from(BLOCK).expect("small"),
        invariant: false,
        graphs: true,
    };
    let executor = match &from_file {
        Some(weights) => CudaExecutor::new(gpu, weights, options),
        None => CudaExecutor::random(gpu, config.clone(), 1, options),
    };
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
        executor: Box::new(executor.map_err(Failure::bad_input)?),
        config,
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
