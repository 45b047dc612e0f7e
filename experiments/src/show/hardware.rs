//! GPUs, models and their pairs: how much KV fits, and what the cost model rests on.

use std::fmt::Write as _;

use sim::spec::{Catalog, Hardware};

use crate::output::table;

/// Memory share of the list: the default of `orrery run`.
const UTILISATION: f64 = 0.9;

#[expect(clippy::cast_precision_loss, reason = "for display, to one decimal")]
fn gib(bytes: units::Bytes) -> String {
    format!("{:.1}", bytes.get() as f64 / 1_073_741_824.0)
}

/// All of it as text.
pub(super) fn list() -> String {
    let catalog = Catalog::builtin();
    let mut gpus = table(&["GPU", "memory (GiB)", "bandwidth (GB/s)", "costs"]);
    for gpu in catalog.gpus() {
        let costs = match &gpu.like {
            Some(like) => format!("as {like}, scaled by bandwidth"),
            None => "fitted".to_owned(),
        };
        let bandwidth = gpu.bandwidth_gb_per_s.to_string();
        gpus.add_row([gpu.name.clone(), gib(gpu.memory), bandwidth, costs]);
    }
    let mut models = table(&[
        "model",
        "weights (GiB)",
        "KV per token (KiB)",
        "context (tokens)",
    ]);
    for model in catalog.models() {
        models.add_row([
            model.name.clone(),
            gib(model.weights),
            (model.kv_per_token().get() / 1024).to_string(),
            model.context_length.to_string(),
        ]);
    }
    let mut pairs = table(&["GPU", "model", "KV pool (tokens)"]);
    let mut evidence: Vec<String> = Vec::new();
    for gpu in catalog.gpus() {
        for model in catalog.models() {
            let pool = match Hardware::new(&catalog, &gpu.name, &model.name, UTILISATION) {
                Ok(hardware) => {
                    if !evidence.contains(&hardware.evidence) {
                        evidence.push(hardware.evidence);
                    }
                    hardware.kv_tokens.to_string()
                }
                Err(sim::spec::SpecError::DoesNotFit { .. }) => "does not fit".to_owned(),
                Err(_) => "no cost model".to_owned(),
            };
            pairs.add_row([gpu.name.clone(), model.name.clone(), pool]);
        }
    }
    let mut text =
        format!("{gpus}\n\n{models}\n\nKV pool at --utilisation {UTILISATION}:\n{pairs}\n");
    text.push_str("\nWhat the costs rest on:\n");
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
    text
}
