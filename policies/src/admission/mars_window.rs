//! MARS's external control plane: an AIMD window over sessions (paper Algorithm 1).
//!
//! Rule: pressure from the KV pool or from the tool CPUs shrinks the window by a factor, its absence
//! grows it by a step; both pressures also cap it. Among those that wait, small sessions go first
//! and long ones pass a gate.
//! Source: arXiv 2604.26963 Algorithm 1; defaults from the authors' preview code.
//! Limits: with 8 cores and marks 1/4 the CPU cap is 20 sessions, which bounds tools in flight per
//! core at 2.5, so the CPU flag cannot set. That is a property of the defaults, kept visible.

use scheduler::policy::{Admission, Backlog, Candidate, Choice, InFlight, Trigger};
use scheduler::{Ema, Reason, Telemetry, Window};
use serde::{Deserialize, Serialize};
use units::{Blocks, Nanos, SessionId, Time, Tokens, ceil_share};

/// Settings of [`MarsWindow`]; units end the names, defaults are in `presets/mars.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarsWindowSettings {
    /// Largest window, sessions.
    pub window_max: u64,
    /// Window at the start, sessions.
    pub window_init: u64,
    /// Smallest window, sessions.
    pub window_min: u64,
    /// Sessions added per update without pressure.
    pub increase: u64,
    /// Share of the window that an update under pressure leaves, percent, rounded down.
    pub decrease_percent: u64,
    /// Least time between updates; time between control ticks.
    pub interval_s: f64,
    /// Share of the pool held by turns at which KV pressure sets.
    pub kv_high: f64,
    /// Share at which it clears.
    pub kv_low: f64,
    /// Tools in flight per core at which CPU pressure sets.
    pub cpu_high: f64,
    /// Tools in flight per core at which it may clear.
    pub cpu_low: f64,
    /// Smoothed run-queue delay at which CPU pressure sets.
    pub wait_high_s: f64,
    /// Delay at which it may clear.
    pub wait_low_s: f64,
    /// Share of the pool that admissions leave free, percent, rounded up.
    pub reserve_percent: u64,
    /// First-turn prompt tokens above which a session is long.
    pub long_prompt: u64,
    /// Long sessions in flight at once while short ones keep arriving.
    pub long_in_flight: usize,
    /// Share of free KV (and of what long sessions hold) that long ones may fill when only long
    /// ones are left, percent.
    pub tail_kv_percent: u64,
    /// Shortest time without a short session in the queue before a long one may pass.
    pub gate_min_s: f64,
    /// Longest such time.
    pub gate_max_s: f64,
    /// When the controller runs.
    pub runs: Runs,
    /// When the queue counts as a tail of long sessions.
    pub tail: Tail,
    /// Whether the caps are written back into the window, so that it must climb again afterwards.
    pub write_back: bool,
    /// Whether the run-queue delay of tools counts (in the released code it is always 0).
    pub use_tool_wait: bool,
    /// Whether blocks that admitted turns still have to allocate are taken off the budget.
    pub count_owed: bool,
}

/// When the controller runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runs {
    /// At every arrival, turn end, session end and control tick (the paper).
    AtEveryEvent,
    /// Only at arrivals while the load lasts, then at every event (the released code).
    AtArrivals,
}

/// When the queue counts as a tail of long sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tail {
    /// No short session was queued for the gate's time.
    Quiet,
    /// The load is over, which only a replay can know (the released code).
    LoadOver,
}

/// A long session in flight.
#[derive(Clone, Copy, Debug)]
struct Long {
    session: SessionId,
    demand: Blocks,
}

/// The window and what it remembers.
#[derive(Clone, Debug)]
pub struct MarsWindow {
    set: MarsWindowSettings,
    interval: Nanos,
    window: u64,
    cpu_over: bool,
    kv_over: bool,
    updated: Option<Time>,
    last_arrival: Option<Time>,
    gap_s: Ema,
    load_over: bool,
    /// When a short session was last in the queue; `None` if never.
    short_seen: Option<Time>,
    long: Vec<Long>,
}

impl MarsWindow {
    /// # Errors
    /// A message that names the setting, its value and what it may be.
    pub fn new(set: MarsWindowSettings) -> Result<Self, String> {
        super::check_marks(("kv_low", set.kv_low), ("kv_high", set.kv_high))?;
        super::check_marks(("cpu_low", set.cpu_low), ("cpu_high", set.cpu_high))?;
        super::check_marks(
            ("wait_low_s", set.wait_low_s),
            ("wait_high_s", set.wait_high_s),
        )?;
        super::check_marks(
            ("gate_min_s", set.gate_min_s),
            ("gate_max_s", set.gate_max_s),
        )?;
        super::check_windows(set.window_min, set.window_init, set.window_max)?;
        for (name, percent) in [
            ("decrease_percent", set.decrease_percent),
            ("reserve_percent", set.reserve_percent),
            ("tail_kv_percent", set.tail_kv_percent),
        ] {
            if percent > 100 {
                return Err(format!("{name} is {percent}, wanted 0 to 100"));
            }
        }
        let interval = Nanos::from_secs(set.interval_s)
            .ok()
            .filter(|&i| i > Nanos::ZERO)
            .ok_or_else(|| format!("interval_s is {}, wanted more than 0", set.interval_s))?;
        Ok(Self {
            interval,
            window: set.window_init,
            cpu_over: false,
            kv_over: false,
            updated: None,
            last_arrival: None,
            gap_s: Ema::default(),
            load_over: false,
            short_seen: None,
            long: Vec::new(),
            set,
        })
    }

    /// Sessions that the KV pool allows: all up to the low mark, the minimum from the high mark on,
    /// linear in between and rounded half up. A soft cap, not a cliff.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "window sizes are small; the result lies between the two"
    )]
    pub fn kv_cap(set: &MarsWindowSettings, pressure: f64) -> u64 {
        if pressure <= set.kv_low {
            return set.window_max;
        }
        if pressure >= set.kv_high {
            return set.window_min;
        }
        let drop = (set.window_max - set.window_min) as f64;
        let share = (pressure - set.kv_low) / (set.kv_high - set.kv_low);
        (set.window_max as f64 - drop * share + 0.5).floor() as u64
    }

    /// Sessions that the tool CPUs allow: the middle of the two marks per core, rounded up.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the window's range; a negative product is impossible"
    )]
    pub fn cpu_cap(set: &MarsWindowSettings, cores: u32) -> u64 {
        let middle = f64::from(cores) * f64::midpoint(set.cpu_low, set.cpu_high);
        (middle.ceil() as u64).clamp(set.window_min, set.window_max)
    }

    fn is_long(&self, candidate: &Candidate) -> bool {
        candidate.prompt.get() > self.set.long_prompt
    }

    /// Sets and clears the pressure flags with hysteresis. At every call.
    fn observe_pressure(&mut self, t: &Telemetry) {
        let (u, r, q) = (t.kv_pressure(), t.cpu_backlog(), self.tool_wait(t));
        if r >= self.set.cpu_high || q >= self.set.wait_high_s {
            self.cpu_over = true;
        } else if r <= self.set.cpu_low && q <= self.set.wait_low_s {
            self.cpu_over = false;
        }
        if u >= self.set.kv_high {
            self.kv_over = true;
        } else if u <= self.set.kv_low {
            self.kv_over = false;
        }
    }

    fn tool_wait(&self, t: &Telemetry) -> f64 {
        if self.set.use_tool_wait {
            t.tool_wait_s
        } else {
            0.0
        }
    }

    fn healthy(&self, t: &Telemetry, budget: Blocks) -> bool {
        t.cpu_backlog() <= self.set.cpu_low
            && self.tool_wait(t) <= self.set.wait_low_s
            && t.kv_pressure() <= self.set.kv_low
            && budget > Blocks::ZERO
    }

    /// Blocks that new sessions may be promised.
    fn budget(&self, t: &Telemetry) -> Blocks {
        let reserve = Blocks(ceil_share(t.usable.get(), self.set.reserve_percent));
        let owed = if self.set.count_owed {
            t.owed
        } else {
            Blocks::ZERO
        };
        (t.free + t.stale).saturating_sub(reserve + owed)
    }

    /// Whether no short session has been in the queue for the gate's time.
    fn no_short_for_a_while(&self, now: Time) -> bool {
        let gap = self.gap_s.get().unwrap_or(1.0);
        let wait = gap.clamp(self.set.gate_min_s, self.set.gate_max_s);
        self.short_seen
            .is_none_or(|at| now.since(at).as_secs() >= wait)
    }

    fn is_tail(&self, now: Time) -> bool {
        match self.set.tail {
            Tail::Quiet => self.no_short_for_a_while(now),
            Tail::LoadOver => self.load_over,
        }
    }

    /// Admits for `reason` while `slots` last those candidates that `fits` lets through.
    fn take<'a>(
        &mut self,
        reason: Reason,
        candidates: impl Iterator<Item = &'a Candidate>,
        slots: &mut u64,
        out: &mut Vec<Choice>,
        mut fits: impl FnMut(&Self, &Candidate) -> bool,
    ) {
        for candidate in candidates {
            if *slots == 0 {
                break;
            }
            let chosen = out.iter().any(|c| c.session == candidate.session);
            if chosen || !fits(self, candidate) {
                continue;
            }
            *slots -= 1;
            self.enter(candidate, reason, out);
        }
    }

    fn enter(&mut self, candidate: &Candidate, reason: Reason, out: &mut Vec<Choice>) {
        if self.is_long(candidate) {
            self.long.push(Long {
                session: candidate.session,
                demand: candidate.demand,
            });
        }
        out.push(Choice::new(candidate.session, reason));
    }

    /// Fills the free slots from the backlog (the paper's `PackQueue`).
    fn pack(
        &mut self,
        now: Time,
        t: &Telemetry,
        limit: u64,
        backlog: &Backlog,
        in_flight: &dyn InFlight,
        out: &mut Vec<Choice>,
    ) {
        let mut inside = t.in_flight as u64;
        let mut budget = self.budget(t);
        let healthy = self.healthy(t, budget);
        if inside == 0
            && let Some(oldest) = backlog.by_arrival().next()
        {
            // No dead end: whatever its size, the oldest enters an empty machine.
            self.enter(oldest, Reason::MachineEmpty, out);
            budget = budget.saturating_sub(oldest.demand);
            inside = 1;
        }
        let mut slots = limit.saturating_sub(inside);
        let long_from = Tokens(self.set.long_prompt.saturating_add(1));
        let only_long = backlog.sized(..long_from).next().is_none();
        let mut within_budget = |candidate: &Candidate| {
            let fits = candidate.demand <= budget;
            if fits {
                budget -= candidate.demand;
            }
            fits
        };
        if self.cpu_over {
            // Long sessions live on the GPU and bring fewer tool calls.
            let reason = Reason::CpuPressureLargestFirst;
            let largest = backlog.largest_first();
            self.take(reason, largest, &mut slots, out, |_, c| within_budget(c));
        } else if only_long && self.is_tail(now) {
            self.pack_tail(t, inside, backlog, in_flight, out);
        } else {
            let kv_over = self.kv_over;
            let gate_open = self.no_short_for_a_while(now) && !kv_over;
            let passes = |this: &Self, c: &Candidate| {
                !this.is_long(c) || (gate_open && this.long.len() < this.set.long_in_flight)
            };
            let calm = !kv_over && healthy && backlog.len() as u64 <= slots + out.len() as u64;
            if calm {
                let reason = Reason::CalmArrivalOrder;
                self.take(reason, backlog.by_arrival(), &mut slots, out, |this, c| {
                    passes(this, c) && within_budget(c)
                });
            } else {
                let reason = Reason::SmallestFirst;
                self.take(reason, backlog.by_size(), &mut slots, out, |this, c| {
                    passes(this, c) && within_budget(c)
                });
            }
        }
    }

    /// Only long sessions are left: ignore the window, fill a share of what is free or theirs.
    fn pack_tail(
        &mut self,
        t: &Telemetry,
        inside: u64,
        backlog: &Backlog,
        in_flight: &dyn InFlight,
        out: &mut Vec<Choice>,
    ) {
        let caps =
            Self::cpu_cap(&self.set, t.tool_cores).min(Self::kv_cap(&self.set, t.kv_pressure()));
        let mut slots = caps.saturating_sub(inside);
        let theirs: Blocks = self.long.iter().map(|l| in_flight.held(l.session)).sum();
        let room = (t.free + t.stale + theirs).get() * self.set.tail_kv_percent / 100;
        let oldest = backlog.by_arrival();
        self.take(Reason::Tail, oldest, &mut slots, out, |this, c| {
            let promised: Blocks = this.long.iter().map(|l| l.demand).sum();
            (promised + c.demand).get() <= room
        });
    }
}

impl Admission for MarsWindow {
    fn arrived(&mut self, now: Time, candidate: &Candidate) {
        if let Some(last) = self.last_arrival {
            self.gap_s.observe(now.since(last).as_secs());
        }
        self.last_arrival = Some(now);
        if !self.is_long(candidate) {
            self.short_seen = Some(now);
        }
    }

    fn admit(
        &mut self,
        now: Time,
        why: Trigger,
        telemetry: &Telemetry,
        backlog: &Backlog,
        in_flight: &dyn InFlight,
        admit: &mut Vec<Choice>,
    ) -> Option<Window> {
        let t = telemetry;
        if self.set.runs == Runs::AtArrivals && !self.load_over && why != Trigger::Arrival {
            return None;
        }
        self.observe_pressure(t);
        let overloaded = self.cpu_over || self.kv_over;
        let mut reason = Reason::BetweenMarks;
        let due = self.updated.is_none_or(|at| now.since(at) >= self.interval);
        if due {
            self.updated = Some(now);
            if overloaded {
                let shrunk = self.window * self.set.decrease_percent / 100;
                self.window = shrunk.max(self.set.window_min);
                reason = match (self.kv_over, self.cpu_over) {
                    (true, true) => Reason::KvAndCpuPressure,
                    (true, false) => Reason::KvPressure,
                    (false, _) => Reason::CpuPressure,
                };
            } else if self.healthy(t, self.budget(t)) {
                self.window = (self.window + self.set.increase).min(self.set.window_max);
                reason = Reason::NoPressure;
            }
        }
        let cpu_cap = Self::cpu_cap(&self.set, t.tool_cores);
        let kv_cap = Self::kv_cap(&self.set, t.kv_pressure());
        if due && self.set.write_back {
            let caps = cpu_cap.min(kv_cap).max(self.set.window_min);
            self.window = self.window.min(caps);
        }
        if backlog
            .sized(..=Tokens(self.set.long_prompt))
            .next()
            .is_some()
        {
            self.short_seen = Some(now);
        }
        let limit = self.window.min(cpu_cap).min(kv_cap);
        self.pack(now, t, limit, backlog, in_flight, admit);
        due.then_some(Window {
            size: self.window,
            cpu_cap,
            kv_cap,
            kv_pressure: t.kv_pressure(),
            cpu_backlog: t.cpu_backlog(),
            tool_wait_s: self.tool_wait(t),
            overloaded,
            reason,
        })
    }

    fn load_over(&mut self) {
        self.load_over = true;
    }

    fn ended(&mut self, session: SessionId) {
        self.long.retain(|l| l.session != session);
    }

    fn tick(&self) -> Option<Nanos> {
        Some(self.interval)
    }
}
