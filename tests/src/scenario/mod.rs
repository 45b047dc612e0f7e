//! Scenarios: a machine, a load and what must come of it, in one readable text.
//!
//! ```text
//! # Two blocks of 16 are taken by ...           the arithmetic, by hand
//! policy mars                                    a preset
//! set admission.kind open                        any of its settings
//! machine blocks=8 budget=64                     see `Scenario::machine`; 10 ms per step by default
//! machine host=8 copy_out=10ms copy_back=5ms     blocks of host memory, and the link's time per block
//! session at=0ms group=a shared=32 times=2 every=5ms
//!   turn prompt=48 output=40
//!   tool bash wall=5ms cpu=2ms threads=2         after the turn above; several run side by side
//!   think 20ms
//!   turn prompt=96 reused=88 output=1
//! expect finish s0 650ms                         see `expect`
//! show window                                    leave the rest out of the golden text
//! ```

mod expect;
mod parse;
mod render;

use policies::PolicySpec;
use sim::world::{Offered, Setup};

use crate::machine::{self, Record};

/// What the golden text shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Arrivals, admissions, starts, tokens, ends.
    Turns,
    /// Steps.
    Steps,
    /// Pins.
    Pins,
    /// Window updates.
    Window,
}

/// One scenario, parsed.
#[derive(Debug)]
pub struct Scenario {
    /// Its file's name.
    pub name: String,
    /// The machine.
    pub setup: Setup,
    /// The policy.
    pub policy: PolicySpec,
    /// The load, by arrival.
    pub load: Vec<Offered>,
    /// Lines after `expect`, with their numbers.
    pub expects: Vec<(usize, String)>,
    /// What the golden text shows.
    pub show: Vec<Part>,
    /// Lines of comment: where the arithmetic is.
    pub comments: usize,
}

impl Scenario {
    /// Parses a scenario.
    ///
    /// # Panics
    /// With file and line where the text is none.
    pub fn parse(name: &str, text: &str) -> Self {
        parse::parse(name, text)
    }

    /// Runs it.
    pub fn run(&self) -> Record {
        machine::run(&self.setup, &self.policy, &self.load)
            .unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// What the `expect` lines say and the run does not.
    pub fn broken(&self, record: &Record) -> Vec<String> {
        expect::broken(self, record)
    }

    /// The run as a timeline.
    pub fn timeline(&self, record: &Record) -> String {
        render::timeline(&self.show, record)
    }
}

/// Nanoseconds as milliseconds, without trailing zeros.
pub(crate) fn ms(ns: u64) -> String {
    let (whole, rest) = (ns / 1_000_000, ns % 1_000_000);
    if rest == 0 {
        return format!("{whole}ms");
    }
    let digits = format!("{rest:06}");
    format!("{whole}.{}ms", digits.trim_end_matches('0'))
}
