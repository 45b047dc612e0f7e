//! The virtual clock of processor sharing, in fixed point.
//!
//! Both times are nanoseconds with 32 fractional bits. Every rounding makes an end earlier: virtual
//! time is rounded up, the time to reach it down, a call's share down. An end that falls on a whole
//! nanosecond is then a hair early at most, and rounding it up to a whole nanosecond gives it back.

use units::{Nanos, Time};

/// A time or a span in 2^-32 ns. A u64 of nanoseconds fits with 32 bits to spare.
pub(super) type Fixed = u128;

const FRACTION_BITS: u32 = 32;

/// How far each thread has got, as of an instant.
#[derive(Clone, Debug)]
pub(super) struct FairClock {
    cores: u64,
    /// All of them, guests included.
    threads: u64,
    guests: u64,
    /// The instant of the last change.
    real: Fixed,
    /// CPU time that a thread running since time 0 would have got by then.
    served: Fixed,
}

impl FairClock {
    pub(super) const fn new(cores: u64) -> Self {
        Self {
            cores,
            threads: 0,
            guests: 0,
            real: 0,
            served: 0,
        }
    }

    pub(super) const fn cores(&self) -> u64 {
        self.cores
    }

    pub(super) const fn threads(&self) -> u64 {
        self.threads
    }

    /// Moves to `now`, with the present threads all the while.
    pub(super) fn move_to(&mut self, now: Time) {
        let now = Fixed::from(now.as_nanos()) << FRACTION_BITS;
        self.served = self.served_at(now);
        self.real = now;
    }

    /// Moves to the instant when virtual time reaches `virtual_end`.
    pub(super) fn move_to_end(&mut self, virtual_end: Fixed) {
        self.real = self.reaches(virtual_end);
        self.served = virtual_end;
    }

    /// The virtual end of a call that starts now.
    pub(super) fn end_of(&self, cpu: Nanos, parallelism: u32) -> Fixed {
        let share = (Fixed::from(cpu.as_nanos()) << FRACTION_BITS) / Fixed::from(parallelism);
        self.served + share
    }

    /// The first whole nanosecond at or after the instant when virtual time reaches `virtual_end`.
    pub(super) fn whole_end(&self, virtual_end: Fixed) -> Time {
        let ns = self.reaches(virtual_end).div_ceil(1 << FRACTION_BITS);
        Time::from_nanos(u64::try_from(ns).expect("the clock passed 2^64 ns"))
    }

    /// Threads that are no call's and take part in the sharing from now on.
    pub(super) fn set_guests(&mut self, guests: u64) {
        self.threads = (self.threads - self.guests)
            .checked_add(guests)
            .expect("threads passed 2^64");
        self.guests = guests;
    }

    pub(super) const fn guests(&self) -> u64 {
        self.guests
    }

    pub(super) fn add_threads(&mut self, parallelism: u32) {
        self.threads = self
            .threads
            .checked_add(u64::from(parallelism))
            .expect("tool threads passed 2^64");
    }

    pub(super) fn remove_threads(&mut self, parallelism: u32) {
        self.threads = self
            .threads
            .checked_sub(u64::from(parallelism))
            .expect("tool threads went below zero");
    }

    fn served_at(&self, real: Fixed) -> Fixed {
        let span = real
            .checked_sub(self.real)
            .expect("tool CPUs were asked to go back in time");
        self.served
            + if self.threads <= self.cores {
                span
            } else {
                times(span, self.cores).div_ceil(Fixed::from(self.threads))
            }
    }

    fn reaches(&self, virtual_end: Fixed) -> Fixed {
        let missing = virtual_end.saturating_sub(self.served);
        self.real
            + if self.threads <= self.cores {
                missing
            } else {
                times(missing, self.threads) / Fixed::from(self.cores)
            }
    }
}

/// Below 2^128 unless spans and loads are both absurd: a year of 10^9 threads is 2^117.
fn times(span: Fixed, count: u64) -> Fixed {
    span.checked_mul(Fixed::from(count))
        .expect("tool work passed 2^96 thread nanoseconds")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// No thread runs faster than a core, and all together no faster than the cores, but for
        /// less than 2^-32 ns per thread from the one rounding.
        #[test]
        fn rates_are_bounded(
            cores in 1_u64..100,
            threads in 1_u64..10_000,
            real in 0_u128..1 << 60,
            span in 0_u128..1 << 60,
        ) {
            let clock = FairClock { cores, threads, guests: 0, real, served: 0 };
            let got = clock.served_at(real + span);
            prop_assert!(got <= span);
            prop_assert!(got * u128::from(threads) < span * u128::from(cores) + u128::from(threads));
        }

        /// The instant at which an end is reached has served it, and no earlier one has missed it by
        /// more than the rounding of the instant: 2^-32 ns.
        #[test]
        fn an_end_is_reached_when_it_is_served(
            cores in 1_u64..100,
            threads in 1_u64..10_000,
            served in 0_u128..1 << 60,
            missing in 0_u128..1 << 60,
        ) {
            let clock = FairClock { cores, threads, guests: 0, real: 0, served };
            let end = clock.reaches(served + missing);
            prop_assert!(clock.served_at(end + 1) >= served + missing);
            prop_assert!(end >= missing);
        }
    }
}
