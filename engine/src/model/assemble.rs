//! Puts a model together from a file's tensors, whatever the file calls them.

use std::collections::BTreeSet;
use std::path::Path;

use super::config::{ModelConfig, Moe};
use super::error::LoadError;
use super::names::Names;
use super::weights::{Ffn, FfnDense, Layer, Matrix, Weights};

/// Tensors by name, each of the shape that is asked for or an error.
pub(super) trait Source {
    /// The file, for errors.
    fn path(&self) -> &Path;

    /// Names of all tensors.
    fn names(&self) -> BTreeSet<String>;

    /// A matrix of `[rows, cols]`.
    fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Matrix, LoadError>;

    /// The matrices `[rows, cols]` of so many experts.
    fn experts(
        &self,
        name: &str,
        count: usize,
        rows: usize,
        cols: usize,
    ) -> Result<Vec<Matrix>, LoadError>;

    /// A vector of `[len]`, as 32-bit floats.
    fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, LoadError>;

    /// Brings rows of queries or keys, and their biases, to the canonical rotary pairs.
    fn canonical_rows(&self, matrix: Matrix, head_dim: usize) -> Result<Matrix, LoadError>;

    /// The same for a bias.
    fn canonical_bias(&self, bias: Vec<f32>, head_dim: usize) -> Vec<f32>;
}

/// The model of `config` from a file's tensors.
///
/// # Errors
/// [`LoadError`] names the tensor that is missing, that has another shape or type, or that this
/// architecture does not have: to leave that out would give another model's answers.
pub(super) fn assemble(
    source: &dyn Source,
    names: &Names,
    config: ModelConfig,
) -> Result<Weights, LoadError> {
    let mut build = Builder {
        source,
        names,
        unused: source.names(),
    };
    let (hidden, vocabulary) = (config.hidden, config.vocabulary);
    let embedding = build.matrix(names.embedding, vocabulary, hidden)?;
    let norm = build.vector(names.norm, hidden)?;
    let head = if config.tied {
        build.unused.remove(names.head);
        None
    } else {
        Some(build.matrix(names.head, vocabulary, hidden)?)
    };
    let layers = (0..config.layers).map(|layer| build.layer(&config, layer));
    let layers = layers.collect::<Result<Vec<_>, _>>()?;
    build.nothing_is_left(&config)?;
    Ok(Weights {
        config,
        embedding,
        layers,
        norm,
        head,
    })
}

struct Builder<'a> {
    source: &'a dyn Source,
    names: &'a Names,
    unused: BTreeSet<String>,
}

impl Builder<'_> {
    fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Result<Matrix, LoadError> {
        self.unused.remove(name);
        self.source.matrix(name, rows, cols)
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        self.unused.remove(name);
        self.source.vector(name, len)
    }

    fn layer(&mut self, config: &ModelConfig, layer: usize) -> Result<Layer, LoadError> {
        let names = self.names;
        let of = |name: &str| format!("{}{layer}.{name}", names.layer);
        let weight = |name: &str| of(&format!("{name}.weight"));
        let bias = |name: &str| of(&format!("{name}.bias"));
        let (hidden, head_dim) = (config.hidden, config.head_dim);
        let query = config.heads * head_dim;
        let key = config.kv_heads * head_dim;
        let [q, k, v] = names.qkv;
        let source = self.source;
        Ok(Layer {
            attn_norm: self.vector(&of(names.attn_norm), hidden)?,
            q: source.canonical_rows(self.matrix(&weight(q), query, hidden)?, head_dim)?,
            k: source.canonical_rows(self.matrix(&weight(k), key, hidden)?, head_dim)?,
            v: self.matrix(&weight(v), key, hidden)?,
            qkv_bias: if config.qkv_bias {
                Some([
                    source.canonical_bias(self.vector(&bias(q), query)?, head_dim),
                    source.canonical_bias(self.vector(&bias(k), key)?, head_dim),
                    self.vector(&bias(v), key)?,
                ])
            } else {
                None
            },
            qk_norm: if config.qk_norm {
                let [q, k] = names.qk_norm;
                Some([
                    self.vector(&of(q), head_dim)?,
                    self.vector(&of(k), head_dim)?,
                ])
            } else {
                None
            },
            o: self.matrix(&of(names.o), hidden, query)?,
            ffn_norm: self.vector(&of(names.ffn_norm), hidden)?,
            ffn: match &config.moe {
                // A model with experts may have dense layers between; those have no router.
                Some(moe) if config.ff == 0 || self.unused.contains(&of(names.router)) => {
                    self.experts(moe, hidden, &of)?
                }
                _ => self.dense(config.ff, hidden, &of)?,
            },
        })
    }

    fn dense(
        &mut self,
        ff: usize,
        hidden: usize,
        of: &dyn Fn(&str) -> String,
    ) -> Result<Ffn, LoadError> {
        let [gate, up, down] = self.names.ffn;
        Ok(Ffn::Dense(FfnDense {
            gate: self.matrix(&of(gate), ff, hidden)?,
            up: self.matrix(&of(up), ff, hidden)?,
            down: self.matrix(&of(down), hidden, ff)?,
        }))
    }

    fn experts(
        &mut self,
        moe: &Moe,
        hidden: usize,
        of: &dyn Fn(&str) -> String,
    ) -> Result<Ffn, LoadError> {
        let [gate, up, down] = self.names.experts;
        let shapes = [
            (gate, moe.ff, hidden),
            (up, moe.ff, hidden),
            (down, hidden, moe.ff),
        ];
        let mut parts = Vec::with_capacity(3);
        for (name, rows, cols) in shapes {
            let name = of(name);
            self.unused.remove(&name);
            for expert in 0..moe.experts {
                self.unused.remove(&name.replace("{}", &expert.to_string()));
            }
            parts.push(
                self.source
                    .experts(&name, moe.experts, rows, cols)?
                    .into_iter(),
            );
        }
        let router = self.matrix(&of(self.names.router), moe.experts, hidden)?;
        let mut experts = Vec::with_capacity(moe.experts);
        while let [Some(gate), Some(up), Some(down)] =
            [parts[0].next(), parts[1].next(), parts[2].next()]
        {
            experts.push(FfnDense { gate, up, down });
        }
        Ok(Ffn::Moe { router, experts })
    }

    fn nothing_is_left(&self, config: &ModelConfig) -> Result<(), LoadError> {
        let redundant = |name: &str| self.names.redundant.iter().any(|end| name.ends_with(end));
        match self.unused.iter().find(|name| !redundant(name)) {
            None => Ok(()),
            Some(name) => Err(LoadError::tensor(
                self.source.path(),
                name,
                "in the file",
                format!(
                    "only tensors of a {} model with {} layers; with this one it is another model",
                    config.architecture, config.layers
                ),
            )),
        }
    }
}
