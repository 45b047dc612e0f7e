//! Kernels become machine code through NVRTC, and stay on disk.
//!
//! What: [`compile`] makes a cubin of a [`Module`] for one architecture; [`cached`] looks it up under the
//! user's cache folder first, by the hash of source, options, architecture and NVRTC's version.
//! Why: no CUDA toolkit is needed, neither to build nor to run, and the second start compiles nothing.
//! Limits: the library is looked for where the system's loader looks (`LD_LIBRARY_PATH`).

#![expect(unsafe_code, reason = "calls into the NVRTC library")]

use std::{
    ffi::{CStr, CString, c_char},
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use cudarc::nvrtc::{result, sys};
use sha2::{Digest, Sha256};

use super::kernels::Module;

/// What can go wrong on the way to machine code.
#[derive(Debug, thiserror::Error)]
pub enum NvrtcError {
    /// No library to compile with.
    #[error(
        "NVRTC is not found: put the folder of libnvrtc.so (CUDA 12 or 13, or the Python package nvidia-cuda-nvrtc) \
         into LD_LIBRARY_PATH"
    )]
    Absent,
    /// The compiler refuses the source.
    #[error("{module}.cu does not compile for {arch}: {log}")]
    Compile {
        /// Which file.
        module: &'static str,
        /// For which architecture.
        arch: String,
        /// What the compiler says.
        log: String,
    },
    /// The library itself failed.
    #[error("NVRTC failed in {doing}: {what}")]
    Library {
        /// What was being done.
        doing: &'static str,
        /// Its error code.
        what: String,
    },
    /// The cache folder cannot be written.
    #[error("{}: {source}", path.display())]
    Cache {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Machine code of one module.
#[derive(Clone, Debug)]
pub struct Cubin {
    /// The ELF file that the driver loads.
    pub code: Vec<u8>,
    /// What the compiler says: registers, shared memory and spills of each kernel. Empty from the cache.
    pub log: String,
}

/// Whether the library can be opened.
pub fn is_present() -> bool {
    // SAFETY: opening the library runs its constructors, which is what using it means.
    unsafe { sys::is_culib_present() }
}

/// The library's version, as (major, minor).
///
/// # Errors
/// [`NvrtcError::Absent`], or the library's own.
pub fn version() -> Result<(i32, i32), NvrtcError> {
    if !is_present() {
        return Err(NvrtcError::Absent);
    }
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both point to integers that live until the call returns.
    unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor).result() }
        .map_err(|e| library("nvrtcVersion", e))?;
    Ok((major, minor))
}

fn library(doing: &'static str, error: result::NvrtcError) -> NvrtcError {
    NvrtcError::Library {
        doing,
        what: format!("{error:?}"),
    }
}

/// Fused multiply-add is the compiler's default; divisions and square roots stay exact. Nothing else is
/// relaxed: where a fast form will do, the kernels ask for it by name.
fn options(arch: &str) -> Vec<String> {
    vec![
        format!("--gpu-architecture={arch}"),
        "--std=c++17".into(),
        "--diag-suppress=177".into(),
        "--ptxas-options=-v".into(),
    ]
}

/// Compiles a module for an architecture (`sm_80`, `sm_90a`).
///
/// # Panics
/// If a source holds a zero byte, which none does.
///
/// # Errors
/// [`NvrtcError`].
pub fn compile(module: Module, arch: &str) -> Result<Cubin, NvrtcError> {
    if !is_present() {
        return Err(NvrtcError::Absent);
    }
    let source = CString::new(module.source()).expect("no zero bytes in a source");
    let program = result::create_program(&source, None).map_err(|e| library("create", e))?;
    // SAFETY: `program` was created above and is destroyed only below.
    let compiled = unsafe { result::compile_program(program, &options(arch)) };
    // SAFETY: as above.
    let log = unsafe { result::get_program_log(program) }
        .map(|log| text(&log))
        .unwrap_or_default();
    let code = match compiled {
        Ok(()) => cubin(program),
        Err(_) => Err(NvrtcError::Compile {
            module: module.name(),
            arch: arch.into(),
            log: log.clone(),
        }),
    };
    // SAFETY: nothing uses the program after this.
    unsafe { result::destroy_program(program) }.map_err(|e| library("destroy", e))?;
    Ok(Cubin { code: code?, log })
}

fn cubin(program: sys::nvrtcProgram) -> Result<Vec<u8>, NvrtcError> {
    let mut size = 0;
    // SAFETY: the program is compiled; `size` lives until the call returns.
    unsafe { sys::nvrtcGetCUBINSize(program, &raw mut size).result() }
        .map_err(|e| library("size of the cubin", e))?;
    let mut code = vec![0_u8; size];
    // SAFETY: `code` has room for the `size` bytes that the library said.
    unsafe { sys::nvrtcGetCUBIN(program, code.as_mut_ptr().cast()).result() }
        .map_err(|e| library("cubin", e))?;
    Ok(code)
}

fn text(log: &[c_char]) -> String {
    if !log.contains(&0) {
        return String::new();
    }
    // SAFETY: the slice holds a zero byte, so the string ends inside it.
    let log = unsafe { CStr::from_ptr(log.as_ptr()) };
    log.to_string_lossy().into_owned()
}

/// A module's machine code, from the folder if it was compiled before.
///
/// # Errors
/// [`NvrtcError`]; an unreadable file is compiled anew, an unwritable folder is an error.
pub fn cached(module: Module, arch: &str, folder: &Path) -> Result<Cubin, NvrtcError> {
    let path = folder.join(format!(
        "{}-{arch}-{}.cubin",
        module.name(),
        key(module, arch)?
    ));
    if let Ok(code) = fs::read(&path)
        && code.starts_with(b"\x7fELF")
    {
        return Ok(Cubin {
            code,
            log: String::new(),
        });
    }
    let cubin = compile(module, arch)?;
    // Written beside and renamed: another process never sees half a file.
    let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&unfinished, &cubin.code))
        .and_then(|()| fs::rename(&unfinished, &path))
        .map_err(|source| NvrtcError::Cache { path, source })?;
    Ok(cubin)
}

fn key(module: Module, arch: &str) -> Result<String, NvrtcError> {
    let (major, minor) = version()?;
    let mut hash = Sha256::new();
    hash.update(module.source());
    for option in options(arch) {
        hash.update([0]);
        hash.update(option);
    }
    hash.update(format!("\0{major}.{minor}"));
    let mut key = String::new();
    for byte in &hash.finalize()[..12] {
        let _ = write!(key, "{byte:02x}");
    }
    Ok(key)
}

/// Where machine code is kept: `orrery/cubins` in the user's cache folder, or in the system's folder for
/// temporary files where there is none.
pub fn folder() -> PathBuf {
    dirs::cache_dir()
        .unwrap_or_else(std::env::temp_dir)
        .join("orrery")
        .join("cubins")
}
