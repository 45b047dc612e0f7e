//! Greedy sampling.

use crate::batch::Batch;
use crate::executor::{ExecutorError, Sampled};

/// The likeliest token of each sampling row, the lowest id among equals.
///
/// # Errors
/// [`ExecutorError::Device`] if a row's logits are not numbers: KV was read that nobody wrote, or the
/// weights are broken.
pub(crate) fn greedy(
    batch: &Batch,
    logits: &[f32],
    vocabulary: usize,
) -> Result<Sampled, ExecutorError> {
    let rows = batch.rows.iter().filter(|row| row.samples);
    let mut tokens = Vec::with_capacity(batch.sample_at.len());
    for (row, logits) in rows.zip(logits.chunks_exact(vocabulary)) {
        let best = likeliest(logits).ok_or_else(|| ExecutorError::Device {
            device: "cpu".to_owned(),
            doing: format!("sampling for {}", row.session),
            what: "the logits are not numbers".to_owned(),
        })?;
        tokens.push((row.session, best));
    }
    Ok(Sampled { tokens })
}

/// Index of the first of the largest; `None` if any is not a number.
fn likeliest(logits: &[f32]) -> Option<u32> {
    // Two plain passes, which become vector instructions: the largest and whether all are numbers, then
    // where it first stands.
    let lanes = logits.as_chunks::<16>();
    let mut most = [f32::NEG_INFINITY; 16];
    let mut broken = [false; 16];
    for chunk in lanes.0 {
        for i in 0..16 {
            most[i] = if chunk[i] > most[i] {
                chunk[i]
            } else {
                most[i]
            };
            broken[i] |= chunk[i].is_nan();
        }
    }
    let rest = lanes.1.iter();
    if broken.contains(&true) || rest.clone().any(|x| x.is_nan()) {
        return None;
    }
    let most = most
        .iter()
        .chain(rest)
        .fold(f32::NEG_INFINITY, |a, b| a.max(*b));
    let at = logits.iter().position(|x| *x >= most)?;
    u32::try_from(at).ok()
}

#[cfg(test)]
mod tests {
    use super::likeliest;

    #[test]
    fn the_first_of_the_largest_is_taken() {
        let mut logits = vec![-1.0; 40];
        logits[9] = 2.0;
        logits[33] = 2.0;
        assert_eq!(likeliest(&logits), Some(9));
        logits[38] = 2.5;
        assert_eq!(likeliest(&logits), Some(38));
    }

    #[test]
    fn one_that_is_no_number_is_not_passed_over() {
        for at in [3, 35] {
            let mut logits = vec![0.0; 40];
            logits[at] = f32::NAN;
            assert_eq!(likeliest(&logits), None);
        }
    }
}
