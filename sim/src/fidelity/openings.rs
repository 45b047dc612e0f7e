//! Which openings prompts share, from their tokens.
//!
//! What: a block of tokens is the same as another if it and all before it are equal; a request then names a
//! group at every depth where fewer prompts go on together than before.
//! Why: a scheduler here knows content by group and depth, not by tokens.
//! Limits: whole blocks only, as an engine's prefix cache has them. Prompts alone: that one continues
//! another's output is not seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use traces::model::SharedPrefix;
use units::{BlockSize, Tokens};

/// Leading blocks as a tree: the parent's number and the block's tokens.
type Node<'a> = (usize, &'a [u32]);

/// The openings that these prompts share, for each in order.
pub fn share_openings(prompts: &[Vec<u32>], size: BlockSize) -> Vec<Vec<SharedPrefix>> {
    let block = usize::try_from(size.tokens().get()).unwrap_or(usize::MAX);
    let mut numbers: BTreeMap<Node<'_>, usize> = BTreeMap::new();
    let mut together: Vec<u64> = vec![0];
    let paths: Vec<Vec<usize>> = prompts
        .iter()
        .map(|prompt| {
            let mut at = 0;
            let mut path = Vec::new();
            for tokens in prompt.chunks_exact(block) {
                let next = together.len();
                at = *numbers.entry((at, tokens)).or_insert(next);
                if at == next {
                    together.push(0);
                }
                together[at] += 1;
                path.push(at);
            }
            path
        })
        .collect();
    let openings = |path: &Vec<usize>| {
        let mut segments = Vec::new();
        for (depth, &node) in path.iter().enumerate() {
            let here = together[node];
            let after = path.get(depth + 1).map_or(0, |&n| together[n]);
            if here > 1 && after < here {
                segments.push(SharedPrefix {
                    group: Arc::from(format!("opening-{node}")),
                    tokens: Tokens((depth as u64 + 1) * size.tokens().get()),
                });
            }
        }
        segments
    };
    paths.iter().map(openings).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openings(prompts: &[&str]) -> Vec<Vec<(String, u64)>> {
        let tokens: Vec<Vec<u32>> = prompts
            .iter()
            .map(|p| p.chars().map(u32::from).collect())
            .collect();
        let size = BlockSize::new(2).expect("not zero");
        let short = |s: SharedPrefix| (s.group.to_string(), s.tokens.get());
        share_openings(&tokens, size)
            .into_iter()
            .map(|of_one| of_one.into_iter().map(short).collect())
            .collect()
    }

    #[test]
    fn prompts_part_where_their_blocks_do() {
        let got = openings(&["aabbccdd", "aabbccxx", "aabbyy", "zz", "aab"]);
        // Four begin with aa, three go on with bb, two with cc.
        assert_eq!(got[0].iter().map(|s| s.1).collect::<Vec<_>>(), [2, 4, 6]);
        assert_eq!(got[0], got[1]);
        assert_eq!(got[2], got[0][..2]);
        assert!(got[3].is_empty());
        assert_eq!(got[4], got[0][..1]);
    }

    #[test]
    fn equal_prompts_share_all_their_blocks() {
        let got = openings(&["aabbc", "aabbc"]);
        assert_eq!(got[0].iter().map(|s| s.1).collect::<Vec<_>>(), [4]);
        assert_eq!(got[0], got[1]);
    }

    #[test]
    fn equal_blocks_at_other_places_are_not_shared() {
        assert!(openings(&["aabb", "bbaa"]).iter().all(Vec::is_empty));
    }
}
