//! Reason codes: a closed list of why a policy decided what it did.
//!
//! Why closed: two logs can be compared, counted and grouped without reading prose.
//! Limits: a reason names the rule that applied; the numbers are beside it in the log.

/// Declares the codes with their kebab-case names, once each.
macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// Why something was decided.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[$doc])* $variant,)+
        }

        impl Reason {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name in files and reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

reasons! {
    /// The part does not say.
    Unstated = "unstated",

    // Admission.
    /// Everybody enters at once.
    Open = "open",
    /// Nobody is inside, so the oldest enters whatever its size.
    MachineEmpty = "machine-empty",
    /// The tool CPUs are under pressure: large sessions, which call fewer tools, go first.
    CpuPressureLargestFirst = "cpu-pressure-largest-first",
    /// Only long sessions are left to admit.
    Tail = "tail",
    /// No pressure and a place for everybody: in order of arrival.
    CalmArrivalOrder = "calm-arrival-order",
    /// More wait than may enter: the smallest first.
    SmallestFirst = "smallest-first",
    /// The oldest of those whose first prompt fits what is free.
    OldestThatFits = "oldest-that-fits",
    /// An oracle says that it has the least work left, of those whose peak fits.
    ShortestThatFits = "shortest-that-fits",
    /// The window has a place: in order of arrival.
    WindowHasRoom = "window-has-room",
    /// Its context fits beside those in play.
    ContextFits = "context-fits",

    // Pausing and resuming.
    /// The contexts in play are more than the pool holds.
    OverCapacity = "over-capacity",
    /// It was held for as long as anybody may be.
    HeldTooLong = "held-too-long",
    /// Everybody else is paused.
    NobodyPlays = "nobody-plays",

    // The admission window.
    /// No pressure: it grows.
    NoPressure = "no-pressure",
    /// The KV pool is under pressure: it shrinks.
    KvPressure = "kv-pressure",
    /// The tool CPUs are under pressure: it shrinks.
    CpuPressure = "cpu-pressure",
    /// Both are under pressure: it shrinks.
    KvAndCpuPressure = "kv-and-cpu-pressure",
    /// The pool is mostly idle: it grows.
    KvIdle = "kv-idle",
    /// The pool is full and fewer prompts are found in it: it shrinks.
    HitRateFalls = "hit-rate-falls",
    /// Between the marks: it stays.
    BetweenMarks = "between-marks",

    // Starts and preemptions.
    /// It is first in the waiting order and fits.
    HeadOfOrder = "head-of-order",
    /// Those before it in the order do not fit.
    HeadDoesNotFit = "head-does-not-fit",
    /// It is next, and the host has KV for it that is copied back first.
    RestoreFromHost = "restore-from-host",
    /// Another turn is short of blocks and this one gives way first.
    LowestPriority = "lowest-priority",
    /// It is short of blocks itself and nobody else gives way before it.
    LowestPriorityItself = "lowest-priority-itself",
    /// Turns took each other's blocks without any of them ending: all but one give way now.
    EndsACircle = "ends-a-circle",

    // Retention.
    /// Nothing is kept while tools run.
    NoRetention = "no-retention",
    /// Everything is kept until somebody needs it more.
    SoftPin = "soft-pin",
    /// A warm resume is worth more than the memory costs.
    BenefitAbovePrice = "benefit-above-price",
    /// The memory costs more than a warm resume is worth.
    PriceAboveBenefit = "price-above-benefit",
    /// The tool is usually quick.
    ToolUsuallyQuick = "tool-usually-quick",
    /// The tool is usually slow.
    ToolUsuallySlow = "tool-usually-slow",
    /// A life of the pin that pays on average.
    LifePays = "life-pays",
    /// No life of the pin pays on average.
    NoLifePays = "no-life-pays",
    /// Keeping has wasted less than recomputing would.
    BeforeBreakEven = "before-break-even",
    /// Keeping has wasted as much as recomputing would.
    AtBreakEven = "at-break-even",
    /// Swapping wastes less than keeping on or recomputing.
    SwapWastesLess = "swap-wastes-less",
    /// It was to be copied to host memory, and there is no room.
    HostFull = "host-full",
    /// The pin's time is up.
    TimeUp = "time-up",
    /// The pin is stale: there for the taking.
    Stale = "stale",
    /// Of the pins that may be taken, it is worth least per block.
    LeastValue = "least-value",
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_kebab_case_and_distinct() {
        let names: BTreeSet<&str> = Reason::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for name in names {
            assert!(
                name.split('-')
                    .all(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase())),
                "{name}"
            );
        }
    }
}
