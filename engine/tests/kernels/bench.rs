//! What a test of kernels holds: a device, and short ways to fill and read its memory.
//!
//! The same tests run on the CPU's emulation and on a GPU.

use std::collections::BTreeMap;

use engine::{
    ExecutorError,
    cuda::{Address, Device, Launch, Limits, Op},
};
use half::bf16;

/// A device under test.
pub(crate) trait OnDevice: Device {
    /// In which order threads of a block run, where that can be chosen: 0 up, 1 down, else shuffled.
    fn set_order(&mut self, _: u32) {}
}

/// A device that counts its launches.
#[derive(Debug)]
pub(crate) struct Bench<D> {
    device: D,
    /// Launches so far, by kernel.
    pub(crate) launched: BTreeMap<&'static str, usize>,
}

impl<D: OnDevice> Bench<D> {
    pub(crate) fn new(device: D) -> Self {
        Self {
            device,
            launched: BTreeMap::new(),
        }
    }

    pub(crate) fn set_order(&mut self, order: u32) {
        self.device.set_order(order);
    }

    /// Memory that holds these brain floats.
    pub(crate) fn halves(&mut self, values: &[f32]) -> Address {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|v| bf16::from_f32(*v).to_le_bytes())
            .collect();
        self.bytes(&bytes)
    }

    /// Memory that holds these floats.
    pub(crate) fn floats(&mut self, values: &[f32]) -> Address {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.bytes(&bytes)
    }

    /// Memory that holds these integers.
    pub(crate) fn ints(&mut self, values: &[i32]) -> Address {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.bytes(&bytes)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Address {
        let at = self.alloc(bytes.len() as u64).expect("memory");
        self.write(at, bytes).expect("written");
        at
    }

    /// Memory full of not-a-number.
    pub(crate) fn poisoned(&mut self, bytes: usize) -> Address {
        self.bytes(&vec![0xff; bytes])
    }

    pub(crate) fn read_halves(&mut self, at: Address, count: usize) -> Vec<f32> {
        let mut bytes = vec![0; 2 * count];
        self.read(at, &mut bytes).expect("read");
        bytes
            .chunks_exact(2)
            .map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32())
            .collect()
    }

    pub(crate) fn read_ints(&mut self, at: Address, count: usize) -> Vec<i32> {
        let mut bytes = vec![0; 4 * count];
        self.read(at, &mut bytes).expect("read");
        bytes
            .chunks_exact(4)
            .map(|b| i32::from_le_bytes(b.try_into().expect("four bytes")))
            .collect()
    }

    pub(crate) fn read_floats(&mut self, at: Address, count: usize) -> Vec<f32> {
        self.read_ints(at, count)
            .into_iter()
            .map(|b| f32::from_bits(b as u32))
            .collect()
    }

    /// Runs one launch.
    pub(crate) fn go(&mut self, launch: Launch) {
        self.run(&[Op::Launch(launch)]).expect("the kernel ends");
    }
}

impl<D: Device> Device for Bench<D> {
    fn name(&self) -> String {
        self.device.name()
    }

    fn limits(&self) -> Limits {
        self.device.limits()
    }

    fn alloc(&mut self, bytes: u64) -> Result<Address, ExecutorError> {
        self.device.alloc(bytes)
    }

    fn free(&mut self, address: Address) -> Result<(), ExecutorError> {
        self.device.free(address)
    }

    fn alloc_host(&mut self, bytes: u64) -> Result<Address, ExecutorError> {
        self.device.alloc_host(bytes)
    }

    fn write(&mut self, to: Address, bytes: &[u8]) -> Result<(), ExecutorError> {
        self.device.write(to, bytes)
    }

    fn read(&mut self, from: Address, to: &mut [u8]) -> Result<(), ExecutorError> {
        self.device.read(from, to)
    }

    fn run(&mut self, ops: &[Op]) -> Result<(), ExecutorError> {
        self.count(ops);
        self.device.run(ops)
    }

    fn record(&mut self, graph: u64, ops: &[Op]) -> Result<(), ExecutorError> {
        self.count(ops);
        self.device.record(graph, ops)
    }

    fn replay(&mut self, graph: u64) -> Result<bool, ExecutorError> {
        self.device.replay(graph)
    }

    fn forget_graphs(&mut self) {
        self.device.forget_graphs();
    }

    fn begin(&mut self, copy: u64, ops: &[Op]) -> Result<(), ExecutorError> {
        self.device.begin(copy, ops)
    }

    fn ended(&mut self, copy: u64) -> Result<bool, ExecutorError> {
        self.device.ended(copy)
    }
}

impl<D> Bench<D> {
    fn count(&mut self, ops: &[Op]) {
        for op in ops {
            if let Op::Launch(launch) = op {
                *self.launched.entry(launch.kernel).or_default() += 1;
            }
        }
    }
}
