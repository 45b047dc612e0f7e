//! Whether two runs met the same load on the same machine, so that only the policy differs.

use serde::Serialize;
use serde_json::Value;

/// What must be equal. The key is that of the manifest's `config`.
const KEYS: [&str; 7] = [
    "semantics",
    "trace_blake3",
    "sessions",
    "rate_per_s",
    "arrivals",
    "seed",
    "machine",
];

/// How often a run was sampled changes nothing in it.
const NO_MATTER: &str = "machine.sample_every_s";

/// One setting that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Its key in the manifest's `config`, with dots.
    pub key: String,
    /// Its value in A; null if A has no such key.
    pub a: Value,
    /// Its value in B.
    pub b: Value,
}

/// What differs in load and machine between two configurations.
pub fn differences(a: &Value, b: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    for key in KEYS {
        compare(key, &a[key], &b[key], &mut found);
    }
    found
}

fn compare(key: &str, a: &Value, b: &Value, found: &mut Vec<Difference>) {
    if a == b || key == NO_MATTER {
        return;
    }
    let (Some(in_a), Some(in_b)) = (a.as_object(), b.as_object()) else {
        found.push(Difference {
            key: key.to_owned(),
            a: a.clone(),
            b: b.clone(),
        });
        return;
    };
    let only_b = in_b.keys().filter(|name| !in_a.contains_key(*name));
    for name in in_a.keys().chain(only_b) {
        compare(&format!("{key}.{name}"), &a[name], &b[name], found);
    }
}

fn clauses(differences: &[Difference]) -> impl Iterator<Item = String> {
    differences
        .iter()
        .map(|d| format!("`{}` is {} in A and {} in B", d.key, d.a, d.b))
}

/// The differences, one a line.
pub fn lines(differences: &[Difference]) -> String {
    clauses(differences).collect::<Vec<_>>().join("\n")
}

/// The differences in one line.
pub fn sentence(differences: &[Difference]) -> String {
    clauses(differences).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn load_and_machine_count_and_the_policy_does_not() {
        let a = json!({"policy": "fcfs", "seed": 1, "decisions": true,
            "machine": {"sample_every_s": 1.0, "tools": {"cores": 8}}});
        let mut b = a.clone();
        b["policy"] = json!("mars");
        b["decisions"] = json!(false);
        b["machine"]["sample_every_s"] = json!(2.0);
        assert_eq!(differences(&a, &b), []);
        b["seed"] = json!(2);
        b["machine"]["tools"]["cores"] = json!(16);
        b["machine"]["horizon_s"] = json!(5.0);
        assert_eq!(
            lines(&differences(&a, &b)),
            "`seed` is 1 in A and 2 in B\n`machine.tools.cores` is 8 in A and 16 in B\n\
             `machine.horizon_s` is null in A and 5.0 in B"
        );
    }
}
