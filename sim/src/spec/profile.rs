//! From the files of a profile to a cost model.

use super::error::SpecError;
use super::roofline::ALL_REDUCE_LATENCY_S;
use super::{GpuSpec, ModelSpec};
use crate::cost::{
    Assembly, Declared, Host, Named, Profile, ProfileError, Space, Tables, default_graphs,
};

/// The texts of one profile: the tables of a model on a GPU at one degree of tensor parallelism.
#[derive(Clone, Debug, Default)]
pub struct ProfileFiles {
    /// Where they came from, for errors and evidence.
    pub origin: String,
    /// `dense.csv`
    pub dense: String,
    /// `attention.csv`
    pub attention: String,
    /// `per_sequence.csv`
    pub per_sequence: String,
    /// `moe.csv`, for mixtures.
    pub moe: Option<String>,
    /// `meta.yaml`: what was measured, on what, and how uneven contexts cost. Optional.
    pub meta: Option<String>,
    /// Sizes of captured graphs; `None`: those that vLLM captures by default.
    pub graphs: Option<Vec<u64>>,
}

impl ProfileFiles {
    /// The cost model of these tables, with [`Host::TYPICAL`] overhead.
    pub(super) fn build(
        &self,
        gpu: &GpuSpec,
        model: &ModelSpec,
        degree: u32,
    ) -> Result<Profile, SpecError> {
        let refuse = |source: ProfileError| SpecError::Profile {
            model: model.name.as_str().into(),
            gpu: gpu.name.as_str().into(),
            source: Box::new(source),
        };
        let name = |file: &str| format!("{}/{file}", self.origin);
        let (dense, attention) = (name("dense.csv"), name("attention.csv"));
        let (per_sequence, moe) = (name("per_sequence.csv"), name("moe.csv"));
        let tables = Tables {
            dense: Named {
                name: &dense,
                text: &self.dense,
            },
            attention: Named {
                name: &attention,
                text: &self.attention,
            },
            per_sequence: Named {
                name: &per_sequence,
                text: &self.per_sequence,
            },
            moe: self.moe.as_ref().map(|text| Named { name: &moe, text }),
        };
        let meta = match &self.meta {
            Some(text) => Meta::read(&name("meta.yaml"), text, degree)?,
            None => Meta::default(),
        };
        let assembly = Assembly {
            layers: model.layers,
            experts: model.experts.map(|e| (e.active, e.total)),
            skew: meta.skew,
            graphs: self.graphs.clone().unwrap_or_else(default_graphs),
            grid: meta.grid,
            link: link(gpu, model, degree)?,
        };
        Profile::new(&tables, assembly, Host::TYPICAL).map_err(refuse)
    }

    /// What it rests on, in words.
    pub(super) fn evidence(&self, cost: &Profile) -> String {
        let words = |(space, error): (Space, f64)| {
            let how = match space {
                Space::Linear => "linear",
                Space::Log => "logarithmic",
            };
            format!("{how}, {:.1} %", 100.0 * error)
        };
        let [decode, prefill, mixed] = cost.interpolation().map(words);
        format!(
            "measured kernel tables in {}: attention interpolated between points (leave-one-out error: \
             decode {decode}; prefill {prefill}; mixed {mixed}); host overhead and gaps between kernels \
             are not in them",
            self.origin
        )
    }
}

/// All-reduces of a step, which kernel tables do not hold: nanoseconds per step and per token.
fn link(gpu: &GpuSpec, model: &ModelSpec, degree: u32) -> Result<(f64, f64), SpecError> {
    if degree == 1 {
        return Ok((0.0, 0.0));
    }
    let missing = |missing| SpecError::NoRoofline {
        model: model.name.as_str().into(),
        gpu: gpu.name.as_str().into(),
        missing,
    };
    let rate = gpu
        .link_gb_per_s
        .ok_or_else(|| missing("the GPU's `link_gb_per_s`"))?;
    let shape = model.shape.ok_or_else(|| missing("the model's `shape`"))?;
    #[expect(clippy::cast_precision_loss, reason = "at most 1e9, as read")]
    let bytes_per_ns = rate as f64;
    let reduces = 2.0 * f64::from(model.layers);
    let n = f64::from(degree);
    let bytes = f64::from(shape.hidden) * 2.0 * 2.0 * (n - 1.0) / n;
    Ok((
        reduces * ALL_REDUCE_LATENCY_S * 1e9,
        reduces * bytes / bytes_per_ns,
    ))
}

/// The few keys of `meta.yaml` that matter.
#[derive(Debug, Default, PartialEq)]
struct Meta {
    grid: Option<Declared>,
    skew: f64,
}

impl Meta {
    /// Reads `attention_grid` and, of `skew_fit`, the `alpha_default` of this degree. The file is block-style
    /// YAML that a program wrote, two spaces a level, so lines and indentation are enough.
    fn read(origin: &str, text: &str, degree: u32) -> Result<Self, SpecError> {
        let mut path: Vec<(usize, &str)> = Vec::new();
        let (mut chunks, mut decodes, mut contexts) = (None, None, None);
        let mut skew = 0.0;
        let mut fitted = false;
        let degree = degree.to_string();
        for (at, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let Some((key, value)) = line.trim().split_once(':') else {
                continue;
            };
            let value = value.trim();
            path.retain(|(above, _)| *above < indent);
            path.push((indent, key));
            let keys: Vec<&str> = path.iter().map(|(_, key)| *key).collect();
            let bad = |key, wanted| SpecError::ProfileMeta {
                origin: origin.into(),
                line: at + 1,
                key,
                value: value.into(),
                wanted,
            };
            let series = |key| {
                let wanted = "numbers and ranges like `0, 16-2048 x2`";
                series(value).ok_or_else(|| bad(key, wanted)).map(Some)
            };
            match keys.as_slice() {
                ["attention_grid", "chunks"] => chunks = series("chunks")?,
                ["attention_grid", "n_decode"] => decodes = series("n_decode")?,
                ["attention_grid", "kv"] => contexts = series("kv")?,
                ["skew_fit", "enabled"] => fitted = value == "true",
                ["skew_fit", "per_tp", tp, "alpha_default"] if *tp == degree => {
                    let share = value.parse::<f64>().ok().filter(|a| a.abs() <= 1.0);
                    skew = share.ok_or_else(|| bad("alpha_default", "a share, -1 to 1"))?;
                }
                _ => {}
            }
        }
        let grid = match (chunks, decodes, contexts) {
            (Some(chunks), Some(decodes), Some(contexts)) => Some(Declared {
                chunks,
                decodes,
                contexts,
            }),
            _ => None,
        };
        Ok(Self {
            grid,
            skew: if fitted { skew } else { 0.0 },
        })
    }
}

/// `0, 16-2048 x2` is 0 and 16, 32, ... 2048.
fn series(text: &str) -> Option<Vec<u64>> {
    const MOST: usize = 10_000;
    let mut values = Vec::new();
    for part in text.split(',').map(str::trim) {
        let Some((range, factor)) = part.split_once(" x") else {
            values.push(part.parse().ok()?);
            continue;
        };
        let (from, to) = range.split_once('-')?;
        let (from, to): (u64, u64) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        let factor: f64 = factor.trim().parse().ok().filter(|f| *f > 1.0)?;
        let mut value = from;
        while value < to && values.len() < MOST {
            values.push(value);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "table axes are small; a cast saturates"
            )]
            let next = (value as f64 * factor).round() as u64;
            value = next.max(value + 1);
        }
        values.push(to);
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: &str = "\
vllm_version: 0.19.0
attention_grid:
  max_kv: 64
  chunks: 0, 16-64 x2
  n_decode: 0, 1-4 x2
  kv: 0, 16-64 x2
skew_fit:
  enabled: true
  bucket_axes:
    n_bins: [0, 2, 4]
  per_tp:
    1:
      method: per_bucket_wls_5axis
      alpha_default: 0.0543
    2:
      alpha_default: 0.0654
";

    #[test]
    fn the_grid_and_the_skew_of_the_degree_are_read() {
        let meta = Meta::read("m", META, 1).expect("is right");
        let grid = Declared {
            chunks: vec![0, 16, 32, 64],
            decodes: vec![0, 1, 2, 4],
            contexts: vec![0, 16, 32, 64],
        };
        assert_eq!(meta.grid, Some(grid));
        assert!((meta.skew - 0.0543).abs() < 1e-12);
        let two = Meta::read("m", META, 2).expect("is right");
        assert!((two.skew - 0.0654).abs() < 1e-12);
        let off = META.replace("enabled: true", "enabled: false");
        assert!(Meta::read("m", &off, 1).expect("is right").skew.abs() < 1e-12);
        assert_eq!(Meta::read("m", "", 1).expect("nothing"), Meta::default());
    }

    #[test]
    fn a_grid_that_is_none_is_refused_with_its_line() {
        let bad = META.replace("16-64 x2\n  n_decode", "16-64 by 2\n  n_decode");
        let message = Meta::read("meta.yaml", &bad, 1)
            .expect_err("no range")
            .to_string();
        assert_eq!(
            message,
            "`meta.yaml` line 4: `chunks` is `0, 16-64 by 2` (wanted: numbers and ranges like \
             `0, 16-2048 x2`)"
        );
    }
}
