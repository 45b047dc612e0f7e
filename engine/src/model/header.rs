//! The header of a GGUF file: its metadata, and where its tensors lie.
//!
//! What: reads versions 2 and 3 from the bytes of the whole file; little-endian.
//! Why: a model file comes from elsewhere and may be cut off or damaged. Each length is held against
//! what is left of the file before anything is allocated, so a bad file is an error with its place.
//! Limits: big-endian files and version 1 are refused.
//! Source: the format description at <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::LoadError;
use super::gguf::map;

/// A metadata value. Integers of all widths are one kind.
#[derive(Clone, Debug, PartialEq)]
pub enum GgufValue {
    /// Any integer.
    Int(i128),
    /// Either float.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// Text; bytes that are no UTF-8 are replaced.
    Text(String),
    /// Values of one kind.
    Array(Vec<GgufValue>),
}

/// Where a tensor lies and how it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufTensor {
    /// Sizes, outermost first (the file has them innermost first).
    pub shape: Vec<usize>,
    /// Number of its storage type.
    pub kind: u32,
    /// Where it begins, bytes from the start of the file.
    pub start: usize,
}

/// Everything before the tensors' values.
#[derive(Clone, Debug, Default)]
pub struct GgufHeader {
    /// Metadata by key.
    pub metadata: BTreeMap<String, GgufValue>,
    /// Tensors by name.
    pub tensors: BTreeMap<String, GgufTensor>,
}

/// No array of a real file is near this long; it bounds memory where a file lies.
const MOST_ELEMENTS: u64 = 1 << 24;
/// Arrays of arrays nest no deeper.
const MOST_DEPTH: usize = 8;

impl GgufHeader {
    /// Reads the header of a file. The file must not be cut or rewritten meanwhile.
    ///
    /// # Errors
    /// [`LoadError`] names the file, what is wrong and at which byte.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        Self::read(&map(path)?).map_err(|what| LoadError::file(path, what))
    }

    /// Reads the header from the bytes of the file.
    ///
    /// # Errors
    /// What is wrong and at which byte.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut cursor = Cursor { bytes, at: 0 };
        if cursor.take(4).ok() != Some(b"GGUF") {
            return Err("does not begin with GGUF: this is no GGUF file".into());
        }
        let version = cursor.u32()?;
        if !(2..=3).contains(&version) {
            return Err(format!("has GGUF version {version}; 2 and 3 can be read"));
        }
        let tensors = cursor.count("tensors", 24)?;
        let values = cursor.count("metadata values", 13)?;
        let mut header = Self::default();
        for _ in 0..values {
            let key = cursor.text()?;
            let kind = cursor.u32()?;
            let value = cursor.value(kind, 0)?;
            header.metadata.insert(key, value);
        }
        let mut relative = Vec::new();
        for _ in 0..tensors {
            relative.push(cursor.tensor()?);
        }
        let alignment = match header.metadata.get("general.alignment") {
            None => Some(32),
            Some(GgufValue::Int(n)) => usize::try_from(*n).ok(),
            Some(_) => None,
        };
        let possible = |n: &usize| (8..=1 << 20).contains(n) && n.is_multiple_of(8);
        let Some(alignment) = alignment.filter(possible) else {
            let found = &header.metadata["general.alignment"];
            return Err(format!(
                "general.alignment is {found:?}; wanted: a multiple of 8 up to 2^20"
            ));
        };
        let base = cursor.at.next_multiple_of(alignment);
        for (name, mut tensor, offset) in relative {
            let start = usize::try_from(offset)
                .ok()
                .and_then(|o| o.checked_add(base));
            let Some(start) = start.filter(|s| *s <= bytes.len() && s.is_multiple_of(8)) else {
                return Err(format!(
                    "tensor {name} begins at offset {offset}, outside the file of {} bytes or not on a \
                     multiple of 8: the file is cut off or damaged",
                    bytes.len()
                ));
            };
            tensor.start = start;
            if header.tensors.insert(name.clone(), tensor).is_some() {
                return Err(format!("has tensor {name} twice"));
            }
        }
        Ok(header)
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.at..];
        if n > rest.len() {
            return Err(format!(
                "the header needs {n} bytes at byte {} and {} are left: the file is cut off or damaged",
                self.at,
                rest.len()
            ));
        }
        self.at += n;
        Ok(&rest[..n])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("as many as asked for"))
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of things of at least `smallest` bytes each.
    fn count(&mut self, what: &str, smallest: u64) -> Result<u64, String> {
        let at = self.at;
        let n = self.u64()?;
        let left = (self.bytes.len() - self.at) as u64;
        if n > MOST_ELEMENTS || n * smallest > left {
            return Err(format!(
                "says at byte {at} that {n} {what} follow, more than fit the {left} bytes left or the \
                 limit of {MOST_ELEMENTS}: the file is cut off or damaged"
            ));
        }
        Ok(n)
    }

    fn text(&mut self) -> Result<String, String> {
        let n = self.u64()?;
        // More than the address space is more than is left, too.
        let bytes = self.take(usize::try_from(n).unwrap_or(usize::MAX))?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    fn value(&mut self, kind: u32, depth: usize) -> Result<GgufValue, String> {
        let at = self.at;
        Ok(match kind {
            0 => GgufValue::Int(u8::from_le_bytes(self.array()?).into()),
            1 => GgufValue::Int(i8::from_le_bytes(self.array()?).into()),
            2 => GgufValue::Int(u16::from_le_bytes(self.array()?).into()),
            3 => GgufValue::Int(i16::from_le_bytes(self.array()?).into()),
            4 => GgufValue::Int(u32::from_le_bytes(self.array()?).into()),
            5 => GgufValue::Int(i32::from_le_bytes(self.array()?).into()),
            6 => GgufValue::Float(f32::from_le_bytes(self.array()?).into()),
            7 => match self.array::<1>()? {
                [0] => GgufValue::Bool(false),
                [1] => GgufValue::Bool(true),
                [n] => return Err(format!("has truth value {n} at byte {at}; wanted: 0 or 1")),
            },
            8 => GgufValue::Text(self.text()?),
            9 if depth < MOST_DEPTH => {
                let kind = self.u32()?;
                let smallest = match kind {
                    0 | 1 | 7 => 1,
                    2 | 3 => 2,
                    4..=6 => 4,
                    _ => 8,
                };
                let n = self.count("array elements", smallest)?;
                let elements = (0..n).map(|_| self.value(kind, depth + 1));
                GgufValue::Array(elements.collect::<Result<_, _>>()?)
            }
            9 => {
                return Err(format!(
                    "nests arrays deeper than {MOST_DEPTH} at byte {at}"
                ));
            }
            10 => GgufValue::Int(self.u64()?.into()),
            11 => GgufValue::Int(i64::from_le_bytes(self.array()?).into()),
            12 => GgufValue::Float(f64::from_le_bytes(self.array()?)),
            _ => return Err(format!("has unknown value type {kind} before byte {at}")),
        })
    }

    fn tensor(&mut self) -> Result<(String, GgufTensor, u64), String> {
        let name = self.text()?;
        let at = self.at;
        let dims = self.u32()?;
        if !(1..=4).contains(&dims) {
            return Err(format!(
                "says at byte {at} that tensor {name} has {dims} dimensions; wanted: 1 to 4"
            ));
        }
        let mut shape = Vec::new();
        let mut elements = 1usize;
        for _ in 0..dims {
            let n = self.u64()?;
            let size = usize::try_from(n).ok().filter(|n| *n > 0);
            // Less than a bit a value there is not, so more than this cannot be in the file.
            let most = self.bytes.len().saturating_mul(8);
            let grown = size.and_then(|size| Some((size, elements.checked_mul(size)?)));
            let Some((size, product)) = grown.filter(|(_, product)| *product <= most) else {
                return Err(format!(
                    "says at byte {at} that tensor {name} has a dimension of {n}, more than the file \
                     can hold: it is cut off or damaged"
                ));
            };
            elements = product;
            shape.insert(0, size);
        }
        let kind = self.u32()?;
        let offset = self.u64()?;
        let start = 0; // Set once the header's length is known.
        Ok((name, GgufTensor { shape, kind, start }, offset))
    }
}
