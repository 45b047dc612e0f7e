//! What is said of a claim, and by which rule.
//!
//! Why rules: whether a claim holds must not be a matter of taste. Each rule is printed with its row.

use std::fmt;

use serde::Serialize;

/// What is said of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Our measurement meets the claim, in direction and size.
    Holds,
    /// The direction is the claim's, the size is not.
    Weaker,
    /// Our measurement contradicts the claim.
    Differs,
    /// It cannot be measured here; the row says why.
    NotTested,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Holds => "holds",
            Self::Weaker => "weaker",
            Self::Differs => "differs",
            Self::NotTested => "not tested here",
        })
    }
}

/// A claim "from `low` to `high` times better": holds if our smallest and largest gain reach the
/// claim's; weaker if mars is ahead at every point and one of the two does not; differs otherwise.
pub fn of_range(ours: (f64, f64), claim: (f64, f64)) -> Verdict {
    if ours.0 >= claim.0 && ours.1 >= claim.1 {
        Verdict::Holds
    } else if ours.0 > 1.0 {
        Verdict::Weaker
    } else {
        Verdict::Differs
    }
}

/// A claim "better at `n` of `of` points": holds if our share is at least the claim's; weaker if it is
/// at least half; differs otherwise.
#[expect(clippy::cast_precision_loss, reason = "a few dozen points")]
pub fn of_count(ours: (usize, usize), claim: (usize, usize)) -> Verdict {
    if ours.1 == 0 {
        return Verdict::NotTested;
    }
    let share = |(n, of): (usize, usize)| n as f64 / of as f64;
    if share(ours) >= share(claim) {
        Verdict::Holds
    } else if share(ours) >= 0.5 {
        Verdict::Weaker
    } else {
        Verdict::Differs
    }
}

/// A claim "up to `claim` times better": holds if our largest gain reaches it; weaker if it is above 1;
/// differs otherwise.
pub fn of_most(ours: f64, claim: f64) -> Verdict {
    if ours >= claim {
        Verdict::Holds
    } else if ours > 1.0 {
        Verdict::Weaker
    } else {
        Verdict::Differs
    }
}

/// A claim that gives a value from `low` to `high`: holds if ours lies within; weaker if it is within
/// half to twice; differs otherwise.
pub fn of_value(ours: f64, claim: (f64, f64)) -> Verdict {
    if (claim.0..=claim.1).contains(&ours) {
        Verdict::Holds
    } else if (claim.0 / 2.0..=claim.1 * 2.0).contains(&ours) {
        Verdict::Weaker
    } else {
        Verdict::Differs
    }
}

/// A statement that is true or not.
pub fn of_fact(ours: bool) -> Verdict {
    if ours {
        Verdict::Holds
    } else {
        Verdict::Differs
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Differs, Holds, NotTested, Weaker};
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(of_range((1.5, 6.0), (1.44, 5.8)), Holds);
        assert_eq!(of_range((1.01, 6.0), (1.44, 5.8)), Weaker);
        assert_eq!(of_range((0.99, 6.0), (1.44, 5.8)), Differs);
    }

    #[test]
    fn counts_are_shares() {
        assert_eq!(of_count((9, 10), (17, 20)), Holds);
        assert_eq!(of_count((8, 10), (17, 20)), Weaker);
        assert_eq!(of_count((4, 10), (17, 20)), Differs);
        assert_eq!(of_count((0, 0), (17, 20)), NotTested);
    }

    #[test]
    fn values_and_facts() {
        assert_eq!(of_value(0.03, (0.028, 0.033)), Holds);
        assert_eq!(of_value(0.02, (0.028, 0.033)), Weaker);
        assert_eq!(of_value(0.2, (0.028, 0.033)), Differs);
        assert_eq!(
            [of_most(3.4, 3.37), of_most(1.2, 3.37), of_most(0.9, 3.37)],
            [Holds, Weaker, Differs]
        );
        assert_eq!([of_fact(true), of_fact(false)], [Holds, Differs]);
    }
}
