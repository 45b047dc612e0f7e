//! What an engine's configuration says about the machine.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use serde_json::Value;
use sim::spec::Catalog;

use crate::failure::Failure;
use crate::run::settings::Settings;

/// The machine of a configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Described {
    /// The catalog's GPU.
    pub gpu: Option<String>,
    /// The catalog's model.
    pub model: Option<String>,
    /// Share of memory in use.
    pub utilisation: Option<f64>,
    /// What was not said and is assumed, for people.
    pub notes: Vec<String>,
}

/// Reads a configuration into the settings.
///
/// # Errors
/// Bad input: no file, no JSON, several data-parallel engines, or a limit that cannot be.
pub(super) fn read(
    file: &Path,
    catalog: &Catalog,
    settings: &mut Settings,
) -> Result<Described, Failure> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read `{}`", file.display()))
        .map_err(Failure::bad_input)?;
    let meta: Value = serde_json::from_str(&text)
        .with_context(|| format!("`{}`", file.display()))
        .map_err(Failure::bad_input)?;
    describe(&meta, catalog, settings)
        .with_context(|| format!("`{}`", file.display()))
        .map_err(Failure::bad_input)
}

fn describe(
    meta: &Value,
    catalog: &Catalog,
    settings: &mut Settings,
) -> Result<Described, anyhow::Error> {
    let mut described = Described::default();
    let at = |path: &str| meta.pointer(path).filter(|v| !v.is_null());
    let replicas = at("/engine_kwargs/data_parallel_size").and_then(Value::as_u64);
    if let Some(n @ 2..) = replicas {
        return Err(anyhow!(
            "`data_parallel_size` is {n} (wanted: 1; one engine is simulated)"
        ));
    }
    for (path, key) in [
        (
            "/engine_kwargs/max_num_batched_tokens",
            "engine.token_budget",
        ),
        ("/engine_kwargs/max_num_seqs", "engine.max_running"),
        (
            "/engine_kwargs/tensor_parallel_size",
            "engine.tensor_parallel",
        ),
        ("/kv_cache/block_size", "engine.block_size"),
        ("/kv_cache/num_gpu_blocks", "engine.kv_blocks"),
        ("/kv_cache/enable_prefix_caching", "engine.prefix_caching"),
        (
            "/resolved_config/scheduler_config/max_num_batched_tokens",
            "engine.token_budget",
        ),
        (
            "/resolved_config/scheduler_config/max_num_seqs",
            "engine.max_running",
        ),
    ] {
        if let Some(value) = at(path) {
            settings.set(key, &value.to_string())?;
        }
    }
    let version = at("/vllm_version")
        .and_then(Value::as_str)
        .unwrap_or_default();
    // Since 0.14 and 0.19 respectively.
    for (name, key, since) in [
        ("async_scheduling", "engine.async_scheduling", 14),
        ("scheduler_reserve_full_isl", "engine.whole_prompt", 19),
    ] {
        let said = at(&format!("/resolved_config/scheduler_config/{name}"));
        let on = said.and_then(Value::as_bool).unwrap_or_else(|| {
            let on = minor(version).is_some_and(|minor| minor >= since);
            described
                .notes
                .push(format!("{name} is not given: {on}, as in vLLM {version}"));
            on
        });
        settings.set(key, &on.to_string())?;
    }
    let eager = at("/resolved_config/model_config/enforce_eager").and_then(Value::as_bool);
    let sizes = at("/resolved_config/compilation_config/cudagraph_capture_sizes");
    settings.graphs = match (eager, sizes.and_then(Value::as_array)) {
        (Some(true), _) => Some(Vec::new()),
        (_, Some(sizes)) => {
            let mut sizes: Vec<u64> = sizes.iter().filter_map(Value::as_u64).collect();
            sizes.sort_unstable();
            Some(sizes)
        }
        _ => None,
    };
    described.utilisation = at("/kv_cache/gpu_memory_utilization").and_then(Value::as_f64);
    described.model = named(at("/model"), "model", |name| catalog.model_known_as(name))?;
    described.gpu = named(at("/hardware/device_name"), "GPU", |name| {
        catalog.gpu_known_as(name)
    })?;
    if at("/kv_cache/num_gpu_blocks").is_none() {
        described
            .notes
            .push("num_gpu_blocks is not given: the pool follows from GPU and model".to_owned());
    }
    Ok(described)
}

fn named<'a>(
    value: Option<&Value>,
    kind: &str,
    known: impl Fn(&str) -> Option<&'a str>,
) -> Result<Option<String>, anyhow::Error> {
    let Some(name) = value.and_then(Value::as_str) else {
        return Ok(None);
    };
    match known(name) {
        Some(ours) => Ok(Some(ours.to_owned())),
        None => Err(anyhow!(
            "no {kind} is known as `{name}`\nhint: add it with `--hardware-file`, with `aliases = [\"{}\"]`",
            name.rsplit('/').next().unwrap_or(name).to_lowercase()
        )),
    }
}

/// The 19 of 0.19.0.
fn minor(version: &str) -> Option<u32> {
    let mut parts = version.split('.');
    match parts.next()?.parse::<u32>().ok()? {
        0 => parts.next()?.parse().ok(),
        _ => Some(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use scheduler::{Planning, StartRoom};
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_said_is_taken_and_the_rest_is_noted() {
        let meta = json!({
            "model": "meta-llama/Llama-3.1-8B",
            "vllm_version": "0.19.0",
            "engine_kwargs": {"max_num_seqs": 256, "max_num_batched_tokens": 2048},
            "kv_cache": {"num_gpu_blocks": 2588, "block_size": 16, "enable_prefix_caching": true,
                         "gpu_memory_utilization": 0.9},
            "hardware": {"device_name": "NVIDIA GeForce RTX 4090"},
            "resolved_config": {
                "scheduler_config": {"async_scheduling": false},
                "compilation_config": {"cudagraph_capture_sizes": [4, 1, 2]},
            },
        });
        let mut settings = Settings::default();
        let described = describe(&meta, &Catalog::builtin(), &mut settings).expect("is right");
        assert_eq!(described.gpu.as_deref(), Some("rtx-4090"));
        assert_eq!(described.model.as_deref(), Some("llama-3.1-8b"));
        assert_eq!(
            (
                settings.max_running,
                settings.token_budget,
                settings.kv_blocks
            ),
            (256, 2048, Some(2588))
        );
        assert_eq!(
            (settings.planning, settings.start_room),
            (Planning::Between, StartRoom::WholeContext)
        );
        assert_eq!(settings.graphs, Some(vec![1, 2, 4]));
        assert_eq!(
            described.notes,
            ["scheduler_reserve_full_isl is not given: true, as in vLLM 0.19.0"]
        );
    }

    #[test]
    fn what_is_not_simulated_is_refused() {
        let mut settings = Settings::default();
        let two = json!({"engine_kwargs": {"data_parallel_size": 2}});
        let error = describe(&two, &Catalog::builtin(), &mut settings).expect_err("two engines");
        assert!(error.to_string().starts_with("`data_parallel_size` is 2"));
        let unknown = json!({"model": "org/Nothing-7B"});
        let error = describe(&unknown, &Catalog::builtin(), &mut settings).expect_err("unknown");
        assert!(error.to_string().contains("`org/Nothing-7B`"), "{error}");
    }
}
