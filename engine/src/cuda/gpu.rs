//! A GPU as a [`Device`]: driver, kernels from NVRTC, products from cuBLASLt.
//!
//! Two streams: one for steps, one for copies to and from host memory, ordered by events. Recorded
//! lists are CUDA graphs. All libraries are opened at run time.
//! Limits: written and compiled on machines without a GPU; it has not run on one yet.

#![expect(unsafe_code, reason = "calls into the CUDA driver")]

use std::{
    ffi::{CString, c_void},
    path::Path,
    sync::Arc,
};

use cudarc::driver::{
    CudaContext, CudaGraph, CudaStream, DriverError,
    result::{self, event, function, module},
    sys::{self, CUdevice_attribute, CUevent_flags, CUfunction_attribute, CUstreamCaptureMode},
};
use rustc_hash::FxHashMap;

use crate::executor::ExecutorError;

use super::{
    blas::{Blas, WORKSPACE},
    device::Device,
    kernels::Module,
    nvrtc,
    op::{Address, Launch, Limits, Op},
};

/// Shared memory of a block that needs no asking.
const PLAIN_SHARED: u32 = 48 << 10;

/// One GPU.
pub struct Gpu {
    // Dropped in this order: what uses the context goes first.
    graphs: FxHashMap<u64, CudaGraph>,
    blas: Blas,
    copies: Arc<CudaStream>,
    steps: Arc<CudaStream>,
    context: Arc<CudaContext>,
    functions: FxHashMap<&'static str, sys::CUfunction>,
    /// End of each copy that was begun.
    ends: FxHashMap<u64, sys::CUevent>,
    name: String,
    capability: (u32, u32),
    limits: Limits,
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpu")
            .field("name", &self.name)
            .field("capability", &self.capability)
            .finish_non_exhaustive()
    }
}

/// Whether the driver's library can be opened.
pub fn driver_is_present() -> bool {
    // SAFETY: opening the library runs its constructors, which is what using it means.
    unsafe { sys::is_culib_present() }
}

/// Whether the products' library can be opened.
pub fn blas_is_present() -> bool {
    // SAFETY: as above.
    unsafe { cudarc::cublaslt::sys::is_culib_present() }
}

/// The newest CUDA version that the driver knows, as (major, minor); `None` without a driver.
pub fn driver_version() -> Option<(i32, i32)> {
    if !driver_is_present() {
        return None;
    }
    let mut version = 0;
    // SAFETY: writes one integer, which lives until the call returns.
    unsafe { sys::cuDriverGetVersion(&raw mut version).result() }.ok()?;
    Some((version / 1000, version % 1000 / 10))
}

/// Version of cuBLASLt as (major, minor, patch); `None` without the library.
pub fn blas_version() -> Option<(usize, usize, usize)> {
    if !blas_is_present() {
        return None;
    }
    // SAFETY: takes nothing and returns a number.
    let version = unsafe { cudarc::cublaslt::sys::cublasLtGetVersion() };
    Some((version / 10_000, version / 100 % 100, version % 100))
}

/// GPUs that the driver sees.
///
/// # Errors
/// Without a driver, or the driver's own (no device, driver and kernel module of different versions).
pub fn count() -> Result<i32, ExecutorError> {
    if !driver_is_present() {
        return Err(absent("the driver (libcuda.so.1)"));
    }
    result::init().map_err(|e| failed("cuda", "starting the driver", &e))?;
    CudaContext::device_count().map_err(|e| failed("cuda", "counting devices", &e))
}

/// Compute capability of a GPU. No context is made for it: other processes can have the GPU to themselves.
///
/// # Errors
/// As [`count`]; no such GPU.
pub fn capability(ordinal: usize) -> Result<(u32, u32), ExecutorError> {
    count()?;
    let ask = || -> Result<(i32, i32), DriverError> {
        let device = result::device::get(i32::try_from(ordinal).unwrap_or(i32::MAX))?;
        // SAFETY: the device is one that the driver just gave.
        unsafe {
            Ok((
                result::device::get_attribute(
                    device,
                    CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                )?,
                result::device::get_attribute(
                    device,
                    CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                )?,
            ))
        }
    };
    let (major, minor) = ask().map_err(|e| failed("cuda", "asking the device", &e))?;
    Ok((major.unsigned_abs(), minor.unsigned_abs()))
}

/// What the driver says of a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Compute capability.
    pub capability: (u32, u32),
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes that are free now.
    pub free: u64,
    /// Multiprocessors.
    pub multiprocessors: u32,
}

/// The GPUs of this machine. Nothing is compiled or loaded for it.
///
/// # Errors
/// As [`count`].
pub fn devices() -> Result<Vec<Found>, ExecutorError> {
    let look = |ordinal| -> Result<Found, DriverError> {
        let context = CudaContext::new(ordinal)?;
        let (name, capability, limits) = describe(&context)?;
        let (free, memory) = context.mem_get_info()?;
        Ok(Found {
            name,
            capability,
            memory: memory as u64,
            free: free as u64,
            multiprocessors: limits.processors,
        })
    };
    (0..usize::try_from(count()?).unwrap_or(0))
        .map(|ordinal| look(ordinal).map_err(|e| failed("cuda", "asking a device", &e)))
        .collect()
}

fn failed(device: &str, doing: &str, error: &dyn std::fmt::Display) -> ExecutorError {
    ExecutorError::Device {
        device: device.into(),
        doing: doing.into(),
        what: error.to_string(),
    }
}

fn absent(what: &str) -> ExecutorError {
    ExecutorError::Device {
        device: "cuda".into(),
        doing: "opening libraries".into(),
        what: format!(
            "{what} is not found; `orrery doctor` tells what is. Without a GPU, run the `cpu` executor"
        ),
    }
}

impl Gpu {
    /// Opens a GPU and loads the kernels, compiling those that `cubins` does not hold yet.
    ///
    /// # Errors
    /// Which library is missing; a compute capability below 8.0; the driver's own.
    pub fn open(ordinal: usize, cubins: &Path) -> Result<Self, ExecutorError> {
        if !driver_is_present() {
            return Err(absent("the driver (libcuda.so.1)"));
        }
        if !nvrtc::is_present() {
            return Err(absent("NVRTC (libnvrtc.so)"));
        }
        if !blas_is_present() {
            return Err(absent("cuBLASLt (libcublasLt.so)"));
        }
        let context =
            CudaContext::new(ordinal).map_err(|e| failed("cuda", "opening the device", &e))?;
        // SAFETY: memory is held by address here and freed only behind a synchronisation, so nothing
        // depends on the events that the library would record; capture must not meet them.
        unsafe { context.disable_event_tracking() };
        let (name, capability, limits) =
            describe(&context).map_err(|e| failed("cuda", "asking the device", &e))?;
        if capability.0 < 8 {
            return Err(failed(
                &name,
                "opening the device",
                &format!(
                    "compute capability {}.{} is below 8.0, the first with brain floats",
                    capability.0, capability.1
                ),
            ));
        }
        let streams = || Ok((context.new_stream()?, context.new_stream()?));
        let (steps, copies) =
            streams().map_err(|e: DriverError| failed(&name, "making streams", &e))?;
        let functions = load(&name, capability, limits, cubins)?;
        // SAFETY: fresh memory of the context that `new` made current; written before it is read.
        let workspace = unsafe { result::malloc_sync(WORKSPACE) }
            .map_err(|e| failed(&name, "allocating the workspace", &e))?;
        let blas =
            Blas::new(Address(workspace)).map_err(|e| failed(&name, "starting cuBLASLt", &e))?;
        Ok(Self {
            graphs: FxHashMap::default(),
            blas,
            copies,
            steps,
            context,
            functions,
            ends: FxHashMap::default(),
            name,
            capability,
            limits,
        })
    }

    /// Compute capability.
    pub fn capability(&self) -> (u32, u32) {
        self.capability
    }

    /// Device memory as (free, all), bytes.
    ///
    /// # Errors
    /// The driver's own.
    pub fn memory(&self) -> Result<(u64, u64), ExecutorError> {
        let (free, all) = self
            .context
            .mem_get_info()
            .map_err(|e| self.failed("asking for memory", &e))?;
        Ok((free as u64, all as u64))
    }

    fn failed(&self, doing: &str, error: &dyn std::fmt::Display) -> ExecutorError {
        failed(&self.name, doing, error)
    }

    /// The context may have been left by this thread.
    fn bind(&self) -> Result<(), ExecutorError> {
        self.context
            .bind_to_thread()
            .map_err(|e| self.failed("binding the context", &e))
    }

    fn launch(&self, launch: &Launch, stream: sys::CUstream) -> Result<(), ExecutorError> {
        if let Some(fault) = launch.fault(self.limits) {
            return Err(self.failed("launch", &fault));
        }
        let function = self.functions[launch.kernel];
        let mut values: Vec<u64> = launch.args.iter().map(|a| a.bits()).collect();
        let mut pointers: Vec<*mut c_void> =
            values.iter_mut().map(|v| (&raw mut *v).cast()).collect();
        let [x, y] = launch.grid;
        // SAFETY: the function is loaded; there is a value for each of its parameters, at least as wide
        // as it and little-endian, copied before the call returns; the addresses are of memory that
        // outlives the stream's work (freed only behind a synchronisation).
        unsafe {
            result::launch_kernel(
                function,
                (x, y, 1),
                (launch.block, 1, 1),
                launch.shared,
                stream,
                &mut pointers,
            )
        }
        .map_err(|e| self.failed(launch.kernel, &e))
    }

    fn begin_op(&mut self, op: &Op, stream: sys::CUstream) -> Result<(), ExecutorError> {
        match op {
            Op::Launch(launch) => self.launch(launch, stream),
            Op::Product(product) => {
                // SAFETY: the program's addresses hold what it says; products run on the stream of
                // steps alone. Driver and library name the same stream type.
                let done = unsafe { self.blas.run(product, stream.cast()) };
                done.map_err(|e| self.failed("cuBLASLt", &e))
            }
            &Op::Copy {
                from,
                to,
                to_host,
                bytes,
            } => {
                let bytes = usize::try_from(bytes).expect("memory is addressed by usize");
                // SAFETY: one address is of device memory, the other of page-locked host memory, each
                // at least so long; neither is freed while the executor lives.
                let begun = unsafe {
                    if to_host {
                        sys::cuMemcpyDtoHAsync_v2(host(to), from.0, bytes, stream).result()
                    } else {
                        sys::cuMemcpyHtoDAsync_v2(to.0, host(from), bytes, stream).result()
                    }
                };
                begun.map_err(|e| self.failed("copy", &e))
            }
        }
    }

    fn begin_ops(&mut self, ops: &[Op], stream: sys::CUstream) -> Result<(), ExecutorError> {
        ops.iter().try_for_each(|op| self.begin_op(op, stream))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "host addresses are usize")]
fn host(address: Address) -> *mut c_void {
    std::ptr::with_exposed_provenance_mut(address.0 as usize)
}

fn describe(context: &CudaContext) -> Result<(String, (u32, u32), Limits), DriverError> {
    let (major, minor) = context.compute_capability()?;
    let attribute = |which| context.attribute(which).map(i32::unsigned_abs);
    let limits = Limits {
        shared: attribute(
            CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
        )?,
        processors: attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        wgmma: (major, minor) == (9, 0),
    };
    Ok((
        context.name()?,
        (major.unsigned_abs(), minor.unsigned_abs()),
        limits,
    ))
}

/// Code for one capability does not run on another; 9.0 has instructions of its own under `a`.
pub fn architecture((major, minor): (u32, u32)) -> String {
    let own = if (major, minor) == (9, 0) { "a" } else { "" };
    format!("sm_{major}{minor}{own}")
}

fn load(
    name: &str,
    capability: (u32, u32),
    limits: Limits,
    cubins: &Path,
) -> Result<FxHashMap<&'static str, sys::CUfunction>, ExecutorError> {
    let mut functions = FxHashMap::default();
    let arch = architecture(capability);
    for module in Module::ALL {
        if !module.compiles_for(&arch) {
            continue;
        }
        let cubin = nvrtc::cached(module, &arch, cubins)
            .map_err(|e| failed(name, "compiling kernels", &e))?;
        // SAFETY: a whole ELF image, which the driver copies. Modules stay until the process ends.
        let loaded = unsafe { module::load_data(cubin.code.as_ptr().cast()) }
            .map_err(|e| failed(name, module.name(), &e))?;
        for &kernel in module.kernels() {
            let symbol = CString::new(kernel).expect("names hold no zero");
            // SAFETY: the module is loaded and stays.
            let found = unsafe { module::get_function(loaded, symbol) }
                .map_err(|e| failed(name, kernel, &e))?;
            if matches!(
                module,
                Module::Gemm | Module::Prefill | Module::PrefillWgmma
            ) && limits.shared > PLAIN_SHARED
            {
                let bytes = i32::try_from(limits.shared).expect("some hundred KiB");
                // SAFETY: the function was found above. These kernels declare no shared memory of
                // their own, so a block may have all of it.
                unsafe {
                    function::set_function_attribute(
                        found,
                        CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                        bytes,
                    )
                }
                .map_err(|e| failed(name, kernel, &e))?;
            }
            functions.insert(kernel, found);
        }
    }
    Ok(functions)
}

impl Device for Gpu {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn alloc(&mut self, bytes: u64) -> Result<Address, ExecutorError> {
        self.bind()?;
        let size = usize::try_from(bytes.max(16)).expect("memory is addressed by usize");
        // SAFETY: fresh memory; kernels write it before they read it.
        unsafe { result::malloc_sync(size) }
            .map(Address)
            .map_err(|e| self.failed(&format!("allocating {bytes} bytes"), &e))
    }

    fn free(&mut self, address: Address) -> Result<(), ExecutorError> {
        self.bind()?;
        self.steps
            .synchronize()
            .map_err(|e| self.failed("waiting for the steps", &e))?;
        // SAFETY: from `alloc`, freed once; the stream that used it has passed.
        unsafe { result::free_sync(address.0) }.map_err(|e| self.failed("freeing memory", &e))
    }

    fn alloc_host(&mut self, bytes: u64) -> Result<Address, ExecutorError> {
        self.bind()?;
        let size = usize::try_from(bytes).expect("memory is addressed by usize");
        // SAFETY: page-locked memory that only copies touch. It stays until the process ends.
        let at = unsafe { result::malloc_host(size, 0) }
            .map_err(|e| self.failed(&format!("allocating {bytes} bytes of host memory"), &e))?;
        Ok(Address(at.expose_provenance() as u64))
    }

    fn write(&mut self, to: Address, bytes: &[u8]) -> Result<(), ExecutorError> {
        self.bind()?;
        // SAFETY: the memory is at least so long. The bytes are pageable, so the driver has taken them
        // when the call returns.
        unsafe { result::memcpy_htod_async(to.0, bytes, self.steps.cu_stream()) }
            .map_err(|e| self.failed("writing memory", &e))
    }

    fn read(&mut self, from: Address, to: &mut [u8]) -> Result<(), ExecutorError> {
        self.bind()?;
        if !to.is_empty() {
            // SAFETY: the memory is at least so long, and `to` outlives the synchronisation below.
            unsafe { result::memcpy_dtoh_async(to, from.0, self.steps.cu_stream()) }
                .map_err(|e| self.failed("reading memory", &e))?;
        }
        self.steps
            .synchronize()
            .map_err(|e| self.failed("waiting for the step", &e))
    }

    fn run(&mut self, ops: &[Op]) -> Result<(), ExecutorError> {
        self.bind()?;
        self.begin_ops(ops, self.steps.cu_stream())
    }

    fn record(&mut self, graph: u64, ops: &[Op]) -> Result<(), ExecutorError> {
        // Once as they are: libraries load what they need, which capture would refuse.
        self.run(ops)?;
        // Only this thread's calls matter: copies go on beside.
        self.steps
            .begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
            .map_err(|e| self.failed("capture", &e))?;
        let begun = self.begin_ops(ops, self.steps.cu_stream());
        let captured = self.steps.end_capture(sys::CUgraphInstantiate_flags(0));
        begun?;
        if let Some(captured) = captured.map_err(|e| self.failed("capture", &e))? {
            captured
                .upload()
                .map_err(|e| self.failed("upload of a graph", &e))?;
            self.graphs.insert(graph, captured);
        }
        Ok(())
    }

    fn replay(&mut self, graph: u64) -> Result<bool, ExecutorError> {
        let Some(recorded) = self.graphs.get(&graph) else {
            return Ok(false);
        };
        recorded
            .launch()
            .map_err(|e| self.failed("launch of a graph", &e))?;
        Ok(true)
    }

    fn forget_graphs(&mut self) {
        self.graphs.clear();
    }

    fn begin(&mut self, copy: u64, ops: &[Op]) -> Result<(), ExecutorError> {
        self.bind()?;
        self.copies
            .join(&self.steps)
            .map_err(|e| self.failed("ordering a copy", &e))?;
        self.begin_ops(ops, self.copies.cu_stream())?;
        let end = event::create(CUevent_flags::CU_EVENT_DISABLE_TIMING)
            .map_err(|e| self.failed("making an event", &e))?;
        // SAFETY: the event was made above; the stream lives.
        unsafe { event::record(end, self.copies.cu_stream()) }
            .map_err(|e| self.failed("recording an event", &e))?;
        self.ends.insert(copy, end);
        Ok(())
    }

    fn ended(&mut self, copy: u64) -> Result<bool, ExecutorError> {
        self.bind()?;
        let Some(&end) = self.ends.get(&copy) else {
            return Ok(false);
        };
        // SAFETY: the event was made by `begin` and is destroyed only below.
        match unsafe { event::query(end) } {
            Ok(()) => {}
            Err(DriverError(sys::CUresult::CUDA_ERROR_NOT_READY)) => return Ok(false),
            Err(e) => return Err(self.failed("copy", &e)),
        }
        self.ends.remove(&copy);
        // SAFETY: taken out of the map just now, so nobody asks again.
        unsafe { event::destroy(end) }.map_err(|e| self.failed("destroying an event", &e))?;
        Ok(true)
    }
}
