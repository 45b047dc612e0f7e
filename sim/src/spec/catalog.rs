//! All GPUs, models and fitted costs that a run can choose from.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::error::{SpecError, list, nearest};
use super::{GpuSpec, ModelSpec, file};
use crate::cost::{Coefficients, InMillis};

/// Coefficients of a (model, GPU) pair and what they rest on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fit {
    pub(super) coefficients: Coefficients,
    pub(super) evidence: String,
    pub(super) includes_host: bool,
}

#[derive(Clone, Debug)]
struct RawFit {
    origin: String,
    ms: InMillis,
    evidence: String,
    includes_host: bool,
}

/// Specs by name. Starts with those that ship ([`Catalog::builtin`]); texts are added on top.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    gpus: BTreeMap<String, GpuSpec>,
    models: BTreeMap<String, ModelSpec>,
    /// By model, then GPU.
    costs: BTreeMap<(String, String), RawFit>,
}

impl Catalog {
    /// The specs that ship with the project.
    ///
    /// # Panics
    /// Never: a test reads them all.
    pub fn builtin() -> Self {
        let texts = [
            ("gpus.toml", include_str!("../../specs/gpus.toml")),
            ("models.toml", include_str!("../../specs/models.toml")),
            ("costs.toml", include_str!("../../specs/costs.toml")),
        ];
        let mut catalog = Self::default();
        for (origin, text) in texts {
            catalog
                .add(origin, text)
                .expect("the specs that ship are tested");
        }
        catalog
    }

    /// Adds the `[[gpu]]`, `[[model]]` and `[[cost]]` tables of a text. `origin` names the text in
    /// errors. On an error nothing is added.
    ///
    /// A cost may come before the model or GPU that it names; [`super::Hardware::new`] joins them.
    ///
    /// # Errors
    /// [`SpecError`] if the text is not TOML, has an unknown key or a senseless value, or takes a
    /// name that exists.
    pub fn add(&mut self, origin: &str, text: &str) -> Result<(), SpecError> {
        let file = file::parse(origin, text)?;
        let mut grown = self.clone();
        for raw in file.gpu {
            let entry = format!("gpu {}", raw.name);
            let gpu = GpuSpec::read(origin, raw)?;
            insert(&mut grown.gpus, gpu.name.clone(), gpu, origin, entry)?;
        }
        for raw in file.model {
            let entry = format!("model {}", raw.name);
            let model = ModelSpec::read(origin, raw)?;
            insert(&mut grown.models, model.name.clone(), model, origin, entry)?;
        }
        for raw in file.cost {
            let entry = cost_entry(&raw.model, &raw.gpu);
            let fit = RawFit {
                origin: origin.to_owned(),
                ms: raw.in_millis(),
                evidence: raw.evidence,
                includes_host: raw.includes_host,
            };
            // The share of experts is the model's and may still be unknown; the rest is checked now.
            coefficients(&fit, 1.0, &entry)?;
            insert(&mut grown.costs, (raw.model, raw.gpu), fit, origin, entry)?;
        }
        *self = grown;
        Ok(())
    }

    /// The GPU of that name.
    ///
    /// # Errors
    /// [`SpecError::UnknownName`], with all names and the nearest.
    pub fn gpu(&self, name: &str) -> Result<&GpuSpec, SpecError> {
        find(&self.gpus, "GPU", name)
    }

    /// The model of that name.
    ///
    /// # Errors
    /// [`SpecError::UnknownName`], with all names and the nearest.
    pub fn model(&self, name: &str) -> Result<&ModelSpec, SpecError> {
        find(&self.models, "model", name)
    }

    /// The name of the GPU that somebody else calls this, if there is one. Case does not matter.
    pub fn gpu_known_as(&self, other: &str) -> Option<&str> {
        let gpus = self.gpus.values();
        known_as(gpus.map(|g| (g.name.as_str(), g.aliases.as_slice())), other)
    }

    /// The name of the model that somebody else calls this, if there is one. Case does not matter, nor
    /// does what stands before the last slash.
    pub fn model_known_as(&self, other: &str) -> Option<&str> {
        let other = other.rsplit('/').next().unwrap_or(other);
        let models = self.models.values();
        known_as(
            models.map(|m| (m.name.as_str(), m.aliases.as_slice())),
            other,
        )
    }

    /// All GPUs, by name.
    pub fn gpus(&self) -> impl Iterator<Item = &GpuSpec> {
        self.gpus.values()
    }

    /// All models, by name.
    pub fn models(&self) -> impl Iterator<Item = &ModelSpec> {
        self.models.values()
    }

    /// What was fitted for exactly this pair.
    pub(super) fn fitted(&self, model: &ModelSpec, gpu: &str) -> Result<Option<Fit>, SpecError> {
        let pair = (model.name.clone(), gpu.to_owned());
        let Some(raw) = self.costs.get(&pair) else {
            return Ok(None);
        };
        let entry = cost_entry(&model.name, gpu);
        Ok(Some(Fit {
            coefficients: coefficients(raw, model.active_share(), &entry)?,
            evidence: raw.evidence.clone(),
            includes_host: raw.includes_host,
        }))
    }

    /// The GPUs with a fit for the model, as a list for a message.
    pub(super) fn fitted_gpus(&self, model: &str) -> Box<str> {
        let of_model = self.costs.keys().filter(|(name, _)| name == model);
        list(of_model.map(|(_, gpu)| gpu.as_str()))
    }
}

fn known_as<'a>(
    mut among: impl Iterator<Item = (&'a str, &'a [String])>,
    other: &str,
) -> Option<&'a str> {
    let other = other.to_lowercase();
    let found = among.find(|(name, aliases)| *name == other || aliases.contains(&other));
    found.map(|(name, _)| name)
}

fn cost_entry(model: &str, gpu: &str) -> String {
    format!("cost {model} on {gpu}")
}

fn coefficients(fit: &RawFit, active_share: f64, entry: &str) -> Result<Coefficients, SpecError> {
    Coefficients::from_ms(&fit.ms, active_share).map_err(|source| SpecError::Cost {
        origin: fit.origin.as_str().into(),
        entry: entry.into(),
        source,
    })
}

fn insert<K: Ord, V>(
    into: &mut BTreeMap<K, V>,
    key: K,
    value: V,
    origin: &str,
    entry: String,
) -> Result<(), SpecError> {
    match into.entry(key) {
        Entry::Occupied(_) => Err(SpecError::Taken {
            origin: origin.into(),
            entry: entry.into(),
        }),
        Entry::Vacant(free) => {
            free.insert(value);
            Ok(())
        }
    }
}

fn find<'a, V>(
    among: &'a BTreeMap<String, V>,
    kind: &'static str,
    name: &str,
) -> Result<&'a V, SpecError> {
    let names = || among.keys().map(String::as_str);
    among.get(name).ok_or_else(|| SpecError::UnknownName {
        kind,
        name: name.into(),
        nearest: nearest(name, names()),
        known: list(names()),
    })
}

#[cfg(test)]
#[path = "catalog_tests.rs"]
mod tests;
