//! A GPU, as far as a simulation needs it.

use units::Bytes;

use super::error::SpecError;
use super::file;

/// A GPU's memory and rates, and whose costs to borrow if it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuSpec {
    /// Its name in configurations.
    pub name: String,
    /// What others call it, lower case: a driver's device name, the last part of a repository's.
    pub aliases: Vec<String>,
    /// Total memory as the driver reports it.
    pub memory: Bytes,
    /// Peak memory bandwidth in 1e9 bytes per second.
    pub bandwidth_gb_per_s: u64,
    /// Peak dense arithmetic on 16-bit floats in 1e12 operations per second; `None` if not given,
    /// and then there is no roofline.
    pub bf16_tflops: Option<u64>,
    /// Bandwidth to another GPU of the same machine in 1e9 bytes per second and direction; `None`
    /// if not given, and then there is no tensor parallelism.
    pub link_gb_per_s: Option<u64>,
    /// The GPU whose fitted costs hold here, once scaled by bandwidth.
    pub like: Option<String>,
    /// Where the figures come from.
    pub sources: Vec<String>,
}

impl GpuSpec {
    pub(super) fn read(origin: &str, raw: file::Gpu) -> Result<Self, SpecError> {
        let refuse = |field, value: u64, wanted| SpecError::Value {
            origin: origin.into(),
            entry: format!("gpu {}", raw.name).into(),
            field,
            value: value.to_string().into(),
            wanted,
        };
        // 2^40 MiB is an exbibyte; bytes then fit 64 bits.
        if raw.memory_mib == 0 || raw.memory_mib > 1 << 40 {
            return Err(refuse("memory_mib", raw.memory_mib, "1 to 2^40"));
        }
        if raw.memory_gb_per_s == 0 || raw.memory_gb_per_s > 1_000_000_000 {
            return Err(refuse("memory_gb_per_s", raw.memory_gb_per_s, "1 to 1e9"));
        }
        let rates = [
            ("bf16_tflops", raw.bf16_tflops),
            ("link_gb_per_s", raw.link_gb_per_s),
        ];
        for (field, rate) in rates {
            if let Some(rate) = rate
                && (rate == 0 || rate > 1_000_000_000)
            {
                return Err(refuse(field, rate, "1 to 1e9"));
            }
        }
        Ok(Self {
            memory: Bytes(raw.memory_mib << 20),
            bandwidth_gb_per_s: raw.memory_gb_per_s,
            bf16_tflops: raw.bf16_tflops,
            link_gb_per_s: raw.link_gb_per_s,
            name: raw.name,
            aliases: raw.aliases,
            like: raw.like,
            sources: raw.sources,
        })
    }
}
