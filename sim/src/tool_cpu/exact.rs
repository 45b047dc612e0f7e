//! Processor sharing by brute force in exact rational arithmetic, to test against.

use std::cmp::Ordering;
use std::ops::{Add, Div, Mul, Sub};

/// A fraction in lowest terms with a positive denominator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ratio {
    top: i128,
    bottom: i128,
}

impl Ratio {
    pub(super) fn new(top: i128, bottom: i128) -> Self {
        let divisor = gcd(top.abs(), bottom);
        Self {
            top: top / divisor,
            bottom: bottom / divisor,
        }
    }

    pub(super) fn whole(n: u64) -> Self {
        Self::new(i128::from(n), 1)
    }
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Add for Ratio {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        Self::new(
            self.top * o.bottom + o.top * self.bottom,
            self.bottom * o.bottom,
        )
    }
}

impl Sub for Ratio {
    type Output = Self;
    fn sub(self, o: Self) -> Self {
        Self::new(
            self.top * o.bottom - o.top * self.bottom,
            self.bottom * o.bottom,
        )
    }
}

impl Mul for Ratio {
    type Output = Self;
    fn mul(self, o: Self) -> Self {
        Self::new(self.top * o.top, self.bottom * o.bottom)
    }
}

impl Div for Ratio {
    type Output = Self;
    /// By a positive number.
    fn div(self, o: Self) -> Self {
        Self::new(self.top * o.bottom, self.bottom * o.top)
    }
}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, o: &Self) -> Option<Ordering> {
        Some(self.cmp(o))
    }
}

impl Ord for Ratio {
    fn cmp(&self, o: &Self) -> Ordering {
        (self.top * o.bottom).cmp(&(o.top * self.bottom))
    }
}

/// The exact ends of calls given as (start, CPU, threads), by walking from change to change and
/// serving every thread in between. No virtual time: it shares no idea with what it tests.
pub(super) fn ends(cores: u32, calls: &[(u64, u64, u32)]) -> Vec<Ratio> {
    let zero = Ratio::whole(0);
    let mut left: Vec<Ratio> = calls
        .iter()
        .map(|&(_, cpu, threads)| Ratio::new(i128::from(cpu), i128::from(threads)))
        .collect();
    let mut ends = vec![zero; calls.len()];
    let mut now = zero;
    loop {
        let started = |i: usize| Ratio::whole(calls[i].0) <= now;
        let running: Vec<usize> = (0..calls.len())
            .filter(|&i| started(i) && left[i] > zero)
            .collect();
        let threads: u32 = running.iter().map(|&i| calls[i].2).sum();
        let rate = if threads <= cores {
            Ratio::whole(1)
        } else {
            Ratio::new(i128::from(cores), i128::from(threads))
        };
        let next_end = running.iter().map(|&i| now + left[i] / rate).min();
        let next_start = (0..calls.len())
            .filter(|&i| !started(i))
            .map(|i| Ratio::whole(calls[i].0))
            .min();
        let Some(next) = next_end.into_iter().chain(next_start).min() else {
            return ends;
        };
        for &i in &running {
            left[i] = left[i] - (next - now) * rate;
            if left[i] == zero {
                ends[i] = next;
            }
        }
        now = next;
    }
}
