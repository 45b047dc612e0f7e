//! This machine's memory: what there is, and whether something fits before it is made.
//!
//! Why: a model or a pool beyond memory ends with the system killing the program, which says nothing.
//! Limits: Linux; elsewhere nothing is known and nothing is refused. Of control groups only the one that a
//! container sees as its root is looked at.

use std::fs;

use anyhow::anyhow;

use crate::failure::Failure;

/// Bytes for people, in tenths of GiB, rounded down: `23.4 GiB`.
pub fn gib(bytes: u64) -> String {
    let tenths = bytes / ((1 << 30) / 10);
    format!("{}.{} GiB", tenths / 10, tenths % 10)
}

/// A field of `/proc/meminfo`, in bytes.
pub fn field(name: &str) -> Option<u64> {
    kib(&fs::read_to_string("/proc/meminfo").ok()?, name)
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })?;
    let kib = value.strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    kib.checked_mul(1024)
}

/// Bytes that this program can have: what the system has available, or the container's limit if that is
/// less. `None` where the system does not say.
pub fn available() -> Option<u64> {
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    // `max` where there is no limit.
    let limit = limit.and_then(|text| text.trim().parse::<u64>().ok());
    [field("MemAvailable"), limit].into_iter().flatten().min()
}

/// Refuses what needs more than there is. `parts` are what it needs, with their names.
///
/// # Errors
/// Bad input: all parts, their sum, what there is, and `hint`.
pub fn fits(
    what: &str,
    parts: &[(&str, u64)],
    have: Option<u64>,
    hint: &str,
) -> Result<(), Failure> {
    let need = parts
        .iter()
        .fold(0_u64, |sum, (_, n)| sum.saturating_add(*n));
    let Some(have) = have.filter(|have| need > *have) else {
        return Ok(());
    };
    let parts: Vec<String> = parts
        .iter()
        .map(|(name, bytes)| format!("{name} {}", gib(*bytes)))
        .collect();
    Err(Failure::bad_input(anyhow!(
        "{what} needs {} ({}), and {} can be had\nhint: {hint}",
        gib(need),
        parts.join(", "),
        gib(have)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_kernel_are_read_with_their_unit() {
        let text = "MemTotal:       24534532 kB\nMemFree:  7 kB\nHugePages_Total:       0\n";
        assert_eq!(kib(text, "MemTotal"), Some(24_534_532 * 1024));
        assert_eq!(kib(text, "HugePages_Total"), None);
        assert_eq!(kib(text, "MemAvailable"), None);
    }

    #[test]
    fn bytes_are_said_in_tenths_of_gibibytes() {
        assert_eq!(gib(3 << 29), "1.5 GiB");
    }

    #[test]
    fn what_needs_more_than_there_is_is_refused_with_its_parts() {
        let parts = [("weights", 3 << 30), ("KV", 1 << 30)];
        let fits = |have| fits("model `m`", &parts, have, "a smaller one");
        assert!(fits(None).is_ok() && fits(Some(4 << 30)).is_ok());
        assert!(fits(Some((4 << 30) - 1)).is_err(), "a byte too little");
        let refused = fits(Some((4 << 30) - (1 << 20))).expect_err("a MiB too little");
        assert_eq!(
            refused.error.to_string(),
            "model `m` needs 4.0 GiB (weights 3.0 GiB, KV 1.0 GiB), and 3.9 GiB can be had\nhint: a smaller one"
        );
        let beyond = [("weights", u64::MAX), ("KV", u64::MAX)];
        assert!(super::fits("m", &beyond, Some(u64::MAX - 1), "").is_err());
    }
}
