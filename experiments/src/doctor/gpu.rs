//! The GPU: driver, libraries, devices.

use serde::Serialize;

use crate::memory::gib;

/// A library that is opened at run time.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Library {
    /// Which.
    name: &'static str,
    /// Whether the loader opens it.
    found: bool,
    /// Which file it is.
    path: Option<String>,
    /// Its version.
    version: Option<String>,
}

/// One GPU.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Device {
    name: String,
    capability: String,
    /// Bytes.
    memory: u64,
    /// Bytes that are free now.
    free: u64,
    multiprocessors: u32,
}

/// All of it.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Cuda {
    /// Whether this program was built with the feature.
    built: bool,
    libraries: Vec<Library>,
    devices: Vec<Device>,
    /// Why there are no devices, in the driver's words.
    problem: Option<String>,
}

#[cfg(not(feature = "cuda"))]
pub(super) fn look() -> Cuda {
    Cuda::default()
}

#[cfg(feature = "cuda")]
pub(super) fn look() -> Cuda {
    use engine::cuda::{gpu, nvrtc};

    let driver = gpu::driver_version().map(|(a, b)| format!("CUDA {a}.{b}"));
    let compiler = nvrtc::version().ok().map(|(a, b)| format!("{a}.{b}"));
    let products = gpu::blas_version().map(|(a, b, c)| format!("{a}.{b}.{c}"));
    // Opened by now: the system's map of this process says from where.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let library = |name: &'static str, found: bool, version: Option<String>| Library {
        name,
        found,
        path: found.then(|| opened(&maps, name)).flatten(),
        version,
    };
    let libraries = vec![
        library("libcuda", gpu::driver_is_present(), driver),
        library("libnvrtc", nvrtc::is_present(), compiler),
        library("libcublasLt", gpu::blas_is_present(), products),
    ];
    let (devices, problem) = match gpu::devices() {
        Ok(found) => (found, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let devices = devices.into_iter().map(|d| Device {
        name: d.name,
        capability: format!("{}.{}", d.capability.0, d.capability.1),
        memory: d.memory,
        free: d.free,
        multiprocessors: d.multiprocessors,
    });
    Cuda {
        built: true,
        libraries,
        devices: devices.collect(),
        problem,
    }
}

/// The file of a library that this process has opened.
#[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "nothing is opened"))]
fn opened(maps: &str, name: &str) -> Option<String> {
    let file = format!("{name}.so");
    maps.lines().find_map(|line| {
        let path = &line[line.find('/')?..];
        let last = path.rsplit('/').next()?;
        last.starts_with(&file).then(|| path.to_owned())
    })
}

impl Cuda {
    /// What the `cuda` executor misses first, with the remedy.
    pub(super) fn lacks(&self) -> Option<String> {
        if !self.built {
            return Some("this program is built without it (cargo build --features cuda)".into());
        }
        if let Some(missing) = self.libraries.iter().find(|l| !l.found) {
            let remedy = match missing.name {
                "libcuda" => "install the NVIDIA driver",
                "libnvrtc" => {
                    "put its folder into LD_LIBRARY_PATH (CUDA 12 or 13, or pip install nvidia-cuda-nvrtc)"
                }
                _ => {
                    "put its folder into LD_LIBRARY_PATH (CUDA 12 or 13, or pip install nvidia-cublas)"
                }
            };
            return Some(format!("{} is not found: {remedy}", missing.name));
        }
        if let Some(problem) = &self.problem {
            return Some(problem.clone());
        }
        self.devices
            .is_empty()
            .then(|| "the driver sees no GPU".into())
    }

    /// For people.
    pub(super) fn rows(&self) -> Vec<(String, String)> {
        let mut rows: Vec<_> = self
            .libraries
            .iter()
            .map(|l| {
                let parts = [l.version.as_deref(), l.path.as_deref()];
                let known: Vec<_> = parts.into_iter().flatten().collect();
                let text = if l.found {
                    known.join(", ")
                } else {
                    "not found".into()
                };
                (l.name.to_owned(), text)
            })
            .collect();
        for (i, d) in self.devices.iter().enumerate() {
            rows.push((
                format!("gpu {i}"),
                format!(
                    "{}, {} ({} free), compute capability {}, {} multiprocessors",
                    d.name,
                    gib(d.memory),
                    gib(d.free),
                    d.capability,
                    d.multiprocessors
                ),
            ));
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_librarys_file_is_found_among_the_mapped_ones() {
        let maps = "7f0-7f1 r--p 00000000 08:01 12 /usr/lib/libc.so.6\n\
                    7f1-7f2 r--p 00000000 08:01 13 /opt/nv/libnvrtc-builtins.so.13.0\n\
                    7f2-7f3 r--p 00000000 08:01 14 /opt/nv/libnvrtc.so.13\n\
                    7f3-7f4 rw-p 00000000 00:00 0\n";
        assert_eq!(
            opened(maps, "libnvrtc").as_deref(),
            Some("/opt/nv/libnvrtc.so.13")
        );
        assert_eq!(opened(maps, "libcuda"), None);
    }

    #[test]
    fn what_is_missing_is_said_in_the_order_in_which_it_is_needed() {
        let library = |name, found| Library {
            name,
            found,
            ..Library::default()
        };
        let mut cuda = Cuda::default();
        assert!(cuda.lacks().expect("not built").contains("--features cuda"));
        cuda.built = true;
        cuda.libraries = vec![library("libcuda", true), library("libnvrtc", false)];
        assert!(
            cuda.lacks()
                .expect("no compiler")
                .contains("pip install nvidia-cuda-nvrtc")
        );
        cuda.libraries[1].found = true;
        assert_eq!(cuda.lacks().as_deref(), Some("the driver sees no GPU"));
        cuda.problem = Some("too old".into());
        assert_eq!(cuda.lacks().as_deref(), Some("too old"));
    }
}
