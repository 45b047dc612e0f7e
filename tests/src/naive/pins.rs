//! KV kept at a yield, by section 4.4.

use super::Naive;
use super::session::At;

/// What was measured so far.
#[derive(Clone, Debug, Default)]
pub(super) struct PinRecord {
    /// Durations of named tools and of pauses.
    by_tool: [Vec<u64>; 2],
    all: Vec<u64>,
    cold: Vec<u64>,
}

impl PinRecord {
    pub(super) fn tool(&mut self, named: bool, wall: u64) {
        self.by_tool[usize::from(named)].push(wall);
        self.all.push(wall);
    }

    pub(super) fn cold(&mut self, delay: u64) {
        self.cold.push(delay);
    }
}

impl Naive {
    fn durations(&self, id: usize) -> Vec<u64> {
        let rules = self.rules.pins.as_ref().expect("somebody pinned");
        let s = &self.sessions[id];
        let own = &self.record.by_tool[usize::from(s.tools[s.turn].is_some())];
        if own.len() >= rules.tool_min {
            own.clone()
        } else if self.record.all.len() >= rules.tool_min {
            self.record.all.clone()
        } else {
            vec![rules.prior_ns; 32]
        }
    }

    /// Past the bound, or the tool has outlived its record; never while the next turn waits.
    pub(super) fn stale(&self, now: u64, id: usize) -> bool {
        let s = &self.sessions[id];
        let Some(rules) = self
            .rules
            .pins
            .as_ref()
            .filter(|_| s.pinned && s.at == At::Tool)
        else {
            return false;
        };
        let elapsed = now - s.yielded;
        elapsed > rules.bound_ns || self.durations(id).iter().all(|&d| d <= elapsed)
    }

    /// Worth per block in seconds.
    #[allow(clippy::cast_precision_loss, reason = "tiny numbers")]
    fn value(&self, now: u64, id: usize) -> f64 {
        let s = &self.sessions[id];
        let bound = self.rules.pins.as_ref().expect("somebody pinned").bound_ns;
        let chance = if s.at == At::Waiting {
            1.0
        } else {
            let elapsed = now - s.yielded;
            let longer: Vec<u64> = self
                .durations(id)
                .into_iter()
                .filter(|&d| d > elapsed)
                .collect();
            let within = longer.iter().filter(|&&d| d <= bound).count();
            if longer.is_empty() {
                0.0
            } else {
                within as f64 / longer.len() as f64
            }
        };
        let context = s.computed;
        let reload = (context.div_ceil(self.case.budget) as u64 * super::STEP_NS) as f64 / 1e9;
        let cold = &self.record.cold;
        let wait = if cold.is_empty() {
            0.0
        } else {
            cold.iter().sum::<u64>() as f64 / cold.len() as f64 / 1e9
        };
        chance * (reload + wait) / s.blocks.len().max(1) as f64
    }

    pub(super) fn unpin(&mut self, now: u64, id: usize, why: &str) {
        self.sessions[id].pinned = false;
        self.changed = true;
        self.tell(now, format!("s{id} unpinned: {why}"));
        self.release(id);
    }

    /// Ends the pin that goes first for `claimant`; `live` ones only if they may.
    pub(super) fn reclaim(&mut self, now: u64, claimant: usize, live: bool, why: &str) -> bool {
        let mut first: Option<(bool, bool, f64, usize, usize)> = None;
        for s in &self.sessions {
            let stale = self.stale(now, s.id);
            if !s.pinned || s.id == claimant || !(stale || live) {
                continue;
            }
            let this = (
                s.at == At::Waiting,
                !stale,
                self.value(now, s.id),
                s.blocks.len(),
                s.id,
            );
            let better = first.is_none_or(|f| {
                (this.0, this.1)
                    .cmp(&(f.0, f.1))
                    .then(this.2.total_cmp(&f.2))
                    .then(f.3.cmp(&this.3))
                    .then(f.4.cmp(&this.4))
                    .is_lt()
            });
            if better {
                first = Some(this);
            }
        }
        let Some((.., id)) = first else {
            return false;
        };
        self.unpin(now, id, why);
        true
    }
}
