//! What a device is told to do, as plain values.

use super::kernels::Module;

/// A place in the device's memory, or in host memory that the device can copy from and to. 0 is nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub u64);

impl Address {
    /// No memory: a kernel takes it for an argument that is not there.
    pub const NULL: Self = Self(0);

    /// So many bytes further.
    pub fn offset(self, bytes: u64) -> Self {
        Self(self.0 + bytes)
    }
}

/// An argument of a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arg {
    /// A pointer.
    Address(Address),
    /// A 32-bit integer.
    Int(i32),
    /// A 64-bit integer.
    Long(i64),
    /// A 32-bit float.
    Float(f32),
}

impl Arg {
    /// Its bytes, in the low end of a word: what a little-endian machine hands to the driver.
    #[expect(clippy::cast_sign_loss, reason = "the bits are meant, not the value")]
    pub fn bits(self) -> u64 {
        match self {
            Self::Address(a) => a.0,
            Self::Int(i) => u64::from(i as u32),
            Self::Long(l) => l as u64,
            Self::Float(f) => u64::from(f.to_bits()),
        }
    }
}

/// A kernel on a grid of blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// The file that holds it.
    pub module: Module,
    /// Its name.
    pub kernel: &'static str,
    /// Blocks along x and y.
    pub grid: [u32; 2],
    /// Threads of a block.
    pub block: u32,
    /// Bytes of shared memory beside what the kernel declares itself.
    pub shared: u32,
    /// Its arguments, in order.
    pub args: Vec<Arg>,
}

/// `c = a w^T`: `a` is `[m, k]`, `w` is `[n, k]`, both brain floats; `c` is `[m, n]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// Rows on the left.
    pub a: Address,
    /// The weights.
    pub w: Address,
    /// The result.
    pub c: Address,
    /// Rows.
    pub m: u32,
    /// Outputs.
    pub n: u32,
    /// Inputs.
    pub k: u32,
    /// Whether the result is 32-bit floats instead of brain floats.
    pub wide: bool,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Run a kernel.
    Launch(Launch),
    /// Multiply by the device's own library.
    Product(Product),
    /// Copy between the device and host memory.
    Copy {
        /// From here.
        from: Address,
        /// To there.
        to: Address,
        /// Whether it goes to the host.
        to_host: bool,
        /// So much.
        bytes: u64,
    },
}

/// What a launch may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of shared memory that one block may use.
    pub shared: u32,
    /// Multiprocessors: how much work fills the device.
    pub processors: u32,
    /// Whether it has the products of whole warpgroups, which compute capability 9.0 alone has.
    pub wgmma: bool,
}

impl Limits {
    /// Limits of a compute capability, from the CUDA C++ programming guide's table of technical
    /// specifications; `processors` is the device's own.
    pub fn of(capability: (u32, u32), processors: u32) -> Self {
        let kib = match capability {
            (8, 0 | 7) => 163,
            (8 | 12, _) => 99,
            _ => 227,
        };
        Self {
            shared: kib * 1024,
            processors,
            wgmma: capability == (9, 0),
        }
    }
}

impl Launch {
    /// What is wrong with it for a device with these limits, if something is.
    pub fn fault(&self, limits: Limits) -> Option<String> {
        let [x, y] = self.grid;
        if x == 0 || y == 0 || x > 0x7fff_ffff || y > 65_535 {
            return Some(format!("{}: a grid of {x} x {y} blocks", self.kernel));
        }
        if self.block == 0 || self.block > 1024 || !self.block.is_multiple_of(32) {
            return Some(format!("{}: blocks of {} threads", self.kernel, self.block));
        }
        (self.shared > limits.shared).then(|| {
            format!(
                "{}: {} bytes of shared memory where a block has {}",
                self.kernel, self.shared, limits.shared
            )
        })
    }
}
