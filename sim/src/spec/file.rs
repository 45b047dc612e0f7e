//! Reading one text of specs: `[[gpu]]`, `[[model]]` and `[[cost]]` tables.
//!
//! Keys are checked before serde sees the text, because serde's refusal of an unknown key names
//! neither the nearest one nor the entry. `deny_unknown_fields` stays on: should a list of keys here
//! fall behind its struct, the text is refused all the same.

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{SpecError, list, nearest};
use crate::cost::InMillis;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) gpu: Vec<Gpu>,
    pub(super) model: Vec<Model>,
    pub(super) cost: Vec<Cost>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gpu {
    pub(super) name: String,
    #[serde(default)]
    pub(super) aliases: Vec<String>,
    pub(super) memory_mib: u64,
    pub(super) memory_gb_per_s: u64,
    pub(super) bf16_tflops: Option<u64>,
    pub(super) link_gb_per_s: Option<u64>,
    pub(super) like: Option<String>,
    pub(super) sources: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    pub(super) name: String,
    #[serde(default)]
    pub(super) aliases: Vec<String>,
    pub(super) layers: u32,
    pub(super) kv_heads: u32,
    pub(super) head_dim: u32,
    pub(super) kv_bytes: u32,
    pub(super) weights_gib: f64,
    pub(super) context_length: u64,
    pub(super) experts: Option<Experts>,
    pub(super) window: Option<Window>,
    pub(super) shape: Option<Shape>,
    pub(super) sources: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Experts {
    pub(super) active: u32,
    pub(super) total: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Window {
    pub(super) tokens: u64,
    pub(super) layers: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shape {
    pub(super) hidden: u32,
    pub(super) heads: u32,
    pub(super) ffn: u32,
    pub(super) vocab: u32,
    pub(super) weight_bits: f64,
    pub(super) expert_bits: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cost {
    pub(super) model: String,
    pub(super) gpu: String,
    pub(super) evidence: String,
    /// Whether the coefficients contain the host's overhead: they were fitted to whole steps.
    #[serde(default)]
    pub(super) includes_host: bool,
    p0: f64,
    p1: f64,
    p2: f64,
    d0: f64,
    e: f64,
    d1: f64,
    d2: f64,
}

impl Cost {
    pub(super) const fn in_millis(&self) -> InMillis {
        InMillis {
            p0: self.p0,
            p1: self.p1,
            p2: self.p2,
            d0: self.d0,
            e: self.e,
            d1: self.d1,
            d2: self.d2,
        }
    }
}

const TABLES: &[&str] = &["gpu", "model", "cost"];
const GPU: &[&str] = &[
    "name",
    "aliases",
    "memory_mib",
    "memory_gb_per_s",
    "bf16_tflops",
    "link_gb_per_s",
    "like",
    "sources",
];
const MODEL: &[&str] = &[
    "name",
    "aliases",
    "layers",
    "kv_heads",
    "head_dim",
    "kv_bytes",
    "weights_gib",
    "context_length",
    "experts",
    "window",
    "shape",
    "sources",
];
/// Tables inside a model, and their keys.
const INNER: &[(&str, &[&str])] = &[
    ("experts", &["active", "total"]),
    ("window", &["tokens", "layers"]),
    (
        "shape",
        &[
            "hidden",
            "heads",
            "ffn",
            "vocab",
            "weight_bits",
            "expert_bits",
        ],
    ),
];
const COST: &[&str] = &[
    "model",
    "gpu",
    "evidence",
    "includes_host",
    "p0",
    "p1",
    "p2",
    "d0",
    "e",
    "d1",
    "d2",
];

/// Reads a text. `origin` is its name in errors.
pub(super) fn parse(origin: &str, text: &str) -> Result<File, SpecError> {
    let syntax = |source| SpecError::Syntax {
        origin: origin.into(),
        source: Box::new(source),
    };
    let root = DeTable::parse(text).map_err(syntax)?;
    let keys = Keys { origin, text };
    keys.check("the file", root.get_ref(), TABLES)?;
    for (table, known) in [("gpu", GPU), ("model", MODEL), ("cost", COST)] {
        let entries = root
            .get_ref()
            .get(table)
            .and_then(|v| v.get_ref().as_array());
        for entry in entries.into_iter().flatten() {
            if let DeValue::Table(entry) = entry.get_ref() {
                keys.check(table, entry, known)?;
                for (name, known) in INNER {
                    if let Some(DeValue::Table(inner)) = entry.get(*name).map(Spanned::get_ref) {
                        keys.check(name, inner, known)?;
                    }
                }
            }
        }
    }
    toml::from_str(text).map_err(syntax)
}

struct Keys<'a> {
    origin: &'a str,
    text: &'a str,
}

impl Keys<'_> {
    fn check(&self, table: &str, entries: &DeTable<'_>, known: &[&str]) -> Result<(), SpecError> {
        // In order of the text, so that the first mistake is the one reported.
        let unknown = entries
            .keys()
            .filter(|key| !known.contains(&key.get_ref().as_ref()))
            .min_by_key(|key| key.span().start);
        let Some(key) = unknown else { return Ok(()) };
        let before = self.text.get(..key.span().start).unwrap_or_default();
        Err(SpecError::UnknownKey {
            origin: self.origin.into(),
            line: before.matches('\n').count() + 1,
            table: table.into(),
            key: key.get_ref().as_ref().into(),
            nearest: nearest(key.get_ref(), known.iter().copied()),
            known: list(known.iter().copied()),
        })
    }
}
