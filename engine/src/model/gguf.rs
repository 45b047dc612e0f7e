//! Models from GGUF files, as llama.cpp writes them.
//!
//! What: Llama, Qwen2, Qwen3 and Qwen3-MoE. Quantised matrices stay as they are; floats become vectors.
//! Why: a GGUF file of the Llama family has the rows of queries and keys in an order of its own (pairs
//! side by side). Rows go back to the canonical order here. Blocks of a quantisation lie within a row,
//! so that is a move of bytes and loses nothing.
//! Limits: no yarn scaling of the rotation, no experts that all tokens share. The file must not change
//! while it is read.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use half::{bf16, f16};
use memmap2::Mmap;

use super::assemble::{Source, assemble};
use super::config::{ModelConfig, Moe};
use super::error::LoadError;
use super::header::{GgufHeader, GgufTensor, GgufValue};
use super::names::GGUF;
use super::weights::{Matrix, Values, Weights};

/// Loads a model from a GGUF file.
///
/// # Errors
/// [`LoadError`] names the file, the field or tensor, and what was found and wanted.
pub(super) fn load(path: &Path) -> Result<Weights, LoadError> {
    let map = map(path)?;
    let header = GgufHeader::read(&map).map_err(|what| LoadError::file(path, what))?;
    let file = Gguf {
        path: path.to_owned(),
        map,
        header,
    };
    let (config, interleaved) = file.config()?;
    let source = Rows { file, interleaved };
    assemble(&source, &GGUF, config)
}

/// Maps a file read-only.
#[allow(
    unsafe_code,
    reason = "a mapping is only as constant as the file below it"
)]
pub(super) fn map(path: &Path) -> Result<Mmap, LoadError> {
    let file = File::open(path).map_err(|e| LoadError::io(path, e))?;
    let about = file.metadata().map_err(|e| LoadError::io(path, e))?;
    if !about.is_file() {
        return Err(LoadError::file(path, "is not a file"));
    }
    if about.len() == 0 {
        return Err(LoadError::file(path, "is empty"));
    }
    // SAFETY: the mapping is private to the loaders, read-only, and dropped when loading ends; all
    // reads are bounds-checked slices. As for every user of a mapping, the file must not be cut or
    // rewritten meanwhile; the documentation of the loaders says so.
    unsafe { Mmap::map(&file) }.map_err(|e| LoadError::io(path, e))
}

struct Gguf {
    path: PathBuf,
    map: Mmap,
    header: GgufHeader,
}

/// How a number of the header names a storage type.
fn storage(kind: u32) -> Option<GgmlDType> {
    Some(match kind {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}

impl Gguf {
    fn missing(&self, key: &str, wanted: &str) -> LoadError {
        LoadError::field(&self.path, key, "missing", wanted)
    }

    fn int(&self, key: &str) -> Result<Option<usize>, LoadError> {
        let wanted = "an integer of at least 0";
        match self.header.metadata.get(key) {
            None => Ok(None),
            Some(GgufValue::Int(n)) => match usize::try_from(*n) {
                Ok(n) => Ok(Some(n)),
                Err(_) => Err(LoadError::field(&self.path, key, n, wanted)),
            },
            Some(other) => Err(LoadError::field(
                &self.path,
                key,
                format!("{other:?}"),
                wanted,
            )),
        }
    }

    fn float(&self, key: &str) -> Result<Option<f32>, LoadError> {
        match self.header.metadata.get(key) {
            None => Ok(None),
            #[expect(clippy::cast_possible_truncation, reason = "written as 32 bits")]
            Some(GgufValue::Float(x)) => Ok(Some(*x as f32)),
            Some(other) => Err(LoadError::field(
                &self.path,
                key,
                format!("{other:?}"),
                "a number",
            )),
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        match self.header.metadata.get(key) {
            Some(GgufValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The shape that the header tells, and whether rotary pairs lie side by side.
    fn config(&self) -> Result<(ModelConfig, bool), LoadError> {
        let arch = "general.architecture";
        let known = "llama, qwen2, qwen3 or qwen3moe";
        let name = self.text(arch).ok_or_else(|| self.missing(arch, known))?;
        if !["llama", "qwen2", "qwen3", "qwen3moe"].contains(&name) {
            return Err(LoadError::field(&self.path, arch, name, known));
        }
        let key = |field: &str| format!("{name}.{field}");
        let need = |field: &str| {
            let key = key(field);
            self.int(&key)?
                .ok_or_else(|| self.missing(&key, "a number of at least 1"))
        };
        let hidden = need("embedding_length")?;
        let heads = need("attention.head_count")?;
        let kv_heads = self.int(&key("attention.head_count_kv"))?.unwrap_or(heads);
        let head_dim = match self.int(&key("attention.key_length"))? {
            Some(width) => width,
            None => hidden / heads.max(1),
        };
        for field in ["attention.value_length", "rope.dimension_count"] {
            if let Some(width) = self.int(&key(field))?.filter(|w| *w != head_dim) {
                let wanted = format!("the width of a head, {head_dim}");
                return Err(LoadError::field(&self.path, key(field), width, wanted));
            }
        }
        let embedding = self.shape(GGUF.embedding)?;
        let moe = self.moe(name)?;
        let dense = moe.is_none() || self.has_layer_tensor(GGUF.ffn[0]);
        let config = ModelConfig {
            architecture: name.to_owned(),
            hidden,
            layers: need("block_count")?,
            heads,
            kv_heads,
            head_dim,
            ff: if dense {
                need("feed_forward_length")?
            } else {
                0
            },
            vocabulary: embedding[0],
            norm_eps: {
                let key = key("attention.layer_norm_rms_epsilon");
                let eps = self.float(&key)?;
                eps.ok_or_else(|| self.missing(&key, "a small number above 0"))?
            },
            rope_theta: self.float(&key("rope.freq_base"))?.unwrap_or(10_000.0),
            rope_factors: self.rope_factors(name, head_dim)?,
            qk_norm: self.has_layer_tensor(GGUF.qk_norm[0]),
            qkv_bias: self.has_layer_tensor(&format!("{}.bias", GGUF.qkv[0])),
            tied: !self.header.tensors.contains_key(GGUF.head),
            moe,
            context_length: need("context_length")?,
        };
        config
            .check()
            .map_err(|bad| LoadError::field(&self.path, bad.field, bad.value, bad.wanted))?;
        Ok((config, name == "llama"))
    }

    fn moe(&self, name: &str) -> Result<Option<Moe>, LoadError> {
        let key = |field: &str| format!("{name}.{field}");
        let experts = self.int(&key("expert_count"))?.unwrap_or(0);
        if name != "qwen3moe" {
            return match experts {
                0 => Ok(None),
                n => Err(LoadError::field(
                    &self.path,
                    key("expert_count"),
                    n,
                    "none: only qwen3moe models have experts here",
                )),
            };
        }
        let need = |field: &str| {
            let key = key(field);
            self.int(&key)?
                .ok_or_else(|| self.missing(&key, "a number of at least 1"))
        };
        Ok(Some(Moe {
            experts,
            active: need("expert_used_count")?,
            ff: need("expert_feed_forward_length")?,
            // The file does not say; the models of this architecture do.
            normalise: true,
        }))
    }

    fn rope_factors(&self, name: &str, head_dim: usize) -> Result<Vec<f32>, LoadError> {
        let scaling = format!("{name}.rope.scaling.type");
        match self.text(&scaling) {
            None | Some("none") => {}
            Some("linear") => {
                let key = format!("{name}.rope.scaling.factor");
                let factor = self.float(&key)?;
                let factor = factor.ok_or_else(|| self.missing(&key, "a number above 0"))?;
                return Ok(vec![factor; head_dim / 2]);
            }
            Some(other) => {
                return Err(LoadError::field(
                    &self.path,
                    scaling,
                    other,
                    "none or linear",
                ));
            }
        }
        if self.header.tensors.contains_key("rope_freqs.weight") {
            return self.vector("rope_freqs.weight", head_dim / 2);
        }
        Ok(Vec::new())
    }

    fn has_layer_tensor(&self, name: &str) -> bool {
        let mut names = self.header.tensors.keys();
        names.any(|n| {
            n.strip_prefix(GGUF.layer)
                .and_then(|n| n.split_once('.'))
                .is_some_and(|(_, n)| n == name)
        })
    }

    fn find(&self, name: &str, wanted: &str) -> Result<&GgufTensor, LoadError> {
        let tensor = self.header.tensors.get(name);
        tensor.ok_or_else(|| LoadError::tensor(&self.path, name, "missing", wanted))
    }

    fn shape(&self, name: &str) -> Result<&[usize], LoadError> {
        Ok(&self.find(name, "there")?.shape)
    }

    /// The bytes of a tensor of exactly this shape, and how they are stored.
    fn bytes(&self, name: &str, shape: &[usize]) -> Result<(&[u8], GgmlDType), LoadError> {
        let wanted = format!("of shape {shape:?}");
        let tensor = self.find(name, &wanted)?;
        let bad =
            |found: String, wanted: String| Err(LoadError::tensor(&self.path, name, found, wanted));
        if tensor.shape != shape {
            return bad(format!("of shape {:?}", tensor.shape), wanted);
        }
        let Some(storage) = storage(tensor.kind) else {
            return bad(
                format!("of storage type {}", tensor.kind),
                "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 or Q2_K to Q6_K; convert the file to one \
                 of these"
                    .into(),
            );
        };
        let cols = shape[shape.len() - 1];
        let block = storage.block_size();
        if !cols.is_multiple_of(block) {
            return bad(
                format!("{storage:?} with rows of {cols}"),
                format!("rows of whole blocks of {block}"),
            );
        }
        // The header bounds the number of elements by the length of the file.
        let len = shape.iter().product::<usize>() / block * storage.type_size();
        match self.map.get(tensor.start..tensor.start.saturating_add(len)) {
            Some(bytes) => Ok((bytes, storage)),
            None => bad(
                format!("{len} bytes from byte {}", tensor.start),
                format!("within the file of {} bytes: it is cut off", self.map.len()),
            ),
        }
    }

    fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        let (bytes, storage) = self.bytes(name, &[len])?;
        let matrix = self.values(name, bytes, storage, 1, len)?;
        matrix.to_f32().map_err(|e| self.candle(name, &e))
    }

    fn values(
        &self,
        name: &str,
        bytes: &[u8],
        storage: GgmlDType,
        rows: usize,
        cols: usize,
    ) -> Result<Matrix, LoadError> {
        let values = match storage {
            GgmlDType::F32 => Values::F32(floats(bytes, f32::from_le_bytes)),
            GgmlDType::F16 => Values::F16(floats(bytes, f16::from_le_bytes)),
            GgmlDType::BF16 => Values::Bf16(floats(bytes, bf16::from_le_bytes)),
            _ => Values::Quantised(Arc::new(
                quantised(bytes, storage, rows, cols).map_err(|e| self.candle(name, &e))?,
            )),
        };
        Ok(Matrix { rows, cols, values })
    }

    fn candle(&self, name: &str, error: &candle_core::Error) -> LoadError {
        LoadError::tensor(&self.path, name, "refused", format!("not so: {error}"))
    }
}

/// Little-endian floats of `N` bytes.
pub(super) fn floats<const N: usize, T>(bytes: &[u8], read: fn([u8; N]) -> T) -> Vec<T> {
    let chunks = bytes.chunks_exact(N);
    chunks
        .map(|x| read(x.try_into().expect("exact chunks")))
        .collect()
}

fn quantised(
    bytes: &[u8],
    storage: GgmlDType,
    rows: usize,
    cols: usize,
) -> Result<QTensor, candle_core::Error> {
    // Candle reads the bytes in place as blocks; those want an aligned address.
    let aligned = align(bytes);
    let (buffer, from) = &aligned;
    let bytes = &buffer[*from..*from + bytes.len()];
    let storage = QStorage::from_data(Cow::Borrowed(bytes), &Device::Cpu, storage)?;
    QTensor::new(storage, (rows, cols))
}

/// The bytes at an address that every kind of block may have, copied if need be.
fn align(bytes: &[u8]) -> (Cow<'_, [u8]>, usize) {
    if bytes.as_ptr().align_offset(8) == 0 {
        return (Cow::Borrowed(bytes), 0);
    }
    let mut copy = vec![0; bytes.len() + 8];
    let from = copy.as_ptr().align_offset(8);
    copy[from..from + bytes.len()].copy_from_slice(bytes);
    (Cow::Owned(copy), from)
}

/// The tensors of a file, with or without the Llama order of query and key rows.
struct Rows {
    file: Gguf,
    interleaved: bool,
}

/// Row of the file for each canonical row: pair `i` of a head is rows `2i` and `2i + 1` there.
fn file_row(row: usize, head_dim: usize) -> usize {
    let (head, within) = (row / head_dim, row % head_dim);
    let (half, pair) = (within / (head_dim / 2), within % (head_dim / 2));
    head * head_dim + 2 * pair + half
}

fn permuted<T: Copy>(values: &[T], width: usize, head_dim: usize) -> Vec<T> {
    let rows = values.len() / width;
    let moved = (0..rows).map(|row| {
        let from = file_row(row, head_dim) * width;
        &values[from..from + width]
    });
    moved.flatten().copied().collect()
}

impl Source for Rows {
    fn path(&self) -> &Path {
        &self.file.path
    }

    fn names(&self) -> BTreeSet<String> {
        self.file.header.tensors.keys().cloned().collect()
    }

    fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Matrix, LoadError> {
        let (bytes, storage) = self.file.bytes(name, &[rows, cols])?;
        self.file.values(name, bytes, storage, rows, cols)
    }

    fn experts(
        &self,
        name: &str,
        count: usize,
        rows: usize,
        cols: usize,
    ) -> Result<Vec<Matrix>, LoadError> {
        let (bytes, storage) = self.file.bytes(name, &[count, rows, cols])?;
        let each = bytes.chunks_exact(bytes.len() / count);
        each.map(|bytes| self.file.values(name, bytes, storage, rows, cols))
            .collect()
    }

    fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        self.file.vector(name, len)
    }

    fn canonical_rows(&self, matrix: Matrix, head_dim: usize) -> Result<Matrix, LoadError> {
        if !self.interleaved {
            return Ok(matrix);
        }
        let Matrix { rows, cols, values } = matrix;
        let values = match values {
            Values::F32(v) => Values::F32(permuted(&v, cols, head_dim)),
            Values::F16(v) => Values::F16(permuted(&v, cols, head_dim)),
            Values::Bf16(v) => Values::Bf16(permuted(&v, cols, head_dim)),
            Values::Quantised(q) => {
                let moved = q.data().and_then(|bytes| {
                    let row = bytes.len() / rows;
                    quantised(&permuted(&bytes, row, head_dim), q.dtype(), rows, cols)
                });
                let moved = moved.map_err(|e| self.file.candle("of queries or keys", &e))?;
                Values::Quantised(Arc::new(moved))
            }
        };
        Ok(Matrix { rows, cols, values })
    }

    fn canonical_bias(&self, bias: Vec<f32>, head_dim: usize) -> Vec<f32> {
        if self.interleaved {
            permuted(&bias, 1, head_dim)
        } else {
            bias
        }
    }
}
