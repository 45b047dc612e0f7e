//! Prompts as paths in a tree of blocks.
//!
//! Why: two prompts share as many leading blocks as their paths share nodes, whether or not the
//! source's ids stand for whole prefixes. A node costs some 20 bytes, so a file of ten million blocks
//! fits.

use std::num::NonZeroU64;

use rustc_hash::FxHashMap;
use units::Tokens;

use crate::model::SharedPrefix;

/// Where a block stands: the nodes are numbered in order of appearance.
type Node = u32;

/// The tree, and how many first prompts pass through each node.
#[derive(Debug, Default)]
pub(super) struct Trie {
    children: FxHashMap<(Node, u64), Node>,
    /// By node.
    openings: Vec<u32>,
}

impl Trie {
    /// A root of its own: prompts under different roots share nothing.
    pub(super) fn root(&mut self) -> Node {
        self.node()
    }

    /// The path of a prompt, one node a block.
    pub(super) fn path(&mut self, root: Node, ids: &[u64]) -> Vec<Node> {
        let mut at = root;
        let mut path = Vec::with_capacity(ids.len());
        for &id in ids {
            at = if let Some(&known) = self.children.get(&(at, id)) {
                known
            } else {
                let fresh = self.node();
                self.children.insert((at, id), fresh);
                fresh
            };
            path.push(at);
        }
        path
    }

    /// Counts a session that opens with this path.
    pub(super) fn count_opening(&mut self, path: &[Node]) {
        for &node in path {
            self.openings[node as usize] += 1;
        }
    }

    /// What the path of a counted opening has in common with other openings: a segment for each
    /// stretch that the same sessions share, named by its last node after `name`.
    pub(super) fn shared(
        &self,
        path: &[Node],
        (block, prompt): (NonZeroU64, Tokens),
        name: &str,
    ) -> Vec<SharedPrefix> {
        let sessions = |node: Node| self.openings[node as usize];
        let mut segments: Vec<SharedPrefix> = Vec::new();
        for (depth, &node) in path.iter().enumerate() {
            if sessions(node) < 2 {
                break;
            }
            let goes_on = path
                .get(depth + 1)
                .is_some_and(|&next| sessions(next) == sessions(node));
            if goes_on {
                continue;
            }
            // The last block of a prompt may be part full.
            let end = (depth as u64 + 1).saturating_mul(block.get());
            segments.push(SharedPrefix {
                group: format!("{name}/{node}").into(),
                tokens: Tokens(end).min(prompt),
            });
        }
        segments
    }

    fn node(&mut self) -> Node {
        let node = Node::try_from(self.openings.len()).expect("the importers bound the blocks");
        self.openings.push(0);
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_end_where_sessions_part() {
        let mut trie = Trie::default();
        let root = trie.root();
        let prompts: [&[u64]; 4] = [&[1, 2, 3, 4], &[1, 2, 3, 5], &[1, 2, 9], &[7]];
        let paths = prompts.map(|ids| trie.path(root, ids));
        for path in &paths {
            trie.count_opening(path);
        }
        let block = NonZeroU64::new(10).unwrap();
        let shared = |path: &[Node], prompt| {
            let segments = trie.shared(path, (block, Tokens(prompt)), "f");
            let ends = segments.iter().map(|s| (s.group.to_string(), s.tokens.0));
            ends.collect::<Vec<_>>()
        };
        let two = ("f/2".to_owned(), 20);
        assert_eq!(shared(&paths[0], 38), [two.clone(), ("f/3".to_owned(), 30)]);
        assert_eq!(shared(&paths[1], 38), [two.clone(), ("f/3".to_owned(), 30)]);
        assert_eq!(shared(&paths[2], 25), [two]);
        assert_eq!(shared(&paths[3], 10), []);
    }

    #[test]
    fn a_whole_prompt_in_common_ends_with_the_prompt() {
        let mut trie = Trie::default();
        let root = trie.root();
        let path = trie.path(root, &[1, 2]);
        trie.count_opening(&path);
        trie.count_opening(&path);
        // The same ids under another root are other content.
        let other = trie.root();
        let apart = trie.path(other, &[1, 2]);
        trie.count_opening(&apart);
        let block = NonZeroU64::new(10).unwrap();
        let segments = trie.shared(&path, (block, Tokens(15)), "f");
        assert_eq!(segments.len(), 1);
        assert_eq!(segments[0].tokens, Tokens(15));
        assert_eq!(trie.shared(&apart, (block, Tokens(15)), "f"), []);
    }
}
