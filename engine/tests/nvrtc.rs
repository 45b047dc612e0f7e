//! Every kernel compiles for the architectures that the executor names, and nothing spills.
//!
//! Needs NVRTC but no GPU: `pip download nvidia-cuda-nvrtc`, and the library's folder in
//! `LD_LIBRARY_PATH`. Skipped by name where it is not found.
#![cfg(feature = "cuda")]
#![allow(
    clippy::disallowed_methods,
    reason = "files in a folder of the test's own"
)]

use engine::cuda::{
    Module,
    nvrtc::{self, cached, compile},
};

const ARCHITECTURES: [&str; 2] = ["sm_80", "sm_90a"];

fn found(test: &str) -> bool {
    if !nvrtc::is_present() {
        eprintln!("SKIPPED: {test}: libnvrtc is not found (LD_LIBRARY_PATH)");
        return false;
    }
    true
}

#[test]
fn every_kernel_compiles_and_keeps_its_values_in_registers() {
    if !found("every_kernel_compiles_and_keeps_its_values_in_registers") {
        return;
    }
    for arch in ARCHITECTURES {
        for module in Module::ALL {
            if !module.compiles_for(arch) {
                continue;
            }
            let cubin = compile(module, arch).unwrap_or_else(|e| panic!("{e}"));
            let mut seen = Vec::new();
            let mut kernel = "";
            for line in cubin.log.lines() {
                if let Some(rest) = line.split("Compiling entry function '").nth(1) {
                    kernel = rest.split('\'').next().expect("a name");
                    seen.push(kernel);
                }
                if line.contains("spill stores") {
                    assert!(
                        line.contains(" 0 bytes spill stores, 0 bytes spill loads"),
                        "{kernel} of {} for {arch}: {line}",
                        module.name()
                    );
                }
                // Products that wait for each other: the compiler says so where it has to.
                assert!(!line.contains("Performance Loss"), "{kernel}: {line}");
                if let Some(used) = line.split("Used ").nth(1) {
                    let registers: u32 = used
                        .split(' ')
                        .next()
                        .and_then(|n| n.parse().ok())
                        .expect("a number");
                    assert!(registers <= 255, "{kernel}: {line}");
                }
            }
            seen.sort_unstable();
            let mut named = module.kernels().to_vec();
            named.sort_unstable();
            assert_eq!(seen, named, "kernels of {}", module.name());
        }
    }
}

#[test]
fn a_broken_kernel_is_told_with_the_compilers_words() {
    if !found("a_broken_kernel_is_told_with_the_compilers_words") {
        return;
    }
    let refused = compile(Module::Dense, "sm_12345").expect_err("no such architecture");
    let text = refused.to_string();
    assert!(
        text.contains("dense.cu") && text.contains("sm_12345"),
        "{text}"
    );
}

#[test]
fn the_second_start_reads_what_the_first_compiled() {
    if !found("the_second_start_reads_what_the_first_compiled") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let first = cached(Module::Blocks, "sm_80", folder.path()).expect("compiles");
    let second = cached(Module::Blocks, "sm_80", folder.path()).expect("is there");
    assert!(!first.log.is_empty(), "the first was compiled");
    assert!(second.log.is_empty(), "the second was read");
    assert_eq!(first.code, second.code);
    // Another architecture is another file; a torn file is compiled anew.
    cached(Module::Blocks, "sm_90a", folder.path()).expect("compiles");
    let files: Vec<_> = std::fs::read_dir(folder.path())
        .expect("a folder")
        .map(|f| f.expect("a file").path())
        .collect();
    assert_eq!(files.len(), 2, "{files:?}");
    for file in files {
        std::fs::write(file, b"torn").expect("writable");
    }
    let again = cached(Module::Blocks, "sm_80", folder.path()).expect("compiles");
    assert_eq!(again.code, first.code);
}
