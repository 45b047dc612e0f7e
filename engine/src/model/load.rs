//! Loads a model from wherever it is.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::error::LoadError;
use super::random_model::RandomModel;
use super::weights::Weights;
use super::{gguf, safetensors};

impl Weights {
    /// Loads a model: a GGUF file, a safetensors file beside its `config.json`, or a folder with either.
    /// What a file is, its first bytes tell, not its name.
    ///
    /// The file is mapped while it is read; it must not be cut or rewritten meanwhile.
    ///
    /// # Errors
    /// [`LoadError`] names the file, the field or tensor, and what was found and wanted.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        if path.is_dir() {
            return Self::load_folder(path);
        }
        let mut start = [0; 9];
        let mut file = File::open(path).map_err(|e| LoadError::io(path, e))?;
        let mut have = 0;
        while have < start.len() {
            match file.read(&mut start[have..]) {
                Ok(0) => break,
                Ok(n) => have += n,
                Err(e) => return Err(LoadError::io(path, e)),
            }
        }
        match &start[..have] {
            [b'G', b'G', b'U', b'F', ..] => gguf::load(path),
            // The length of the header, then the header: a JSON object.
            [_, _, _, _, _, _, _, _, b'{'] => safetensors::load(path),
            _ => Err(LoadError::file(
                path,
                "is neither a GGUF file (which begins with GGUF) nor a safetensors file",
            )),
        }
    }

    /// Loads a model, or makes one: `random:SHAPE` and `random:SHAPE:SEED` are a [`RandomModel`], everything
    /// else is a path.
    ///
    /// # Errors
    /// As [`Weights::load`]; and for a shape or seed that is none.
    pub fn open(name: &str) -> Result<Self, LoadError> {
        match RandomModel::named(name)? {
            Some(model) => Ok(model.weights()),
            None => Self::load(Path::new(name)),
        }
    }

    fn load_folder(path: &Path) -> Result<Self, LoadError> {
        if path.join("config.json").exists() {
            return safetensors::load(path);
        }
        let entries = path.read_dir().map_err(|e| LoadError::io(path, e))?;
        let mut found = Vec::new();
        for entry in entries {
            let file = entry.map_err(|e| LoadError::io(path, e))?.path();
            if file.extension().is_some_and(|end| end == "gguf") {
                found.push(file);
            }
        }
        match &found[..] {
            [one] => gguf::load(one),
            [] => Err(LoadError::file(
                path,
                "has neither config.json (with safetensors) nor a .gguf file",
            )),
            many => Err(LoadError::file(
                path,
                format!("has {} .gguf files: name the one to load", many.len()),
            )),
        }
    }
}
