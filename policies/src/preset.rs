//! Presets: which parts, with which settings, under which name. Plain TOML that a user can copy.
//!
//! A file may say `base = "mars"` and give only what differs; a part whose `kind` differs from the
//! base's starts from that kind's own defaults. Unknown keys are errors that name the nearest one.

use scheduler::policy::Policy;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::admission::AdmissionSpec;
use crate::order::OrderSpec;
use crate::retention::RetentionSpec;
use crate::values;

/// The shipped presets: name and text. A new preset is one file and one line here.
pub const PRESETS: &[(&str, &str)] = &[
    ("fcfs", include_str!("../presets/fcfs.toml")),
    ("mars", include_str!("../presets/mars.toml")),
    ("mars-preview", include_str!("../presets/mars-preview.toml")),
    ("autellix", include_str!("../presets/autellix.toml")),
    ("infercept", include_str!("../presets/infercept.toml")),
    (
        "infercept-swap",
        include_str!("../presets/infercept-swap.toml"),
    ),
    ("continuum", include_str!("../presets/continuum.toml")),
    ("continuum-dy", include_str!("../presets/continuum-dy.toml")),
    ("concur", include_str!("../presets/concur.toml")),
    ("thunderagent", include_str!("../presets/thunderagent.toml")),
    ("srpt-oracle", include_str!("../presets/srpt-oracle.toml")),
    (
        "mars-no-admission",
        include_str!("../presets/mars-no-admission.toml"),
    ),
    ("mars-no-mlfq", include_str!("../presets/mars-no-mlfq.toml")),
    (
        "mars-no-coscheduler",
        include_str!("../presets/mars-no-coscheduler.toml"),
    ),
];

/// Defaults of parts that no preset uses, by section; each is a table with a `kind`.
const MORE_PARTS: &str = include_str!("../presets/parts.toml");

/// A policy as written down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySpec {
    /// Its name in reports.
    pub name: String,
    /// What it is for, in a line.
    pub intent: String,
    /// Where its rules come from.
    pub source: String,
    /// Who may enter.
    pub admission: AdmissionSpec,
    /// Who goes first.
    pub order: OrderSpec,
    /// What stays while tools run.
    pub retention: RetentionSpec,
}

/// A policy that cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No preset of that name.
    #[error("no policy preset is called `{name}` (there are: {known}){}", nearest(.hint.as_deref()))]
    UnknownPreset {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
        /// The nearest name.
        hint: Option<String>,
    },
    /// The text is no TOML.
    #[error("the policy is not TOML: {what}")]
    Syntax {
        /// Where and why.
        what: String,
    },
    /// A key that means nothing there.
    #[error("unknown policy key `{key}`{}", nearest(.hint.as_deref()))]
    UnknownKey {
        /// Its full path.
        key: String,
        /// The nearest key that exists.
        hint: Option<String>,
    },
    /// A part's kind that does not exist.
    #[error("`{section}.kind` is `{kind}`, wanted one of {known}")]
    UnknownKind {
        /// `admission`, `order` or `retention`.
        section: String,
        /// What was asked for.
        kind: String,
        /// What there is.
        known: String,
    },
    /// A value of the wrong type or out of range.
    #[error("policy `{policy}`: {what}")]
    BadValue {
        /// The policy's name.
        policy: String,
        /// Which setting, its value, and what it may be.
        what: String,
    },
}

fn nearest(hint: Option<&str>) -> String {
    hint.map(|h| format!("\nhint: did you mean `{h}`?"))
        .unwrap_or_default()
}

/// The candidate closest to `word`, if any is close.
fn closest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    candidates
        .map(|c| (strsim::jaro_winkler(word, c), c))
        .filter(|&(score, _)| score > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, c)| c.to_owned())
}

pub(crate) const SECTIONS: [&str; 3] = ["admission", "order", "retention"];

impl PolicySpec {
    /// The preset of that name.
    ///
    /// # Errors
    /// [`PolicyError::UnknownPreset`] with the nearest name.
    pub fn preset(name: &str) -> Result<Self, PolicyError> {
        Self::from_table(&preset_table(name)?, name)
    }

    /// A policy from TOML text, with `overrides` such as `("order.aging_s", "10")` applied last.
    ///
    /// # Errors
    /// [`PolicyError`] with the key, its value and what it may be.
    pub fn parse(text: &str, overrides: &[(String, String)]) -> Result<Self, PolicyError> {
        let table = parse_table(text)?;
        let base = match table.get("base") {
            Some(Value::String(base)) => base.clone(),
            Some(other) => {
                let wanted = "the name of a preset in quotes";
                return Err(values::bad(name_of(&table), "base", other, wanted));
            }
            // Without a base, whatever is missing comes from the plainest policy.
            None => "fcfs".to_owned(),
        };
        let mut merged = preset_table(&base)?;
        let mut over = table;
        over.remove("base");
        merge(&mut merged, over)?;
        Self::resolve(merged, overrides)
    }

    /// The preset of that name with `overrides` applied.
    ///
    /// # Errors
    /// [`PolicyError`] with the key, its value and what it may be.
    pub fn preset_with(name: &str, overrides: &[(String, String)]) -> Result<Self, PolicyError> {
        Self::resolve(preset_table(name)?, overrides)
    }

    fn resolve(mut table: Table, overrides: &[(String, String)]) -> Result<Self, PolicyError> {
        for (key, text) in overrides {
            // A value is TOML if it can be, else a plain word: `order.shrink=never`.
            let value = format!("x = {text}")
                .parse::<Table>()
                .ok()
                .and_then(|mut t| t.remove("x"))
                .unwrap_or_else(|| Value::String(text.clone()));
            let over = key.rsplit('.').fold(value, |inner, part| {
                Value::Table(std::iter::once((part.to_owned(), inner)).collect())
            });
            if let Value::Table(over) = over {
                merge(&mut table, over)?;
            }
        }
        let name = name_of(&table).to_owned();
        Self::from_table(&table, &name)
    }

    fn from_table(table: &Table, name: &str) -> Result<Self, PolicyError> {
        table.clone().try_into().map_err(|e: toml::de::Error| {
            values::to_blame(table, name).unwrap_or_else(|| PolicyError::BadValue {
                policy: name.to_owned(),
                what: e.message().to_owned(),
            })
        })
    }

    /// The policy, ready to decide.
    ///
    /// # Errors
    /// [`PolicyError::BadValue`] for a setting that cannot be.
    pub fn build(&self) -> Result<Policy, PolicyError> {
        let bad = |section: &str| {
            let policy = self.name.clone();
            let section = section.to_owned();
            move |what: String| PolicyError::BadValue {
                policy,
                what: format!("{section}: {what}"),
            }
        };
        Ok(Policy {
            name: self.name.clone(),
            admission: self.admission.build().map_err(bad("admission"))?,
            order: self.order.build().map_err(bad("order"))?,
            retention: self.retention.build().map_err(bad("retention"))?,
        })
    }

    /// The whole policy as TOML, every setting visible.
    ///
    /// # Errors
    /// [`PolicyError::Syntax`] if a value cannot be written.
    pub fn to_toml(&self) -> Result<String, PolicyError> {
        toml::to_string_pretty(self).map_err(|e| PolicyError::Syntax {
            what: e.to_string(),
        })
    }
}

/// The name it gives itself, for messages.
fn name_of(policy: &Table) -> &str {
    let name = policy.get("name").and_then(Value::as_str);
    name.unwrap_or("without a name")
}

fn parse_table(text: &str) -> Result<Table, PolicyError> {
    text.parse::<Table>().map_err(|e| PolicyError::Syntax {
        what: e.to_string(),
    })
}

fn preset_table(name: &str) -> Result<Table, PolicyError> {
    let found = PRESETS.iter().find(|(n, _)| *n == name);
    let Some((_, text)) = found else {
        let names = PRESETS.iter().map(|(n, _)| *n);
        return Err(PolicyError::UnknownPreset {
            name: name.to_owned(),
            known: names.clone().collect::<Vec<_>>().join(", "),
            hint: closest(name, names),
        });
    };
    parse_table(text)
}

/// Default settings of the part of that kind, from the presets that use it.
pub(crate) fn part_defaults(section: &str, kind: &str) -> Result<Table, PolicyError> {
    let parts = std::iter::once(MORE_PARTS).chain(PRESETS.iter().map(|(_, text)| *text));
    let mut known = Vec::new();
    for text in parts {
        let table = parse_table(text)?;
        let candidates = match table.get(section) {
            Some(Value::Table(part)) => vec![part.clone()],
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_table).cloned().collect(),
            _ => continue,
        };
        for part in candidates {
            let this = part
                .get("kind")
                .and_then(Value::as_str)
                .unwrap_or("?")
                .to_owned();
            if this == kind {
                return Ok(part);
            }
            if !known.contains(&this) {
                known.push(this);
            }
        }
    }
    Err(PolicyError::UnknownKind {
        section: section.to_owned(),
        kind: kind.to_owned(),
        known: known.join(", "),
    })
}

/// Lays `over` on `base`, refusing keys that `base` does not have.
fn merge(base: &mut Table, over: Table) -> Result<(), PolicyError> {
    let named = over.get("name").and_then(Value::as_str);
    let name = named.unwrap_or_else(|| name_of(base)).to_owned();
    for (key, value) in over {
        let Some(old) = base.get_mut(&key) else {
            return Err(unknown(&key, base.keys()));
        };
        if !SECTIONS.contains(&key.as_str()) {
            *old = value;
            continue;
        }
        let (Value::Table(old), Value::Table(new)) = (old, &value) else {
            let wanted = format!("a section such as [{key}]");
            return Err(values::bad(&name, &key, &value, &wanted));
        };
        let kind = new.get("kind").and_then(Value::as_str);
        if let Some(kind) = kind.filter(|&k| old.get("kind").and_then(Value::as_str) != Some(k)) {
            *old = part_defaults(&key, kind)?;
        }
        for (name, value) in new {
            if old.contains_key(name) {
                old.insert(name.clone(), value.clone());
            } else {
                let path = format!("{key}.{name}");
                let known: Vec<String> = old.keys().map(|k| format!("{key}.{k}")).collect();
                return Err(unknown(&path, known.iter()));
            }
        }
    }
    Ok(())
}

fn unknown<'a>(key: &str, known: impl Iterator<Item = &'a String>) -> PolicyError {
    PolicyError::UnknownKey {
        key: key.to_owned(),
        hint: closest(key, known.map(String::as_str)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::First;

    fn overrides(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn every_preset_shows_every_setting_and_builds() {
        for (name, text) in PRESETS {
            let spec = PolicySpec::preset(name).unwrap();
            assert_eq!(spec.name, *name);
            spec.build().unwrap();
            // What is written out again has exactly the keys of the file: no hidden default.
            let file: Table = text.parse().unwrap();
            let shown: Table = spec.to_toml().unwrap().parse().unwrap();
            for section in SECTIONS {
                let keys = |t: &Table| {
                    t[section]
                        .as_table()
                        .unwrap()
                        .keys()
                        .cloned()
                        .collect::<Vec<_>>()
                };
                let (mut a, mut b) = (keys(&file), keys(&shown));
                a.sort();
                b.sort();
                assert_eq!(a, b, "{name}.{section}");
            }
        }
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let error =
            PolicySpec::preset_with("mars", &overrides(&[("order.agin_s", "10")])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown policy key `order.agin_s`\nhint: did you mean `order.aging_s`?"
        );
        let error = PolicySpec::preset("marz").unwrap_err();
        assert!(
            error.to_string().ends_with("did you mean `mars`?"),
            "{error}"
        );
    }

    #[test]
    fn a_swapped_part_brings_its_own_defaults() {
        let text = "base = \"mars\"\nname = \"mix\"\n[order]\nkind = \"turn-arrival\"\n";
        let mix = PolicySpec::parse(text, &[]).unwrap();
        assert_eq!(mix.order, OrderSpec::TurnArrival);
        assert_eq!(mix.admission, PolicySpec::preset("mars").unwrap().admission);

        let text = "base = \"mars\"\n[retention]\nkind = \"adaptive-ttl\"\nbound_s = 5\n";
        let RetentionSpec::AdaptiveTtl(ttl) = PolicySpec::parse(text, &[]).unwrap().retention
        else {
            panic!("another kind");
        };
        assert!((ttl.bound_s - 5.0).abs() < f64::EPSILON);

        let text = "base = \"fcfs\"\n[admission]\nkind = \"kv-budget\"\nfirst = \"oldest\"\n";
        let AdmissionSpec::KvBudget(budget) = PolicySpec::parse(text, &[]).unwrap().admission
        else {
            panic!("another kind");
        };
        assert_eq!((budget.first, budget.reserve_percent), (First::Oldest, 10));
    }

    #[test]
    fn a_value_out_of_range_is_refused_with_its_limits() {
        let spec =
            PolicySpec::preset_with("mars", &overrides(&[("admission.window_min", "31")])).unwrap();
        let error = spec.build().unwrap_err().to_string();
        assert_eq!(
            error,
            "policy `mars`: admission: window_min is 31, window_init 30, window_max 30, wanted 1 <= \
             window_min <= window_init <= window_max"
        );
        let error =
            PolicySpec::preset_with("mars", &overrides(&[("admission.kind", "opn")])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`admission.kind` is `opn`, wanted one of kv-budget, open, mars-window, concur, thunder-agent, srpt-oracle"
        );
    }
}
