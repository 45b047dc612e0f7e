//! What the executor asks of a device.

use crate::executor::ExecutorError;

use super::op::{Address, Limits, Op};

/// Memory, and queues that run lists of operations. Everything handed to [`Device::run`] happens in
/// order; [`Device::begin`] has a queue of its own beside it.
pub trait Device {
    /// How it calls itself.
    fn name(&self) -> String;

    /// What launches may ask for.
    fn limits(&self) -> Limits;

    /// Device memory, aligned to 16 bytes at least.
    ///
    /// # Errors
    /// If there is not so much.
    fn alloc(&mut self, bytes: u64) -> Result<Address, ExecutorError>;

    /// Gives device memory back. Nothing that was begun uses it any more.
    ///
    /// # Errors
    /// The device's own.
    fn free(&mut self, address: Address) -> Result<(), ExecutorError>;

    /// Host memory that the device copies from and to by itself.
    ///
    /// # Errors
    /// If there is not so much.
    fn alloc_host(&mut self, bytes: u64) -> Result<Address, ExecutorError>;

    /// Writes device memory, before anything that is run later.
    ///
    /// # Errors
    /// The device's own.
    fn write(&mut self, to: Address, bytes: &[u8]) -> Result<(), ExecutorError>;

    /// Reads device memory, after everything that was run.
    ///
    /// # Errors
    /// The device's own, and those of what was run.
    fn read(&mut self, from: Address, to: &mut [u8]) -> Result<(), ExecutorError>;

    /// Runs operations in order; may return before they end.
    ///
    /// # Errors
    /// The device's own.
    fn run(&mut self, ops: &[Op]) -> Result<(), ExecutorError>;

    /// Runs operations and keeps them under a number, to be run again as a whole.
    ///
    /// # Errors
    /// The device's own.
    fn record(&mut self, graph: u64, ops: &[Op]) -> Result<(), ExecutorError>;

    /// Runs what was recorded under the number; false if nothing was.
    ///
    /// # Errors
    /// The device's own.
    fn replay(&mut self, graph: u64) -> Result<bool, ExecutorError>;

    /// Forgets all that was recorded: addresses have changed.
    fn forget_graphs(&mut self);

    /// Begins operations on the second queue, after all that was run so far.
    ///
    /// # Errors
    /// The device's own.
    fn begin(&mut self, copy: u64, ops: &[Op]) -> Result<(), ExecutorError>;

    /// Whether what was begun under this number has ended.
    ///
    /// # Errors
    /// The device's own, and those of what was begun.
    fn ended(&mut self, copy: u64) -> Result<bool, ExecutorError>;
}
