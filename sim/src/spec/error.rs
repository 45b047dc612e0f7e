//! What can be wrong with a spec file or with a choice of hardware.

use units::Bytes;

use crate::cost::{CostError, ProfileError};

/// A spec that cannot be read, or hardware that cannot be had.
///
/// `origin` is the caller's name for a text (a file name); `entry` is `gpu NAME`, `model NAME` or
/// `cost MODEL on GPU`. A message's last line may be a hint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "each variant's doc and message name its fields"
)]
pub enum SpecError {
    /// Not TOML, or a value of the wrong type, or a missing key. The source names line and column.
    #[error("cannot read specs from `{origin}`")]
    Syntax {
        origin: Box<str>,
        source: Box<toml::de::Error>,
    },
    /// A key that no such table has.
    #[error(
        "`{origin}` line {line}: unknown key `{key}` in `{table}` (known: {known}){}",
        hint(nearest.as_deref())
    )]
    UnknownKey {
        origin: Box<str>,
        line: usize,
        table: Box<str>,
        key: Box<str>,
        nearest: Option<Box<str>>,
        known: Box<str>,
    },
    /// A value that makes no sense.
    #[error("`{origin}`: {entry}: `{field}` is {value} (wanted: {wanted})")]
    Value {
        origin: Box<str>,
        entry: Box<str>,
        field: &'static str,
        value: Box<str>,
        wanted: &'static str,
    },
    /// A name given twice, in one text or against what was there before.
    #[error("`{origin}`: {entry} is already defined\nhint: give yours another name")]
    Taken { origin: Box<str>, entry: Box<str> },
    /// A cost coefficient that is none.
    #[error("`{origin}`: {entry}: no usable cost")]
    Cost {
        origin: Box<str>,
        entry: Box<str>,
        source: CostError,
    },
    /// A GPU or model that the catalog does not hold. `kind` says which.
    #[error("no {kind} `{name}` (known: {known}){}", hint(nearest.as_deref()))]
    UnknownName {
        kind: &'static str,
        name: Box<str>,
        nearest: Option<Box<str>>,
        known: Box<str>,
    },
    /// No cost was fitted for the pair, nor for the GPU that this one is declared to be like.
    #[error(
        "no cost for `{model}` on `{gpu}` (fitted GPUs of this model: {fitted})\n\
         hint: add a [[cost]] for the pair, or `like` to the GPU"
    )]
    NoCost {
        model: Box<str>,
        gpu: Box<str>,
        fitted: Box<str>,
    },
    /// A memory utilisation outside (0, 1].
    #[error("memory utilisation is {value} (wanted: above 0, at most 1)")]
    Utilisation { value: f64 },
    /// Weights and working space leave no room for a block of KV.
    #[error(
        "`{model}` does not fit `{gpu}`: {:.2} of {:.2} GiB may be used, weights take {:.2} GiB and \
         activations {:.2} GiB; at least {needed} bytes for KV must remain\n\
         hint: it fits on: {fits}",
        gib(*usable),
        gib(*memory),
        gib(*weights),
        gib(*reserve)
    )]
    DoesNotFit {
        model: Box<str>,
        gpu: Box<str>,
        memory: Bytes,
        usable: Bytes,
        weights: Bytes,
        reserve: Bytes,
        needed: Bytes,
        fits: Box<str>,
    },
    /// No roofline, because a data sheet's figure is missing.
    #[error(
        "no roofline of `{model}` on `{gpu}`: {missing} is not given\nhint: add it to the spec"
    )]
    NoRoofline {
        model: Box<str>,
        gpu: Box<str>,
        missing: &'static str,
    },
    /// Kernel tables that cannot be used.
    #[error("cannot use the kernel tables of `{model}` on `{gpu}`")]
    Profile {
        model: Box<str>,
        gpu: Box<str>,
        source: Box<ProfileError>,
    },
    /// A line of a profile's `meta.yaml` that cannot be understood.
    #[error("`{origin}` line {line}: `{key}` is `{value}` (wanted: {wanted})")]
    ProfileMeta {
        origin: Box<str>,
        line: usize,
        key: &'static str,
        value: Box<str>,
        wanted: &'static str,
    },
    /// A degree of tensor parallelism that the model's heads cannot be split by.
    #[error(
        "`{model}` cannot be split over {degree} GPUs (wanted: 1 to 64, dividing its {heads} query heads)"
    )]
    Degree {
        model: Box<str>,
        degree: u32,
        heads: u32,
    },
}

impl SpecError {
    /// Says in a refusal for want of memory what would do.
    pub(super) fn with_what_fits(mut self, what: impl FnOnce() -> Box<str>) -> Self {
        if let Self::DoesNotFit { fits, .. } = &mut self {
            *fits = what();
        }
        self
    }
}

#[expect(clippy::cast_precision_loss, reason = "for messages only")]
fn gib(bytes: Bytes) -> f64 {
    bytes.get() as f64 / 1_073_741_824.0
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| {
        format!("\nhint: did you mean `{name}`?")
    })
}

/// The known name most like `name`, if any is likely meant.
pub(super) fn nearest<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<Box<str>> {
    // Jaro-Winkler is 0..=1; below 0.7 a suggestion is noise. The first of equals wins.
    const LIKELY: f64 = 0.7;
    let mut best: Option<(f64, &str)> = None;
    for candidate in known {
        let likeness = strsim::jaro_winkler(name, candidate);
        if likeness >= LIKELY && best.is_none_or(|(so_far, _)| likeness > so_far) {
            best = Some((likeness, candidate));
        }
    }
    best.map(|(_, name)| name.into())
}

/// Names as a list for a message; `none` if there are none.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> Box<str> {
    let joined = names
        .into_iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    if joined.is_empty() {
        "none".into()
    } else {
        joined.into()
    }
}
