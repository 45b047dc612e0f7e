//! One session of the naive model: every token has a name.

use std::collections::BTreeSet;

use super::{Case, Token};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Future,
    Waiting,
    Running,
    Tool,
    Over,
}

#[derive(Clone, Debug)]
pub(super) struct NaiveSession {
    pub(super) id: usize,
    pub(super) arrival: u64,
    /// Per turn: the prompt's tokens and the tokens that will be generated.
    turns: Vec<(Vec<Token>, Vec<Token>)>,
    pub(super) tools: Vec<Option<u64>>,
    pub(super) at: At,
    pub(super) turn: usize,
    pub(super) generated: usize,
    pub(super) computed: usize,
    pub(super) scheduled: usize,
    pub(super) blocks: Vec<usize>,
    /// Of `blocks`, how many leading ones are registered by or for this turn.
    pub(super) full: usize,
    pub(super) pinned: bool,
    pub(super) yielded: u64,
    pub(super) ready: u64,
    pub(super) last_scheduled: Option<u64>,
    pub(super) started: bool,
    /// Whether KV was pinned when the turn became ready.
    pub(super) warm: bool,
    pub(super) service: u64,
    /// Places and tokens whose KV this session had before.
    pub(super) had: BTreeSet<(usize, Token)>,
}

impl NaiveSession {
    /// All sessions of a case, with names for all tokens: a group's opening by its place, everything
    /// else by a number that is used once.
    pub(super) fn all(case: &Case) -> Vec<Self> {
        let mut fresh: Token = 1_000_000;
        let mut name = || {
            fresh += 1;
            fresh
        };
        let mut sessions = Vec::new();
        for (id, session) in case.sessions.iter().enumerate() {
            let mut turns: Vec<(Vec<Token>, Vec<Token>)> = Vec::new();
            let mut context: Vec<Token> = Vec::new();
            for (k, turn) in session.turns.iter().enumerate() {
                let mut prompt = context[..turn.reused].to_vec();
                while prompt.len() < turn.prompt {
                    let place = prompt.len() as Token;
                    let opening = session.openings.iter().find(|o| prompt.len() < o.1);
                    prompt.push(match opening.filter(|_| k == 0) {
                        Some(&(group, _)) => 1000 * (group as Token + 1) + place,
                        None => name(),
                    });
                }
                let output: Vec<Token> = (0..turn.output).map(|_| name()).collect();
                context = [prompt.clone(), output.clone()].concat();
                turns.push((prompt, output));
            }
            sessions.push(Self {
                id,
                arrival: session.arrival_ms * 1_000_000,
                turns,
                tools: session.turns.iter().map(|t| t.tool_ms).collect(),
                at: At::Future,
                turn: 0,
                generated: 0,
                computed: 0,
                scheduled: 0,
                blocks: Vec::new(),
                full: 0,
                pinned: false,
                yielded: 0,
                ready: 0,
                last_scheduled: None,
                started: false,
                warm: false,
                service: 0,
                had: BTreeSet::new(),
            });
        }
        sessions
    }

    /// Most tokens in KV at once: the last sampled token is never computed.
    pub(super) fn peak(&self) -> usize {
        self.turns
            .iter()
            .map(|(p, o)| p.len() + o.len() - 1)
            .max()
            .unwrap_or(0)
    }

    pub(super) fn prompt(&self) -> usize {
        self.turns[self.turn].0.len()
    }

    pub(super) fn output(&self) -> usize {
        self.turns[self.turn].1.len()
    }

    /// Prompt and generated tokens.
    pub(super) fn total(&self) -> usize {
        self.prompt() + self.generated
    }

    /// The context so far.
    pub(super) fn tokens(&self) -> Vec<Token> {
        let (prompt, output) = &self.turns[self.turn];
        [prompt.as_slice(), &output[..self.generated]].concat()
    }

    pub(super) fn last_turn(&self) -> bool {
        self.turn + 1 == self.turns.len()
    }
}
