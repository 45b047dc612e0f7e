//! KV of a pool of blocks: two tensors a layer, one row a token.

use candle_core::{DType, Device, Tensor};
use units::{BlockSize, Blocks, Bytes};

use super::index;
use crate::executor::ExecutorError;
use crate::model::ModelConfig;

/// Keys and values by layer, `[slots, kv_heads * head_dim]` each; slot = block id * block size + offset.
#[derive(Debug)]
pub(super) struct Pool {
    layers: Vec<[Tensor; 2]>,
    block: usize,
    slots: usize,
    width: usize,
}

impl Pool {
    pub(super) fn new(
        config: &ModelConfig,
        blocks: Blocks,
        size: BlockSize,
    ) -> Result<Self, ExecutorError> {
        let whole = |n: u64| usize::try_from(n).expect("pools are in memory");
        let block = whole(size.tokens().get());
        let slots = whole(blocks.get()) * block;
        let width = config.kv_heads * config.head_dim;
        let zeros = || Tensor::zeros((slots, width), DType::F32, &Device::Cpu);
        let layers = (0..config.layers).map(|_| Ok([zeros()?, zeros()?]));
        Ok(Self {
            layers: layers.collect::<Result<_, candle_core::Error>>()?,
            block,
            slots,
            width,
        })
    }

    pub(super) fn slots(&self) -> u64 {
        self.slots as u64
    }

    pub(super) fn first_slot(&self, block: u32) -> u64 {
        u64::from(block) * self.block as u64
    }

    /// Size of a block of such a pool.
    pub(super) fn block_bytes_of(config: &ModelConfig, size: BlockSize) -> Bytes {
        let values = config.kv_values_per_token() as u64 * size.tokens().get();
        Bytes(values * size_of::<f32>() as u64)
    }

    pub(super) fn block_bytes(&self) -> Bytes {
        let values = self.layers.len() * 2 * self.block * self.width;
        Bytes((values * size_of::<f32>()) as u64)
    }

    /// Writes keys and values, `[tokens, width]` each, to the tokens' slots.
    pub(super) fn write(
        &self,
        layer: usize,
        slots: &[u64],
        kv: [&Tensor; 2],
    ) -> Result<(), candle_core::Error> {
        for (into, from) in self.layers[layer].iter().zip(kv) {
            for (token, slot) in slots.iter().enumerate() {
                let row = from.narrow(0, token, 1)?.contiguous()?;
                into.slice_set(&row, 0, index(*slot) as usize)?;
            }
        }
        Ok(())
    }

    /// Keys and values of the first `context` tokens of a block table, `[context, width]` each.
    pub(super) fn read(
        &self,
        layer: usize,
        table: &[u32],
        context: usize,
    ) -> Result<[Tensor; 2], candle_core::Error> {
        let slots = table.iter().flat_map(|block| {
            let first = index(self.first_slot(*block));
            first..first + index(self.block as u64)
        });
        let slots: Vec<u32> = slots.take(context).collect();
        let slots = Tensor::new(slots, &Device::Cpu)?;
        let [k, v] = &self.layers[layer];
        Ok([k.index_select(&slots, 0)?, v.index_select(&slots, 0)?])
    }

    /// A copy of one block: keys and values of all layers, `[block, width]` each.
    pub(super) fn take(&self, block: u32) -> Result<Vec<[Tensor; 2]>, candle_core::Error> {
        let first = index(self.first_slot(block)) as usize;
        let part = |t: &Tensor| t.narrow(0, first, self.block)?.force_contiguous();
        let layers = self.layers.iter();
        layers.map(|[k, v]| Ok([part(k)?, part(v)?])).collect()
    }

    /// Puts such a copy into a block.
    pub(super) fn put(&self, block: u32, kv: &[[Tensor; 2]]) -> Result<(), candle_core::Error> {
        let first = index(self.first_slot(block)) as usize;
        for (into, from) in self.layers.iter().flatten().zip(kv.iter().flatten()) {
            into.slice_set(from, 0, first)?;
        }
        Ok(())
    }

    pub(super) fn poison(&self, blocks: &[u32]) -> Result<(), ExecutorError> {
        let shape = (self.block, self.width);
        let poison = Tensor::full(f32::NAN, shape, &Device::Cpu)?;
        let all = vec![[poison.clone(), poison]; self.layers.len()];
        for block in blocks {
            if self.first_slot(*block) >= self.slots() {
                let what = format!("block {block} to poison, of {}", self.slots / self.block);
                return Err(ExecutorError::Batch(what));
            }
            self.put(*block, &all)?;
        }
        Ok(())
    }
}
