//! The command line of `orrery engine bench`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::Format;
use crate::engine::prefill::PrefillKind;

const EXAMPLES: &str = "\
Decoding steps are timed for each batch and context (tokens in KV of each row), prompts in chunks for each
length, and copies of KV blocks to host memory and back. Cells that the KV pool does not hold are said.

Floor: the time that reading weights and KV once and multiplying take at the machine's bandwidth and
arithmetic, whichever is longer; share: floor over time. On a CPU both are measured first (a sum over memory,
a product of matrices in 32-bit floats, with all threads); on a GPU they are the data sheet's
(`orrery hardware list`). --bandwidth and --tflops take their place.

On a GPU of compute capability 9.0 two kernels can compute prefill attention; the report names the one that
did. By default the newer one is used where a trial at the start agrees with the older one.

--steps writes a log of every step that `orrery calibrate` takes.

Examples:
  orrery engine bench --model random:28m
  orrery engine bench --model smollm2 --batches 1,8 --contexts 512 --steps steps.csv
  orrery engine bench --device cuda --model random:llama-3.1-8b --kv-gib 80 --format json
  orrery engine bench --device cuda --model random:llama-3.1-8b --prefill-attention mma

Exit codes: 0 done, 2 bad input (a model, device or number that cannot be used), 130 interrupted: what was
timed until then is printed.";

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeviceKind {
    /// The reference executor: slow and simple.
    Candle,
    /// The fast executor on CPU cores.
    Cpu,
    /// A GPU, where the program is built with the feature `cuda`.
    Cuda,
}

/// How the `cpu` executor holds weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModeKind {
    /// 32-bit floats.
    F32,
    /// Brain floats.
    Bf16,
    /// Bytes, with a scale and a least weight for every 32.
    Int8,
}

/// Flags of `orrery engine bench`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES, args_override_self = true)]
pub struct EngineBenchArgs {
    /// A GGUF file, a folder or file of safetensors, a fetched model, or `random:SHAPE`.
    #[arg(long, default_value = "random:28m", value_name = "NAME|PATH")]
    pub model: String,

    /// What computes.
    #[arg(long, default_value = "cpu")]
    pub device: DeviceKind,

    /// How `cpu` holds weights; its KV is brain floats.
    #[arg(long, default_value = "int8")]
    pub mode: ModeKind,

    /// Threads of `cpu`. [default: one less than there are cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<String>,

    /// Kernel of prefill attention on a GPU.
    #[arg(long, default_value = "auto", value_name = "KERNEL")]
    pub prefill_attention: PrefillKind,

    /// Rows that decode together, separated by commas. [default: 1,8,32; on a GPU 1,8,32,128]
    #[arg(long, value_name = "N,...")]
    pub batches: Option<String>,

    /// Tokens in KV of each row. [default: 512,2048; on a GPU 512,2048,16384,65536]
    #[arg(long, value_name = "N,...")]
    pub contexts: Option<String>,

    /// Lengths of prompts. [default: 512,2048; on a GPU 512,2048,8192,32768]
    #[arg(long, value_name = "N,...")]
    pub prompts: Option<String>,

    /// Tokens of a prompt that one step computes.
    #[arg(long, default_value = "2048", value_name = "N")]
    pub chunk: String,

    /// Steps of each decoding cell.
    #[arg(long, default_value = "5", value_name = "N")]
    pub repeats: String,

    /// KV pool. [default: 1; on a GPU most of what is free]
    #[arg(long, value_name = "GIB")]
    pub kv_gib: Option<String>,

    /// Memory bandwidth to hold times against, 1e9 bytes per second.
    #[arg(long, value_name = "GB/S")]
    pub bandwidth: Option<String>,

    /// Arithmetic to hold times against, 1e12 operations per second.
    #[arg(long, value_name = "TFLOPS")]
    pub tflops: Option<String>,

    /// File for a log of all steps.
    #[arg(long, value_name = "FILE.csv")]
    pub steps: Option<PathBuf>,

    /// How to print.
    #[arg(long, default_value = "table")]
    pub format: Format,
}
