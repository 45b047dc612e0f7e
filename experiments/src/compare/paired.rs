//! Session against session: how much later or sooner each was done.
//!
//! Limits: only sessions that completed in both runs have a difference; the others are counted. The
//! sessions of one run share a machine and are not independent, so nothing here has an interval.

use std::collections::BTreeMap;

use serde::Serialize;

/// One session as its run reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// Its number, in order of arrival.
    pub session: u32,
    /// Id of the recorded session that it replays.
    pub trace: String,
    /// Arrival to completion; `None` if it did not complete.
    pub latency_ns: Option<u64>,
    /// Prompt and output tokens of all its turns that started.
    pub tokens: u64,
}

/// A session that completed in both runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Both {
    session: u32,
    tokens: u64,
    /// B less A.
    difference_ns: i64,
}

/// The sessions of two runs, matched.
#[derive(Clone, Debug)]
pub struct Matched {
    both: Vec<Both>,
    only_a: usize,
    only_b: usize,
    neither: usize,
    strangers: usize,
}

/// Latency differences of matched sessions, B less A: below zero, B was sooner.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Paired {
    /// Sessions that completed in both.
    pub completed_in_both: usize,
    /// That completed in A only; null for a part of the sessions.
    pub only_in_a: Option<usize>,
    /// In B only.
    pub only_in_b: Option<usize>,
    /// In neither.
    pub in_neither: Option<usize>,
    /// Not matched at all: only one run has them, or they replay another recorded session.
    pub not_matched: Option<usize>,
    /// Fewest prompt and output tokens of a session.
    pub tokens_min: Option<u64>,
    /// Most.
    pub tokens_max: Option<u64>,
    /// Mean difference, seconds.
    pub mean_s: Option<f64>,
    /// Median difference, seconds.
    pub median_s: Option<f64>,
    /// Share of sessions that were sooner in B.
    pub sooner_in_b: Option<f64>,
    /// Share that were later in B.
    pub later_in_b: Option<f64>,
}

/// Matches the sessions of two runs by number; both must replay the same recorded session.
pub fn pair(a: &[SessionRow], b: &[SessionRow]) -> Matched {
    let mut in_b: BTreeMap<u32, &SessionRow> = b.iter().map(|row| (row.session, row)).collect();
    let mut matched = Matched {
        both: Vec::new(),
        only_a: 0,
        only_b: 0,
        neither: 0,
        strangers: 0,
    };
    for row in a {
        let Some(other) = in_b.remove(&row.session).filter(|o| o.trace == row.trace) else {
            matched.strangers += 1;
            continue;
        };
        match (row.latency_ns, other.latency_ns) {
            (Some(in_a), Some(in_b)) => matched.both.push(Both {
                session: row.session,
                tokens: row.tokens,
                difference_ns: in_b.cast_signed() - in_a.cast_signed(),
            }),
            (Some(_), None) => matched.only_a += 1,
            (None, Some(_)) => matched.only_b += 1,
            (None, None) => matched.neither += 1,
        }
    }
    matched.strangers += in_b.len();
    matched
}

impl Matched {
    /// Over all sessions.
    pub fn all(&self) -> Paired {
        Paired {
            only_in_a: Some(self.only_a),
            only_in_b: Some(self.only_b),
            in_neither: Some(self.neither),
            not_matched: Some(self.strangers),
            ..describe(&self.both)
        }
    }

    /// By quartile of prompt and output tokens, the smallest sessions first; equal ones by arrival.
    pub fn by_size(&self) -> Vec<Paired> {
        let mut sorted = self.both.clone();
        sorted.sort_by_key(|s| (s.tokens, s.session));
        let cut = |quarter: usize| sorted.len() * quarter / 4;
        (0..4)
            .map(|q| describe(&sorted[cut(q)..cut(q + 1)]))
            .collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a report, not a clock")]
fn describe(sessions: &[Both]) -> Paired {
    let n = sessions.len();
    let mut differences: Vec<i64> = sessions.iter().map(|s| s.difference_ns).collect();
    differences.sort_unstable();
    // In integers, so that the mean does not depend on the order.
    let sum: i128 = differences.iter().copied().map(i128::from).sum();
    let share = |count: usize| (n > 0).then(|| count as f64 / n as f64);
    let sooner = differences.partition_point(|&d| d < 0);
    let not_later = differences.partition_point(|&d| d <= 0);
    Paired {
        completed_in_both: n,
        only_in_a: None,
        only_in_b: None,
        in_neither: None,
        not_matched: None,
        tokens_min: sessions.iter().map(|s| s.tokens).min(),
        tokens_max: sessions.iter().map(|s| s.tokens).max(),
        mean_s: (n > 0).then(|| sum as f64 / n as f64 / 1e9),
        median_s: median(&differences),
        sooner_in_b: share(sooner),
        later_in_b: share(n - not_later),
    }
}

/// In seconds: the middle one, or half way between the two in the middle.
#[expect(clippy::cast_precision_loss, reason = "a report, not a clock")]
fn median(sorted_ns: &[i64]) -> Option<f64> {
    let upper = *sorted_ns.get(sorted_ns.len() / 2)?;
    let lower = sorted_ns[(sorted_ns.len() - 1) / 2];
    Some(f64::midpoint(lower as f64, upper as f64) / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(session: u32, latency_s: Option<u64>, tokens: u64) -> SessionRow {
        SessionRow {
            session,
            trace: format!("t{session}"),
            latency_ns: latency_s.map(|s| s * 1_000_000_000),
            tokens,
        }
    }

    fn close(got: Option<f64>, want: f64) {
        assert!((got.unwrap() - want).abs() < 1e-12, "{got:?} is not {want}");
    }

    #[test]
    fn differences_by_hand() {
        let a: Vec<SessionRow> = [10, 20, 30, 40, 50]
            .iter()
            .zip(0..)
            .map(|(&s, i)| row(i, Some(s), 100 - u64::from(i)))
            .collect();
        // Differences: -4, +1, 0, -20; the last did not complete in B.
        let mut b: Vec<SessionRow> = [6, 21, 30, 20]
            .iter()
            .zip(0..)
            .map(|(&s, i)| row(i, Some(s), 100 - u64::from(i)))
            .collect();
        b.push(row(4, None, 10));
        let matched = pair(&a, &b);
        let all = matched.all();
        assert_eq!(all.completed_in_both, 4);
        assert_eq!(
            (
                all.only_in_a,
                all.only_in_b,
                all.in_neither,
                all.not_matched
            ),
            (Some(1), Some(0), Some(0), Some(0))
        );
        close(all.mean_s, -5.75);
        close(all.median_s, -2.0);
        close(all.sooner_in_b, 0.5);
        close(all.later_in_b, 0.25);
        // The smallest is session 3.
        let by_size = matched.by_size();
        assert_eq!(by_size.len(), 4);
        close(by_size[0].mean_s, -20.0);
        assert_eq!(by_size[0].tokens_max, Some(97));
        close(by_size[3].mean_s, -4.0);
    }

    #[test]
    fn nothing_in_common_is_not_zero() {
        let mut other = row(0, Some(1), 5);
        other.trace = "another".to_owned();
        let matched = pair(&[row(0, Some(1), 5)], &[other, row(1, Some(1), 5)]);
        let all = matched.all();
        assert_eq!(all.not_matched, Some(2));
        assert_eq!(
            (all.mean_s, all.median_s, all.sooner_in_b),
            (None, None, None)
        );
        assert_eq!(matched.by_size()[2].tokens_min, None);
    }
}
