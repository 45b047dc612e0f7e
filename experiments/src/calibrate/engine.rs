//! Calibrating on the engine of this program.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use ::engine::Executor as _;
use anyhow::Context as _;

use super::args::CalibrateArgs;
use super::{names, percent, report, toml};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output;
use crate::run::cost;
use crate::validate::real::bench::Bench;
use crate::validate::real::calibration;

/// What this machine is called if no `--gpu` is named.
const MACHINE: &str = "this-machine";

/// Times the grid and fits it.
pub(super) fn from_engine(args: &CalibrateArgs, interrupt: &Interrupt) -> Result<String, Failure> {
    let folds = super::folds(args)?;
    let specs = args.costs.hardware_file.as_deref().unwrap_or_default();
    let catalog = cost::catalog(specs)?;
    let gpu = args
        .gpu
        .as_deref()
        .map(|gpu| names(&catalog, gpu))
        .transpose()?;
    let model = args.model.as_deref().map(|m| catalog.model(m)).transpose();
    let model = model.map_err(Failure::bad_input)?;
    let mut bench = Bench::open(args.engine_args.checked()?)?;
    let fitted = calibration::steps(&mut bench, folds, interrupt)?;
    if let Some(file) = &args.steps_out {
        std::fs::write(file, calibration::step_log(&fitted.timed))
            .with_context(|| format!("cannot write `{}`", file.display()))
            .map_err(Failure::bad_input)?;
    }
    let fit = &fitted.fit;
    output::note(false, &report(fit));
    let evidence = format!(
        "fitted to {} batches timed on executor {} with {} threads; mean absolute error {} on them, {} across \
         {} folds",
        fit.steps,
        bench.executor.name(),
        bench.engine.threads,
        percent(fit.inside.all),
        percent(fit.across.all),
        fit.folds
    );
    let mut text = String::new();
    if gpu.is_none() {
        text.push_str(&machine_entry());
    }
    let own = model_name(&bench.engine.weights);
    if model.is_none() {
        text.push_str(&model_entry(&bench, &own));
    }
    let name = model.map_or(own.as_str(), |m| m.name.as_str());
    text.push_str(&toml(name, gpu.unwrap_or(MACHINE), &evidence, &fit.ms));
    Ok(text)
}

/// `random:28m` is `random-28m`, a file is its name without folder and ending.
fn model_name(weights: &str) -> String {
    let stem = std::path::Path::new(weights).file_stem();
    let stem = stem.map_or_else(|| weights.to_owned(), |s| s.to_string_lossy().into_owned());
    stem.to_lowercase()
        .replace(|c: char| !(c.is_ascii_alphanumeric() || c == '.'), "-")
}

/// This machine as a catalog has it: its memory, and how fast one core reads that.
fn machine_entry() -> String {
    let total = crate::memory::field("MemTotal");
    let mib = total.map_or(1024, |bytes| bytes >> 20).max(1);
    let source = if total.is_some() {
        "memory: /proc/meminfo"
    } else {
        "memory: not told, 1 GiB assumed"
    };
    format!(
        "[[gpu]]\nname = \"{MACHINE}\"\nmemory_mib = {mib}\nmemory_gb_per_s = {}\nsources = [\"{source}\", \
         \"bandwidth: measured, one core reading 256 MiB\"]\n\n",
        bandwidth()
    )
}

/// Bytes that one core reads per second, in 1e9, at least 1: the best of several passes.
fn bandwidth() -> u64 {
    let words = vec![1_u64; 32 << 20];
    let bytes = words.len() as u64 * 8;
    let pass = |_| {
        let began = Instant::now();
        black_box(words.iter().fold(0_u64, |sum, w| sum.wrapping_add(*w)));
        u64::try_from(began.elapsed().as_nanos())
            .unwrap_or(u64::MAX)
            .max(1)
    };
    let best = (0..5).map(pass).min().unwrap_or(u64::MAX);
    (bytes / best).max(1)
}

/// The model as a catalog has it.
fn model_entry(bench: &Bench, name: &str) -> String {
    let m = &bench.shape;
    let mut text = format!(
        "[[model]]\nname = {name:?}\nlayers = {}\nkv_heads = {}\nhead_dim = {}\nkv_bytes = {}\nweights_gib = \
         {:.4}\ncontext_length = {}\n",
        m.layers,
        m.kv_heads,
        m.head_dim,
        bench.kv_bytes(),
        bench.weights_gib,
        m.context_length
    );
    if let Some(moe) = &m.moe {
        let _ = writeln!(
            text,
            "experts = {{ active = {}, total = {} }}",
            moe.active, moe.experts
        );
    }
    let _ = writeln!(
        text,
        "sources = [\"shape: {}\"]\n",
        bench.engine.weights.escape_default()
    );
    text
}

#[cfg(test)]
mod tests {
    use sim::cost::InMillis;
    use sim::spec::Catalog;

    use super::*;

    #[test]
    fn names_are_those_that_a_shell_takes() {
        for (weights, want) in [
            ("random:28m", "random-28m"),
            (
                "/models/SmolLM2-135M-Instruct.Q4_1.gguf",
                "smollm2-135m-instruct.q4-1",
            ),
            ("models/qwen/", "qwen"),
        ] {
            assert_eq!(model_name(weights), want);
        }
    }

    /// What is written is what `--hardware-file` and `--cost` read.
    #[test]
    fn the_machine_is_one_that_a_catalog_takes() {
        let ms = InMillis {
            d0: 2.0,
            ..InMillis::default()
        };
        let text = machine_entry() + &toml("some-model", MACHINE, "measured", &ms);
        let mut catalog = Catalog::builtin();
        catalog.add("test", &text).expect("is a catalog");
        assert!(catalog.gpu(MACHINE).is_ok());
    }
}
