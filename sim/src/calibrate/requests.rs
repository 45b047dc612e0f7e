//! Scaling closed forms to a log of requests.

use crate::cost::InMillis;

/// Closed forms scaled to requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RequestFit {
    /// The scaled coefficients.
    pub ms: InMillis,
    /// What `p0`, `p1` and `p2` were multiplied by.
    pub prefill: f64,
    /// What `d0`, `e`, `d1` and `d2` were multiplied by.
    pub decode: f64,
    /// The loss before.
    pub before: f64,
    /// The loss after.
    pub after: f64,
}

/// The smallest and largest factor tried.
const RANGE: (f64, f64) = (0.25, 4.0);
/// Times that both factors are sought in turn.
const ROUNDS: usize = 3;
/// Narrowings of an interval; each keeps 62 %, so 12 leave half a percent of it.
const NARROWINGS: usize = 12;

/// Finds the two factors, on the prefill's and on the decode's coefficients, with the least loss: each in
/// turn by golden-section search on its logarithm, three times.
///
/// `loss` replays the requests with these coefficients and says how far off they are. It is asked about
/// 90 times.
///
/// # Errors
/// The first error of `loss`.
pub fn fit_requests<E>(
    start: &InMillis,
    mut loss: impl FnMut(&InMillis) -> Result<f64, E>,
) -> Result<RequestFit, E> {
    let before = loss(start)?;
    let mut factors = [1.0_f64, 1.0];
    let mut best = before;
    for _ in 0..ROUNDS {
        for which in 0..2 {
            let mut at = |factor: f64| {
                let mut tried = factors;
                tried[which] = factor;
                loss(&scaled(start, tried))
            };
            let (factor, found) = golden(&mut at)?;
            if found < best {
                best = found;
                factors[which] = factor;
            }
        }
    }
    Ok(RequestFit {
        ms: scaled(start, factors),
        prefill: factors[0],
        decode: factors[1],
        before,
        after: best,
    })
}

fn scaled(ms: &InMillis, [prefill, decode]: [f64; 2]) -> InMillis {
    InMillis {
        p0: ms.p0 * prefill,
        p1: ms.p1 * prefill,
        p2: ms.p2 * prefill,
        d0: ms.d0 * decode,
        e: ms.e * decode,
        d1: ms.d1 * decode,
        d2: ms.d2 * decode,
    }
}

/// Golden-section search over the factors on a logarithmic scale.
fn golden<E>(loss: &mut impl FnMut(f64) -> Result<f64, E>) -> Result<(f64, f64), E> {
    // (sqrt(5) - 1) / 2
    const KEEP: f64 = 0.618_033_988_749_894_9;
    let (mut low, mut high) = (libm::log(RANGE.0), libm::log(RANGE.1));
    let mut left = high - KEEP * (high - low);
    let mut right = low + KEEP * (high - low);
    let (mut at_left, mut at_right) = (loss(libm::exp(left))?, loss(libm::exp(right))?);
    for _ in 0..NARROWINGS {
        if at_left <= at_right {
            high = right;
            (right, at_right) = (left, at_left);
            left = high - KEEP * (high - low);
            at_left = loss(libm::exp(left))?;
        } else {
            low = left;
            (left, at_left) = (right, at_right);
            right = low + KEEP * (high - low);
            at_right = loss(libm::exp(right))?;
        }
    }
    Ok(if at_left <= at_right {
        (libm::exp(left), at_left)
    } else {
        (libm::exp(right), at_right)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_factors_are_found_together() {
        // A valley along neither axis: least where prefill is 2 and decode 0.5.
        let start = InMillis {
            p0: 1.0,
            d0: 1.0,
            ..InMillis::default()
        };
        let loss = |ms: &InMillis| {
            let (a, b) = (libm::log(ms.p0 / 2.0), libm::log(ms.d0 / 0.5));
            Ok::<f64, ()>(a * a + b * b + 0.5 * a * b)
        };
        let fit = fit_requests(&start, loss).expect("no error");
        assert!((fit.prefill / 2.0 - 1.0).abs() < 0.02, "{fit:?}");
        assert!((fit.decode / 0.5 - 1.0).abs() < 0.02, "{fit:?}");
        assert!(fit.after < 1e-3 && fit.before > 0.5, "{fit:?}");
    }

    #[test]
    fn an_error_ends_the_search() {
        let refused = fit_requests(&InMillis::default(), |_| Err::<f64, _>("no"));
        assert_eq!(refused, Err("no"));
    }
}
