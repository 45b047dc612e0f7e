//! The runs' totals side by side.

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// Values by name, in an order that means something.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Named<T>(pub Vec<(String, T)>);

impl<T: Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// One total of both runs; null is "not measured".
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Total {
    /// Of A.
    pub a: Value,
    /// Of B.
    pub b: Value,
    /// B less A.
    pub difference: Value,
}

/// Totals that are compared, beside goodput and attainment.
const NAMES: [&str; 8] = [
    "completed",
    "latency_s.mean",
    "latency_s.p50",
    "latency_s.p95",
    "ttft_s.mean",
    "prefix_hit_rate",
    "recomputed_tokens",
    "preemptions",
];

/// The totals of two manifests. Goodput and attainment at every alpha that both know.
pub fn totals(a: &Value, b: &Value) -> Named<Total> {
    let mut paths: Vec<(String, &Value, &Value)> = Vec::new();
    for name in NAMES {
        let at = |totals| {
            name.split('.')
                .fold(totals, |value: &Value, key| &value[key])
        };
        paths.push((name.to_owned(), at(a), at(b)));
    }
    for group in ["goodput_per_s", "attainment"] {
        for alpha in a[group].as_object().into_iter().flat_map(|map| map.keys()) {
            if let Some(in_b) = b[group].get(alpha) {
                paths.push((format!("{group}.{alpha}"), &a[group][alpha], in_b));
            }
        }
    }
    let total = |(name, a, b): (String, &Value, &Value)| {
        let difference = difference(a, b);
        let (a, b) = (a.clone(), b.clone());
        (name, Total { a, b, difference })
    };
    Named(paths.into_iter().map(total).collect())
}

fn difference(a: &Value, b: &Value) -> Value {
    if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64()) {
        return json!(b - a);
    }
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => json!(b - a),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_stay_counts_and_null_is_not_zero() {
        let a = json!({"preemptions": 5, "prefix_hit_rate": null, "latency_s": {"mean": 2.0},
            "goodput_per_s": {"1": 0.5, "2": 1.0}});
        let b = json!({"preemptions": 2, "prefix_hit_rate": 0.5, "latency_s": {"mean": 1.5},
            "goodput_per_s": {"2": 1.25}});
        let found = totals(&a, &b);
        let of = |name: &str| {
            let entry = found.0.iter().find(|(n, _)| n == name);
            entry.map(|(_, total)| total.difference.clone())
        };
        assert_eq!(of("preemptions"), Some(json!(-3)));
        assert_eq!(of("latency_s.mean"), Some(json!(-0.5)));
        assert_eq!(of("prefix_hit_rate"), Some(Value::Null));
        assert_eq!(of("goodput_per_s.2"), Some(json!(0.25)));
        assert_eq!(of("goodput_per_s.1"), None);
    }
}
