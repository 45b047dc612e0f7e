//! The processor and its memory.

use std::fs;

use serde::Serialize;

use crate::memory;

/// What the processor is.
#[derive(Debug, Serialize)]
pub(super) struct Cpu {
    /// As it calls itself.
    model: Option<String>,
    /// Logical cores that this process may use.
    cores: Option<usize>,
    /// Instruction sets that the kernels look for.
    features: Vec<&'static str>,
    /// Bytes of memory.
    memory: Option<u64>,
    /// Bytes that programs could have now.
    available: Option<u64>,
}

/// Looks at it.
pub(super) fn look() -> Cpu {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    Cpu {
        model: field(&info, "model name"),
        cores: std::thread::available_parallelism().ok().map(usize::from),
        features: features(),
        memory: memory::field("MemTotal"),
        available: memory::field("MemAvailable"),
    }
}

fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    let known = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avxvnni", is_x86_feature_detected!("avxvnni")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
    ];
    known
        .into_iter()
        .filter(|(_, there)| *there)
        .map(|(name, _)| name)
        .collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<&'static str> {
    Vec::new()
}

impl Cpu {
    /// Which kernels the `cpu` executor takes here.
    pub(super) fn kernels(&self) -> String {
        let has = |name| self.features.contains(&name);
        let kind = if has("avx512vnni") && has("avx512bw") {
            "AVX-512 with VNNI"
        } else if has("avxvnni") {
            "AVX2 with VNNI"
        } else if has("avx2") && has("fma") {
            "AVX2"
        } else {
            "plain code: slow"
        };
        kind.into()
    }

    /// For people.
    pub(super) fn rows(&self) -> Vec<(String, String)> {
        let absent = || "n/a".to_owned();
        let gib = |bytes: Option<u64>| bytes.map_or_else(absent, memory::gib);
        vec![
            ("cpu".into(), self.model.clone().unwrap_or_else(absent)),
            (
                "cores".into(),
                self.cores.map_or_else(absent, |cores| cores.to_string()),
            ),
            ("instructions".into(), self.features.join(" ")),
            ("memory".into(), gib(self.memory)),
            ("memory available".into(), gib(self.available)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_the_processor_is_read_whatever_surrounds_it() {
        assert_eq!(
            field("model name\t: A B\n", "model name").as_deref(),
            Some("A B")
        );
        assert_eq!(field("model name\t: A B\n", "model"), None);
    }
}
