//! The coefficients of the closed forms, in integer picoseconds.
//!
//! Why picoseconds: a token pair of attention costs about 1 ns, so nanoseconds would round the
//! coefficient itself. Why integers: a step's time is then exact before its one rounding.

/// Coefficients of the closed forms, in picoseconds.
///
/// # Source
/// The forms and their names are fits to the kernel tables of NVIDIA `AIConfigurator`
/// (ai-dynamo/aiconfigurator, Apache-2.0); [`ClosedForm`](super::ClosedForm) states them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coefficients {
    /// Per step with prefill: mostly reading the weights, all experts included.
    pub p0: u64,
    /// Per new prompt token.
    pub p1: u64,
    /// Per pair of a new token and a token it attends to.
    pub p2: u64,
    /// Per decode step, whatever is in it.
    pub d0: u64,
    /// Reading every expert once; zero for a dense model.
    pub e: u64,
    /// Per decoding turn.
    pub d1: u64,
    /// Per token of context that a decode step reads.
    pub d2: u64,
    /// Share of the experts that one token activates, in 0..=1. No matter if `e` is zero.
    pub active_share: f64,
}

/// The same coefficients as they are written down: milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "field by field those of `Coefficients`")]
pub struct InMillis {
    pub p0: f64,
    pub p1: f64,
    pub p2: f64,
    pub d0: f64,
    pub e: f64,
    pub d1: f64,
    pub d2: f64,
}

impl InMillis {
    /// The same with coefficients too small for a picosecond set to zero.
    pub fn without_dust(self) -> Self {
        let clean = |ms: f64| if ms < 1e-9 { 0.0 } else { ms };
        Self {
            p0: clean(self.p0),
            p1: clean(self.p1),
            p2: clean(self.p2),
            d0: clean(self.d0),
            e: clean(self.e),
            d1: clean(self.d1),
            d2: clean(self.d2),
        }
    }
}

/// A coefficient that is none.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum CostError {
    /// Negative, not finite, or above [`Coefficients::MAX_PS`].
    #[error(
        "cost coefficient `{name}` is {ms} ms (wanted: 0 to {} ms)",
        Coefficients::MAX_MS
    )]
    OutOfRange {
        /// Which one.
        name: &'static str,
        /// Its value in milliseconds.
        ms: f64,
    },
    /// Not zero, but zero once rounded: the term would vanish in silence.
    #[error("cost coefficient `{name}` is {ms} ms, below the resolution of 1 ps (1e-9 ms)")]
    TooFine {
        /// Which one.
        name: &'static str,
        /// Its value in milliseconds.
        ms: f64,
    },
    /// The share of active experts is no share.
    #[error("share of active experts is {share} (wanted: 0 to 1)")]
    Share {
        /// The offending share.
        share: f64,
    },
}

impl Coefficients {
    /// The largest coefficient, in picoseconds: 1,000 s. Below 2^50, so that no sum of products
    /// with 64-bit counts leaves 128 bits.
    pub const MAX_PS: u64 = 1_000_000_000_000_000;
    const MAX_MS: f64 = 1e6;

    /// Coefficients from milliseconds, each rounded to the nearest picosecond.
    ///
    /// `active_share` is k/E, the share of the experts that one token activates.
    ///
    /// # Errors
    /// [`CostError`] for a coefficient that is negative, not finite, too large, or lost by the
    /// rounding, and for a share outside 0..=1.
    pub fn from_ms(ms: &InMillis, active_share: f64) -> Result<Self, CostError> {
        let built = Self {
            p0: picos("p0", ms.p0)?,
            p1: picos("p1", ms.p1)?,
            p2: picos("p2", ms.p2)?,
            d0: picos("d0", ms.d0)?,
            e: picos("e", ms.e)?,
            d1: picos("d1", ms.d1)?,
            d2: picos("d2", ms.d2)?,
            active_share,
        };
        built.check()?;
        Ok(built)
    }

    /// Refuses what the arithmetic of a step could not carry.
    pub(super) fn check(&self) -> Result<(), CostError> {
        let named = [
            ("p0", self.p0),
            ("p1", self.p1),
            ("p2", self.p2),
            ("d0", self.d0),
            ("e", self.e),
            ("d1", self.d1),
            ("d2", self.d2),
        ];
        for (name, ps) in named {
            if ps > Self::MAX_PS {
                #[expect(clippy::cast_precision_loss, reason = "for the message only")]
                let ms = ps as f64 / 1e9;
                return Err(CostError::OutOfRange { name, ms });
            }
        }
        if !(0.0..=1.0).contains(&self.active_share) {
            return Err(CostError::Share {
                share: self.active_share,
            });
        }
        Ok(())
    }
}

fn picos(name: &'static str, ms: f64) -> Result<u64, CostError> {
    if !(0.0..=Coefficients::MAX_MS).contains(&ms) {
        return Err(CostError::OutOfRange { name, ms });
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked first"
    )]
    let ps = (ms * 1e9).round() as u64;
    if ps == 0 && ms > 0.0 {
        return Err(CostError::TooFine { name, ms });
    }
    Ok(ps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_become_the_nearest_picosecond() {
        let ms = InMillis {
            p1: 0.010_78,
            p2: 1.199e-6,
            d2: 3.22e-5,
            ..InMillis::default()
        };
        let c = Coefficients::from_ms(&ms, 0.0625).expect("in range");
        assert_eq!((c.p1, c.p2, c.d2), (10_780_000, 1_199, 32_200));
    }

    #[test]
    fn what_is_no_coefficient_is_refused_by_name() {
        for bad in [-1.0, f64::INFINITY, 1.1e6] {
            let ms = InMillis {
                d1: bad,
                ..InMillis::default()
            };
            let refused = Coefficients::from_ms(&ms, 0.5);
            assert_eq!(
                refused,
                Err(CostError::OutOfRange {
                    name: "d1",
                    ms: bad
                })
            );
        }
        let share = Coefficients::from_ms(&InMillis::default(), 1.5);
        assert_eq!(share, Err(CostError::Share { share: 1.5 }));
    }

    #[test]
    fn a_term_does_not_vanish_by_rounding() {
        let ms = InMillis {
            p2: 4e-10,
            ..InMillis::default()
        };
        let refused = Coefficients::from_ms(&ms, 0.5);
        assert_eq!(
            refused,
            Err(CostError::TooFine {
                name: "p2",
                ms: 4e-10
            })
        );
    }
}
