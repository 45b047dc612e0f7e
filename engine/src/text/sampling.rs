//! From logits to a token.

use rand_core::Rng as _;
use rand_pcg::Pcg64;

/// How the next token is drawn. A temperature of 0 takes the likeliest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by this; 0 is greedy.
    pub temperature: f32,
    /// Only the likeliest so many tokens; 0 for all.
    pub top_k: usize,
    /// Only the likeliest tokens that together reach this probability; 1 for all.
    pub top_p: f32,
    /// Of the random stream.
    pub seed: u64,
}

impl Sampling {
    /// Always the likeliest token.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        seed: 0,
    };
}

/// Draws tokens; the same seed and logits give the same tokens.
#[derive(Debug)]
pub struct Sampler {
    how: Sampling,
    stream: Pcg64,
    order: Vec<u32>,
}

impl Sampler {
    /// A sampler at the start of its stream.
    pub fn new(how: Sampling) -> Self {
        Self {
            how,
            stream: Pcg64::new(u128::from(how.seed), 0x5a_0f_11_e5),
            order: Vec::new(),
        }
    }

    /// The next token of one row of logits (`[vocabulary]`, not empty). Ties go to the lowest id.
    ///
    /// # Panics
    /// If there are no logits or more than 2^32.
    pub fn draw(&mut self, logits: &[f32]) -> u32 {
        let count = u32::try_from(logits.len()).expect("ids are 32 bits");
        assert!(count > 0, "a vocabulary has tokens");
        if self.how.temperature <= 0.0 {
            return likeliest(logits);
        }
        self.order.clear();
        self.order.extend(0..count);
        let by_logit = |a: &u32, b: &u32| {
            let (x, y) = (logits[*a as usize], logits[*b as usize]);
            y.total_cmp(&x).then(a.cmp(b))
        };
        let kept = match self.how.top_k {
            0 => logits.len(),
            k => k.min(logits.len()),
        };
        if kept < logits.len() {
            self.order.select_nth_unstable_by(kept - 1, by_logit);
            self.order.truncate(kept);
        }
        self.order.sort_unstable_by(by_logit);
        let top = f64::from(logits[self.order[0] as usize]);
        let scale = f64::from(self.how.temperature);
        let weight = |id: u32| ((f64::from(logits[id as usize]) - top) / scale).exp();
        let total: f64 = self.order.iter().map(|id| weight(*id)).sum();
        let mut reached = 0.0;
        let enough = f64::from(self.how.top_p) * total;
        let nucleus = self.order.iter().position(|id| {
            reached += weight(*id);
            reached >= enough
        });
        let nucleus = &self.order[..=nucleus.unwrap_or(self.order.len() - 1)];
        let total: f64 = nucleus.iter().map(|id| weight(*id)).sum();
        // 53 random bits: every double of [0, 1) that is a multiple of 2^-53.
        #[allow(clippy::cast_precision_loss, reason = "53 bits fit a double")]
        let mut left = (self.stream.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 * total;
        for &id in nucleus {
            left -= weight(id);
            if left < 0.0 {
                return id;
            }
        }
        nucleus[nucleus.len() - 1]
    }
}

/// The id of the highest logit, the lowest id of a tie.
///
/// # Panics
/// If there are more than 2^32 logits.
pub fn likeliest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (id, value) in logits.iter().enumerate() {
        if *value > logits[best] {
            best = id;
        }
    }
    u32::try_from(best).expect("ids are 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probabilities 0.5, 0.25, 0.125, 0.125 at temperature 1.
    fn logits() -> Vec<f32> {
        [0.125_f32, 0.5, 0.125, 0.25]
            .iter()
            .map(|p| p.ln())
            .collect()
    }

    fn counts(how: Sampling, draws: u32) -> Vec<u32> {
        let mut sampler = Sampler::new(how);
        let mut counts = vec![0; 4];
        for _ in 0..draws {
            counts[sampler.draw(&logits()) as usize] += 1;
        }
        counts
    }

    const PLAIN: Sampling = Sampling {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        seed: 7,
    };

    #[test]
    fn tokens_come_with_their_probabilities() {
        let found = counts(PLAIN, 40_000);
        for (count, p) in found.iter().zip([0.125_f64, 0.5, 0.125, 0.25]) {
            // Five standard deviations of a binomial count.
            let (mean, sd) = (40_000.0 * p, (40_000.0 * p * (1.0 - p)).sqrt());
            assert!((f64::from(*count) - mean).abs() < 5.0 * sd, "{found:?}");
        }
    }

    #[test]
    fn a_low_temperature_sharpens() {
        // At 1/2 probabilities go with their squares: 16, 4, 1, 1 of 22.
        let found = counts(
            Sampling {
                temperature: 0.5,
                ..PLAIN
            },
            22_000,
        );
        let sd = (22_000.0_f64 * (16.0 / 22.0) * (6.0 / 22.0)).sqrt();
        assert!(
            (f64::from(found[1]) - 16_000.0).abs() < 5.0 * sd,
            "{found:?}"
        );
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        let found = counts(Sampling { top_k: 2, ..PLAIN }, 3_000);
        assert_eq!(
            (found[0], found[2]),
            (0, 0),
            "only the likeliest two: {found:?}"
        );
        assert!(found[3] > 0);
        // 0.5 is not 0.6, so the second token is needed, and the third is not.
        let found = counts(
            Sampling {
                top_p: 0.6,
                ..PLAIN
            },
            3_000,
        );
        assert_eq!((found[0], found[2]), (0, 0), "{found:?}");
        assert!(found[3] > 0);
        let found = counts(
            Sampling {
                top_p: 0.4,
                ..PLAIN
            },
            1_000,
        );
        assert_eq!(found[1], 1_000);
    }

    #[test]
    fn greedy_takes_the_lowest_id_of_a_tie() {
        assert_eq!(Sampler::new(Sampling::GREEDY).draw(&[1.0, 3.0, 3.0]), 1);
        assert_eq!(
            Sampler::new(Sampling { top_k: 1, ..PLAIN }).draw(&[1.0, 3.0, 3.0]),
            1
        );
    }

    #[test]
    fn a_seed_is_a_text() {
        let draw = |seed| -> Vec<u32> {
            let mut sampler = Sampler::new(Sampling { seed, ..PLAIN });
            (0..50).map(|_| sampler.draw(&logits())).collect()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
