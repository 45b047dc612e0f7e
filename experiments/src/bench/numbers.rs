//! Numbers of the command line.

use anyhow::anyhow;

use crate::failure::Failure;

/// Whole numbers from 1 to 2^24, separated by commas.
pub(super) fn list(flag: &str, text: &str) -> Result<Vec<u64>, Failure> {
    text.split(',').map(|one| whole(flag, one.trim())).collect()
}

/// A whole number from 1 to 2^24.
pub(super) fn whole(flag: &str, text: &str) -> Result<u64, Failure> {
    let value = text.parse::<u64>().ok();
    value.filter(|n| (1..=1 << 24).contains(n)).ok_or_else(|| {
        Failure::bad_input(anyhow!(
            "`{flag}` has `{text}` (wanted: whole numbers from 1 to 2^24)"
        ))
    })
}

/// A number above 0, at most a million.
pub(super) fn positive(flag: &str, text: &str) -> Result<f64, Failure> {
    let value = text.parse::<f64>().ok();
    value.filter(|v| *v > 0.0 && *v <= 1e6).ok_or_else(|| {
        Failure::bad_input(anyhow!(
            "`{flag}` is `{text}` (wanted: above 0, up to 1000000)"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_no_step_has_are_refused_with_the_flag() {
        assert_eq!(list("--batches", "1, 8").ok(), Some(vec![1, 8]));
        for bad in ["", "0", "1,,2", "-3", "1.5", "16777217"] {
            let failure = list("--batches", bad).expect_err("refused");
            assert!(failure.error.to_string().contains("--batches"), "{bad}");
        }
        assert_eq!(positive("--tflops", "0.5").ok(), Some(0.5));
        for bad in ["0", "-1", "nan", "inf", "x"] {
            assert!(positive("--tflops", bad).is_err(), "{bad}");
        }
    }
}
