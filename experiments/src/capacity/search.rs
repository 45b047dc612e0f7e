//! The search: how few of many candidates must be tried.
//!
//! What: candidates 0, 1, 2, ... from the easiest to the hardest; some meet a target. Gallop (0, 1, 3,
//! 7, ...) until one fails, bisect, then try the neighbours.
//! Why gallop from the easy end: a candidate far beyond capacity is an overloaded run, the dearest
//! there is.
//! Limits: it finds a boundary, not all of them. Where the target is met, missed and met again, the
//! answer is the first boundary among what was tried.

use std::collections::BTreeMap;

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The hardest candidate that meets the target, as do all easier ones that were tried.
    pub last: Option<usize>,
    /// The next one, which fails; `None` if the last candidate of all meets the target.
    pub next: Option<usize>,
    /// Candidates beyond `next` that meet the target all the same.
    pub beyond: Vec<usize>,
}

/// Searches `count` candidates, at least one, and tries `check` neighbours on each side.
///
/// # Errors
/// What `meets` says.
pub fn search<E>(
    count: usize,
    check: usize,
    mut meets: impl FnMut(usize) -> Result<bool, E>,
) -> Result<Found, E> {
    let mut tried: BTreeMap<usize, bool> = BTreeMap::new();
    let (mut at, mut stride) = (0, 1);
    loop {
        let met = meets(at)?;
        tried.insert(at, met);
        if !met || at + 1 >= count {
            break;
        }
        at = (at + stride).min(count - 1);
        stride *= 2;
    }
    loop {
        let next = tried.iter().find(|(_, met)| !**met).map(|(at, _)| *at);
        // The tried ones before the first that fails all meet the target.
        let last = match next {
            Some(next) => tried.range(..next).next_back().map(|(at, _)| *at),
            None => tried.keys().next_back().copied(),
        };
        let between = match (last, next) {
            (Some(last), Some(next)) if next - last > 1 => Some(last + (next - last) / 2),
            (None, Some(next)) if next > 0 => Some(next / 2),
            _ => None,
        };
        let untried = |at: &usize| !tried.contains_key(at);
        let neighbour = || {
            let below = last.unwrap_or(0);
            let above = next.unwrap_or(count);
            (1..=check).find_map(|d| {
                let low = below.checked_sub(d).filter(untried);
                low.or_else(|| Some(above + d).filter(|at| *at < count).filter(untried))
            })
        };
        let Some(at) = between.or_else(neighbour) else {
            let beyond = next.map_or(Vec::new(), |next| {
                let met = tried.range(next..).filter(|(_, met)| **met);
                met.map(|(at, _)| *at).collect()
            });
            return Ok(Found { last, next, beyond });
        };
        let met = meets(at)?;
        tried.insert(at, met);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches a table of answers; also which were asked for, in order.
    fn of(table: &[bool], check: usize) -> (Found, Vec<usize>) {
        let mut asked = Vec::new();
        let found = search(table.len(), check, |at| {
            asked.push(at);
            Ok::<bool, ()>(table[at])
        });
        (found.unwrap(), asked)
    }

    fn tables(n: u32) -> impl Iterator<Item = Vec<bool>> {
        (0..1_u32 << n).map(move |bits| (0..n).map(|i| bits >> i & 1 == 1).collect())
    }

    /// Whatever the answers: nothing is asked twice, the answer is a boundary, all that was tried before
    /// it meets the target, and what was tried beyond is told.
    #[test]
    fn the_answer_is_a_boundary_and_true_of_all_that_was_tried() {
        for table in (1..=9).flat_map(tables) {
            for check in 0..=3 {
                let (found, asked) = of(&table, check);
                let mut once = asked.clone();
                once.sort_unstable();
                once.dedup();
                assert_eq!(once.len(), asked.len(), "{table:?}");
                match found.last {
                    Some(last) => {
                        assert!(once.iter().filter(|at| **at <= last).all(|at| table[*at]));
                        assert_eq!(found.next, Some(last + 1).filter(|n| *n < table.len()));
                    }
                    None => assert_eq!(found.next, Some(0)),
                }
                assert!(found.next.is_none_or(|next| !table[next]), "{table:?}");
                let beyond = once
                    .iter()
                    .filter(|at| found.next.is_some_and(|n| **at > n) && table[**at]);
                assert!(beyond.eq(&found.beyond), "{table:?}");
                let nearby = found.last.map_or(0..0, |l| l.saturating_sub(check)..l);
                assert!(
                    nearby.into_iter().all(|at| asked.contains(&at)),
                    "{table:?}"
                );
            }
        }
    }

    /// The scan is brute force, and on monotone answers the search is as good.
    #[test]
    fn monotone_answers_need_few_questions_and_a_scan_is_brute_force() {
        for table in (1..=9).flat_map(tables) {
            let by_force = table.iter().position(|met| !met).unwrap_or(table.len());
            let monotone = table[by_force..].iter().all(|met| !met);
            let (scanned, asked) = of(&table, table.len());
            assert_eq!(asked.len(), table.len());
            assert_eq!(scanned.last, by_force.checked_sub(1));
            assert_eq!(scanned.beyond.is_empty(), monotone);
            if monotone {
                let (found, _) = of(&table, 0);
                assert_eq!((found.last, found.next), (scanned.last, scanned.next));
            }
        }
        // 1000 candidates: 9 to gallop past 300, 8 to bisect 256 of them.
        let table: Vec<bool> = (0..1000).map(|at| at <= 300).collect();
        let (found, asked) = of(&table, 0);
        assert_eq!(found.last, Some(300));
        assert!(asked.len() <= 18, "{}", asked.len());
    }
}
