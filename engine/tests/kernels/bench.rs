//! What a test of kernels holds: a device, and short ways to fill and read its memory.
//!
//! The same tests run on the CPU's emulation and on a GPU.

use std::collections::{BTreeMap, VecDeque};

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
    pub(crate) device: D,
    /// Launches so far, by kernel.
    pub(crate) launched: BTreeMap<&'static str, usize>,
    /// What happens at routers.
    pub(crate) routing: Routing,
}

/// What a router said and chose.
#[derive(Clone, Debug)]
pub(crate) struct Routed {
    /// `[tokens][experts]`.
    pub(crate) logits: Vec<Vec<f32>>,
    /// `[tokens][chosen]`, the best first.
    pub(crate) ids: Vec<Vec<i32>>,
}

/// A watch on the routers of steps that are not recorded.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    /// Whether to look.
    pub(crate) watch: bool,
    /// What was seen, by layer.
    pub(crate) seen: Vec<Routed>,
    /// Experts of each token that take the place of those chosen, by layer; none: nothing is replaced.
    pub(crate) forced: VecDeque<Vec<Vec<i32>>>,
}

impl<D: OnDevice> Bench<D> {
    pub(crate) fn new(device: D) -> Self {
        Self {
            device,
            launched: BTreeMap::new(),
            routing: Routing::default(),
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
        if !self.routing.watch {
            return self.device.run(ops);
        }
        let routes = |op: &Op| matches!(op, Op::Launch(launch) if launch.kernel == "route");
        for part in ops.split_inclusive(routes) {
            self.device.run(part)?;
            if let Some(Op::Launch(launch)) = part.last().filter(|op| routes(op)) {
                self.at_router(launch)?;
            }
        }
        Ok(())
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

impl<D: Device> Bench<D> {
    fn words(&mut self, at: u64, count: usize) -> Result<Vec<u32>, ExecutorError> {
        let mut bytes = vec![0; 4 * count];
        self.device.read(Address(at), &mut bytes)?;
        let word = |b: &[u8]| u32::from_le_bytes(b.try_into().expect("four bytes"));
        Ok(bytes.chunks_exact(4).map(word).collect())
    }

    /// After a launch of `route`: notes what it read and chose, and puts what is forced in its place. The
    /// forced experts get the shares that the logits give them.
    fn at_router(&mut self, launch: &Launch) -> Result<(), ExecutorError> {
        let arg = |i: usize| launch.args[i].bits();
        let [tokens, experts, k] = [4, 5, 6].map(|i| arg(i) as usize);
        let normalise = arg(7) != 0;
        let logits = self.words(arg(0), tokens * experts)?;
        let logits: Vec<f32> = logits.into_iter().map(f32::from_bits).collect();
        let ids = self.words(arg(2), tokens * k)?;
        let ids: Vec<i32> = ids.into_iter().map(|w| w as i32).collect();
        let logits: Vec<Vec<f32>> = logits.chunks(experts).map(<[f32]>::to_vec).collect();
        if let Some(forced) = self.routing.forced.pop_front() {
            assert_eq!((forced.len(), forced[0].len()), (tokens, k));
            let shares = forced.iter().zip(&logits).flat_map(|(chosen, row)| {
                let exp = |e: usize| f64::from(row[e]).exp();
                let mine = chosen.iter().map(|&e| exp(e as usize));
                let whole: f64 = if normalise {
                    mine.clone().sum()
                } else {
                    (0..experts).map(exp).sum()
                };
                mine.map(|x| ((x / whole) as f32).to_bits())
                    .collect::<Vec<_>>()
            });
            let bytes = |words: Vec<u32>| -> Vec<u8> {
                words.into_iter().flat_map(u32::to_le_bytes).collect()
            };
            let shares = bytes(shares.collect());
            let chosen = bytes(forced.iter().flatten().map(|&e| e as u32).collect());
            self.device.write(Address(arg(2)), &chosen)?;
            self.device.write(Address(arg(3)), &shares)?;
        }
        let ids = ids.chunks(k).map(<[i32]>::to_vec).collect();
        self.routing.seen.push(Routed { logits, ids });
        Ok(())
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
