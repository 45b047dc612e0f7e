//! Models from safetensors files beside a `config.json`, as transformers writes them.
//!
//! What: one file, or shards with an index; 32-bit, brain and half floats. Files are mapped into memory
//! and read once, tensor by tensor.
//! Limits: no quantised safetensors. The files must not change while they are read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ::safetensors::{Dtype, SafeTensors};
use half::{bf16, f16};
use memmap2::Mmap;
use serde_json::Value;

use super::assemble::{Source, assemble};
use super::error::LoadError;
use super::gguf::{floats, map};
use super::hf_config;
use super::names::HUGGING_FACE;
use super::weights::{Matrix, Values, Weights};

/// Loads a model from a folder with `config.json` and `model.safetensors`, or with the shards that
/// `model.safetensors.index.json` lists; or from one `.safetensors` file in such a folder.
///
/// # Errors
/// [`LoadError`] names the file, the field or tensor, and what was found and wanted.
pub(super) fn load(path: &Path) -> Result<Weights, LoadError> {
    let (folder, files) = files(path)?;
    let mut shards = Shards {
        folder: folder.clone(),
        files: Vec::new(),
        tensors: BTreeMap::new(),
    };
    for file in files {
        shards.add(file)?;
    }
    let bias = format!("{}0.{}.bias", HUGGING_FACE.layer, HUGGING_FACE.qkv[0]);
    let has_bias = shards.tensors.contains_key(&bias);
    let config = hf_config::read(&folder.join("config.json"), has_bias)?;
    assemble(&shards, &HUGGING_FACE, config)
}

/// The folder of the model, and the files of its tensors.
fn files(path: &Path) -> Result<(PathBuf, Vec<PathBuf>), LoadError> {
    if !path.is_dir() {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        return Ok((folder, vec![path.to_owned()]));
    }
    let single = path.join("model.safetensors");
    let index = path.join("model.safetensors.index.json");
    if single.exists() || !index.exists() {
        return Ok((path.to_owned(), vec![single]));
    }
    let text = std::fs::read(&index).map_err(|e| LoadError::io(&index, e))?;
    let json: Value = serde_json::from_slice(&text)
        .map_err(|e| LoadError::file(&index, format!("is no index of shards: {e}")))?;
    let wanted = "an object of tensor names and names of files in the same folder";
    let bad = |value: &Value| LoadError::field(&index, "weight_map", value, wanted);
    let listed = json.get("weight_map").unwrap_or(&Value::Null);
    let mut shards = BTreeSet::new();
    for shard in listed.as_object().ok_or_else(|| bad(listed))?.values() {
        let name = shard.as_str().ok_or_else(|| bad(shard))?;
        if Path::new(name).file_name() != Some(name.as_ref()) {
            return Err(bad(shard));
        }
        shards.insert(path.join(name));
    }
    Ok((path.to_owned(), shards.into_iter().collect()))
}

/// Where a tensor lies.
struct Place {
    file: usize,
    kind: Dtype,
    shape: Vec<usize>,
    bytes: std::ops::Range<usize>,
}

struct Shards {
    folder: PathBuf,
    files: Vec<(PathBuf, Mmap)>,
    tensors: BTreeMap<String, Place>,
}

impl Shards {
    fn add(&mut self, path: PathBuf) -> Result<(), LoadError> {
        let map = map(&path)?;
        let fault = |what: String| {
            let what = format!(
                "is no whole safetensors file ({what}): cut off, damaged or another format"
            );
            LoadError::file(&path, what)
        };
        offsets_fit(&map).map_err(fault)?;
        let (header, metadata) =
            SafeTensors::read_metadata(&map).map_err(|e| fault(e.to_string()))?;
        let base = 8 + header;
        for (name, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            let place = Place {
                file: self.files.len(),
                kind: info.dtype,
                shape: info.shape.clone(),
                bytes: base + start..base + end,
            };
            if self.tensors.insert(name.clone(), place).is_some() {
                let wanted = "in one shard only";
                return Err(LoadError::tensor(&path, name, "in two shards", wanted));
            }
        }
        self.files.push((path, map));
        Ok(())
    }

    fn find(&self, name: &str, shape: &[usize]) -> Result<(&Place, &[u8]), LoadError> {
        let wanted = format!("of shape {shape:?}");
        let Some(place) = self.tensors.get(name) else {
            return Err(LoadError::tensor(&self.folder, name, "missing", wanted));
        };
        let (path, map) = &self.files[place.file];
        if place.shape != shape {
            let found = format!("of shape {:?}", place.shape);
            return Err(LoadError::tensor(path, name, found, wanted));
        }
        Ok((place, &map[place.bytes.clone()]))
    }
}

/// The library adds offsets before it compares them with the file's length; numbers near 2^64 would
/// overflow there.
fn offsets_fit(bytes: &[u8]) -> Result<(), String> {
    let too_short = || "the header is cut off".to_owned();
    let (length, rest) = bytes.split_first_chunk().ok_or_else(too_short)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let header = rest.get(..length).ok_or_else(too_short)?;
    let json: BTreeMap<String, Value> =
        serde_json::from_slice(header).map_err(|e| format!("the header is no JSON: {e}"))?;
    for (name, tensor) in &json {
        let offsets = tensor.get("data_offsets").and_then(Value::as_array);
        for offset in offsets.into_iter().flatten() {
            if offset.as_u64().is_none_or(|o| o > bytes.len() as u64) {
                return Err(format!(
                    "tensor {name} has offset {offset} in a file of {} bytes",
                    bytes.len()
                ));
            }
        }
    }
    Ok(())
}

impl Source for Shards {
    fn path(&self) -> &Path {
        &self.folder
    }

    fn names(&self) -> BTreeSet<String> {
        self.tensors.keys().cloned().collect()
    }

    fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Matrix, LoadError> {
        let (place, bytes) = self.find(name, &[rows, cols])?;
        let values = self.values(name, place, bytes)?;
        Ok(Matrix { rows, cols, values })
    }

    fn experts(
        &self,
        name: &str,
        count: usize,
        rows: usize,
        cols: usize,
    ) -> Result<Vec<Matrix>, LoadError> {
        let of = |expert: usize| name.replace("{}", &expert.to_string());
        (0..count)
            .map(|e| self.matrix(&of(e), rows, cols))
            .collect()
    }

    fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        let (place, bytes) = self.find(name, &[len])?;
        Ok(match self.values(name, place, bytes)? {
            Values::F32(v) => v,
            Values::F16(v) => v.iter().map(|x| x.to_f32()).collect(),
            Values::Bf16(v) => v.iter().map(|x| x.to_f32()).collect(),
            Values::Quantised(_) => unreachable!("safetensors are read as floats"),
        })
    }

    fn canonical_rows(&self, matrix: Matrix, _head_dim: usize) -> Result<Matrix, LoadError> {
        Ok(matrix)
    }

    fn canonical_bias(&self, bias: Vec<f32>, _head_dim: usize) -> Vec<f32> {
        bias
    }
}

impl Shards {
    fn values(&self, name: &str, place: &Place, bytes: &[u8]) -> Result<Values, LoadError> {
        Ok(match place.kind {
            Dtype::F32 => Values::F32(floats(bytes, f32::from_le_bytes)),
            Dtype::F16 => Values::F16(floats(bytes, f16::from_le_bytes)),
            Dtype::BF16 => Values::Bf16(floats(bytes, bf16::from_le_bytes)),
            other => {
                let path = &self.files[place.file].0;
                let found = format!("of type {other:?}");
                let wanted = "F32, F16 or BF16; quantised models are read from GGUF";
                return Err(LoadError::tensor(path, name, found, wanted));
            }
        })
    }
}
