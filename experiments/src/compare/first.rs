//! Where two decision logs part.
//!
//! Rule: the logs are walked side by side, in order. The first place where time, session or what was
//! decided differ is where they part; reasons and inputs may differ before it. Up to there both
//! policies met the same machine, so the inputs there explain the difference.
//! Limits: updates of an admission window are left out, since a policy without a window has none.
//! Chunk sizes are no decisions of the log: where they differ, the logs part at the same decision at
//! another time.

use polars::prelude::{AnyValue, DataFrame};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::totals::Named;

/// Kinds of decisions that are also compared among themselves.
const GROUPS: [(&str, &[&str]); 5] = [
    ("admission", &["admit"]),
    ("start", &["start"]),
    ("preemption", &["preempt"]),
    (
        "retention",
        &["pin", "release", "offload", "reclaim", "expire"],
    ),
    ("pausing", &["pause", "resume"]),
];

/// Two logs side by side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decisions {
    /// Decisions of A, without updates of an admission window.
    pub in_a: usize,
    /// Decisions of B.
    pub in_b: usize,
    /// Where they part; `None` if they never do.
    pub first_difference: Option<Parting>,
    /// The same among decisions of one kind.
    pub first_difference_by_kind: Named<Option<Parting>>,
}

/// Where two logs part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parting {
    /// The earlier of the two decisions' times.
    pub at_s: f64,
    /// Decisions before it, the same in both.
    pub same_before: usize,
    /// A's decision with its reason and inputs, all columns of `decisions.parquet`; null if A decided
    /// nothing more.
    pub a: Option<Map<String, Value>>,
    /// B's.
    pub b: Option<Map<String, Value>>,
}

/// What is compared of one decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry<'a> {
    row: usize,
    at_ns: u64,
    session: Option<u32>,
    decision: &'a str,
}

impl Entry<'_> {
    fn same_as(&self, other: &Entry<'_>) -> bool {
        (self.at_ns, self.session, self.decision) == (other.at_ns, other.session, other.decision)
    }
}

/// Lays two logs side by side.
///
/// # Errors
/// A log that lacks a column.
pub fn decisions(a: &DataFrame, b: &DataFrame) -> anyhow::Result<Decisions> {
    let (in_a, in_b) = (entries(a)?, entries(b)?);
    let among = |kinds: Option<&[&str]>| -> anyhow::Result<Option<Parting>> {
        let of = |entries: &[Entry<'_>]| -> Vec<usize> {
            let wanted = |e: &&Entry<'_>| kinds.is_none_or(|kinds| kinds.contains(&e.decision));
            let found = entries.iter().enumerate();
            found.filter(|(_, e)| wanted(e)).map(|(i, _)| i).collect()
        };
        let (a_list, b_list) = (of(&in_a), of(&in_b));
        let pairs = a_list.iter().zip(&b_list);
        let same = pairs
            .take_while(|&(&i, &j)| in_a[i].same_as(&in_b[j]))
            .count();
        let first_a = a_list.get(same).map(|&i| in_a[i]);
        let first_b = b_list.get(same).map(|&i| in_b[i]);
        parting(same, (a, first_a), (b, first_b))
    };
    let mut by_kind = Vec::new();
    for (name, kinds) in GROUPS {
        by_kind.push((name.to_owned(), among(Some(kinds))?));
    }
    Ok(Decisions {
        in_a: in_a.len(),
        in_b: in_b.len(),
        first_difference: among(None)?,
        first_difference_by_kind: Named(by_kind),
    })
}

fn entries(frame: &DataFrame) -> anyhow::Result<Vec<Entry<'_>>> {
    let at = frame.column("at_ns")?.u64()?;
    let session = frame.column("session")?.u32()?;
    let decision = frame.column("decision")?.str()?;
    let entry = |row| {
        Some(Entry {
            row,
            at_ns: at.get(row)?,
            session: session.get(row),
            decision: decision.get(row)?,
        })
    };
    let all = (0..frame.height()).filter_map(entry);
    Ok(all.filter(|e| e.decision != "window").collect())
}

fn parting(
    same_before: usize,
    (a, first_a): (&DataFrame, Option<Entry<'_>>),
    (b, first_b): (&DataFrame, Option<Entry<'_>>),
) -> anyhow::Result<Option<Parting>> {
    let times = [first_a, first_b].into_iter().flatten().map(|e| e.at_ns);
    let Some(at_ns) = times.min() else {
        return Ok(None);
    };
    Ok(Some(Parting {
        at_s: units::Time::from_nanos(at_ns).as_secs(),
        same_before,
        a: first_a.map(|e| values(a, e.row)).transpose()?,
        b: first_b.map(|e| values(b, e.row)).transpose()?,
    }))
}

/// All columns of a row.
fn values(frame: &DataFrame, row: usize) -> anyhow::Result<Map<String, Value>> {
    let mut values = Map::new();
    for column in frame.columns() {
        let value = match column.get(row)? {
            AnyValue::Null => Value::Null,
            AnyValue::UInt32(n) => json!(n),
            AnyValue::UInt64(n) => json!(n),
            AnyValue::Int64(n) => json!(n),
            AnyValue::Float64(x) => json!(x),
            AnyValue::String(text) => json!(text),
            other => json!(other.to_string()),
        };
        values.insert(column.name().to_string(), value);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use polars::prelude::{IntoColumn, NamedFrom, Series};

    use super::*;

    type Row = (u64, Option<u32>, &'static str, &'static str);

    fn log(rows: &[Row]) -> DataFrame {
        let at: Vec<u64> = rows.iter().map(|r| r.0).collect();
        let session: Vec<Option<u32>> = rows.iter().map(|r| r.1).collect();
        let decision: Vec<&str> = rows.iter().map(|r| r.2).collect();
        let reason: Vec<&str> = rows.iter().map(|r| r.3).collect();
        DataFrame::new_infer_height(vec![
            Series::new("at_ns".into(), at).into_column(),
            Series::new("session".into(), session).into_column(),
            Series::new("decision".into(), decision).into_column(),
            Series::new("reason".into(), reason).into_column(),
        ])
        .unwrap()
    }

    fn a() -> Vec<Row> {
        vec![
            (0, Some(0), "admit", "open"),
            (0, Some(0), "start", "head-of-order"),
            (2_000_000_000, Some(0), "release", "no-retention"),
            (3_000_000_000, Some(1), "admit", "open"),
        ]
    }

    #[test]
    fn the_first_difference_is_in_what_is_decided_not_in_why() {
        // B has a window, other reasons, and pins where A releases; session 1 enters later.
        let b = [
            (0, None, "window", "no-pressure"),
            (0, Some(0), "admit", "machine-empty"),
            (0, Some(0), "start", "head-of-order"),
            (2_000_000_000, Some(0), "pin", "soft-pin"),
            (4_500_000_000, Some(1), "admit", "smallest-first"),
        ];
        let found = decisions(&log(&a()), &log(&b)).unwrap();
        assert_eq!((found.in_a, found.in_b), (4, 4));
        let first = found.first_difference.unwrap();
        assert!((first.at_s - 2.0).abs() < 1e-12);
        assert_eq!(first.same_before, 2);
        assert_eq!(first.a.unwrap()["decision"], "release");
        assert_eq!(first.b.unwrap()["reason"], "soft-pin");
        let of = |name: &str| {
            let entry = found.first_difference_by_kind.0.iter();
            entry.clone().find(|(n, _)| n == name).unwrap().1.clone()
        };
        let admission = of("admission").unwrap();
        assert_eq!(admission.same_before, 1);
        assert_eq!(admission.a.unwrap()["at_ns"], 3_000_000_000_u64);
        assert_eq!(admission.b.unwrap()["at_ns"], 4_500_000_000_u64);
        assert_eq!(of("start"), None);
        assert_eq!(of("preemption"), None);
    }

    #[test]
    fn a_log_that_ends_early_parts_where_it_ends() {
        let found = decisions(&log(&a()[..3]), &log(&a())).unwrap();
        let first = found.first_difference.unwrap();
        assert_eq!(first.same_before, 3);
        assert_eq!(first.a, None);
        assert_eq!(first.b.unwrap()["session"], 1);
    }

    #[test]
    fn a_log_is_the_same_as_itself() {
        let found = decisions(&log(&a()), &log(&a())).unwrap();
        assert_eq!(found.first_difference, None);
        assert!(
            found
                .first_difference_by_kind
                .0
                .iter()
                .all(|(_, p)| p.is_none())
        );
    }
}
