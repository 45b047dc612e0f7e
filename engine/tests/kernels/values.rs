//! Random values, and how far results are from them.

use half::bf16;

/// Uniform in [-1, 1), a function of seed and index.
pub(crate) fn uniform(seed: u64, count: usize) -> Vec<f32> {
    (0..count as u64)
        .map(|i| {
            let mut z = (seed << 32 | i).wrapping_add(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 40) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}

/// The same, each a brain float.
pub(crate) fn rounded(seed: u64, count: usize) -> Vec<f32> {
    uniform(seed, count)
        .into_iter()
        .map(|v| bf16::from_f32(v).to_f32())
        .collect()
}

/// Frobenius norm of the difference, relative to that of what is expected.
pub(crate) fn error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let (mut difference, mut total) = (0.0, 0.0);
    for (f, e) in found.iter().zip(expected) {
        difference += f64::from(f - e).powi(2);
        total += f64::from(*e).powi(2);
    }
    (difference / total).sqrt()
}

/// A brain float has 8 significant bits, so a result is rounded by at most 2^-8 of itself.
pub(crate) const ONE_ROUNDING: f64 = 1.0 / 256.0;

/// Sums in 32 bits over at most some thousand values.
pub(crate) const SUMS: f64 = 1e-5;
