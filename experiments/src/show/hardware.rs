//! GPUs, models and their pairs: how much KV fits, and what the cost model rests on.

use std::fmt::Write as _;

use sim::spec::{Basis, Hardware, SpecError};

use crate::failure::Failure;
use crate::output::table;
use crate::run::cost;

/// Memory share of the list: the default of `orrery run`.
const UTILISATION: f64 = 0.9;

#[expect(clippy::cast_precision_loss, reason = "for display, to one decimal")]
fn gib(bytes: units::Bytes) -> String {
    format!("{:.1}", bytes.get() as f64 / 1_073_741_824.0)
}

/// All of it as text: what ships and what these files add.
///
/// # Errors
/// Bad input: a file that is no spec.
pub(super) fn list(specs: &str) -> Result<String, Failure> {
    let catalog = cost::catalog(specs)?;
    let mut gpus = table(&[
        "GPU",
        "memory (GiB)",
        "bandwidth (GB/s)",
        "bf16 (TFLOPS)",
        "link (GB/s)",
        "fitted costs",
    ]);
    for gpu in catalog.gpus() {
        let costs = match &gpu.like {
            Some(like) => format!("as {like}, scaled by bandwidth"),
            None => "its own, if any".to_owned(),
        };
        let given = |rate: Option<u64>| rate.map_or("n/a".to_owned(), |r| r.to_string());
        gpus.add_row([
            gpu.name.clone(),
            gib(gpu.memory),
            gpu.bandwidth_gb_per_s.to_string(),
            given(gpu.bf16_tflops),
            given(gpu.link_gb_per_s),
            costs,
        ]);
    }
    let mut models = table(&[
        "model",
        "weights (GiB)",
        "KV per token (KiB)",
        "KV of windows per turn (KiB)",
        "context (tokens)",
    ]);
    for model in catalog.models() {
        models.add_row([
            model.name.clone(),
            gib(model.weights),
            (model.kv_per_token().get() / 1024).to_string(),
            (model.kv_of_windows().get() / 1024).to_string(),
            model.context_length.to_string(),
        ]);
    }
    let mut pairs = table(&["GPU", "model", "KV pool (tokens)", "evidence"]);
    let mut evidence: Vec<String> = Vec::new();
    for gpu in catalog.gpus() {
        for model in catalog.models() {
            let (pool, basis) = match Hardware::new(&catalog, &gpu.name, &model.name, UTILISATION) {
                Ok(hardware) => {
                    let one_of_many = hardware.basis == Basis::Roofline;
                    if !one_of_many && !evidence.contains(&hardware.evidence) {
                        evidence.push(hardware.evidence);
                    }
                    (hardware.kv_tokens.to_string(), hardware.basis.as_str())
                }
                Err(SpecError::DoesNotFit { .. }) => ("does not fit".to_owned(), "n/a"),
                Err(_) => ("n/a".to_owned(), "no cost model"),
            };
            pairs.add_row([gpu.name.clone(), model.name.clone(), pool, basis.to_owned()]);
        }
    }
    let mut text =
        format!("{gpus}\n\n{models}\n\nKV pool at --utilisation {UTILISATION}:\n{pairs}\n");
    text.push_str("\nWhat the costs rest on, best evidence first:\n");
    text.push_str(
        "- measured: kernel times of this GPU, looked up (`--cost profile:DIR`)\n\
         - fitted: closed forms fitted to kernel tables of this GPU and model\n\
         - scaled: those of a similar GPU, memory-bound terms scaled by bandwidth\n\
         - roofline: data sheets with efficiencies fitted on H100 SXM tables (sim/README.md has the \
         errors)\n",
    );
    for line in evidence {
        let _ = writeln!(text, "- {line}");
    }
    text.push_str("\nWhere the figures of GPUs and models come from:\n");
    let sources = catalog
        .gpus()
        .map(|g| (&g.name, &g.sources))
        .chain(catalog.models().map(|m| (&m.name, &m.sources)));
    for (name, sources) in sources {
        for source in sources {
            let _ = writeln!(text, "- {name}: {source}");
        }
    }
    Ok(text)
}
