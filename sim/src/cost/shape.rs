//! The sums over a batch that its time depends on.

use units::Tokens;

/// What one step computes, reduced to the sums that decide its time.
///
/// Additions are checked: a sum past 2^64 is a panic that names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchShape {
    /// Turns that decode: all prompt tokens computed and exactly one token missing.
    pub decodes: u64,
    /// Sum over those turns of the context after the step, the new token included, in tokens.
    pub decode_context: u64,
    /// The largest of those contexts.
    pub decode_context_max: u64,
    /// Turns that prefill a chunk in this step. They count for the host's overhead.
    pub prefill_chunks: u64,
    /// New tokens over all chunks.
    pub prefill_tokens: u64,
    /// Attention work of the chunks: sum of `new * (2 * prefix + new)`, in token pairs. That is
    /// twice `new * (prefix + new / 2)`, which keeps it an integer.
    pub prefill_work: u64,
}

impl BatchShape {
    /// Adds a turn that decodes one token and has `context_after` tokens of context with it.
    #[inline]
    pub fn add_decode(&mut self, context_after: Tokens) {
        self.decodes = sum(self.decodes, 1, "decoding turns");
        self.decode_context = sum(self.decode_context, context_after.get(), "decode context");
        self.decode_context_max = self.decode_context_max.max(context_after.get());
    }

    /// Adds a chunk of `new` tokens behind `prefix` computed ones. No tokens, no chunk.
    ///
    /// # Panics
    /// If the chunk's token pairs pass 2^64.
    #[inline]
    pub fn add_prefill(&mut self, prefix: Tokens, new: Tokens) {
        if new == Tokens::ZERO {
            return;
        }
        let pairs = prefix
            .get()
            .checked_mul(2)
            .and_then(|twice| twice.checked_add(new.get()))
            .and_then(|span| span.checked_mul(new.get()))
            .expect("a chunk's attention work passed 2^64 token pairs");
        self.prefill_chunks = sum(self.prefill_chunks, 1, "prefill chunks");
        self.prefill_tokens = sum(self.prefill_tokens, new.get(), "prefill tokens");
        self.prefill_work = sum(self.prefill_work, pairs, "prefill work");
    }

    /// Makes it the shape of the step after: every turn decodes again, with the token before in its
    /// context.
    ///
    /// Exact for a step that only decodes; a test holds it against a shape built anew.
    #[inline]
    pub fn next_decode(&mut self) {
        debug_assert!(self.prefill_chunks == 0, "a prefill does not repeat");
        self.decode_context = sum(self.decode_context, self.decodes, "decode context");
        self.decode_context_max += u64::from(self.decodes > 0);
    }

    /// Whether the step computes nothing.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.decodes == 0 && self.prefill_tokens == 0
    }

    /// Turns in the batch, decoding or in prefill.
    #[inline]
    pub fn turns(&self) -> u64 {
        sum(self.decodes, self.prefill_chunks, "turns in a batch")
    }
}

#[inline]
fn sum(a: u64, b: u64, what: &str) -> u64 {
    a.checked_add(b)
        .unwrap_or_else(|| panic!("{what} passed 2^64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_add_their_pairs_and_decodes_their_context() {
        let mut shape = BatchShape::default();
        assert!(shape.is_empty());
        shape.add_prefill(Tokens(100), Tokens(10)); // 10 * (200 + 10)
        shape.add_prefill(Tokens(0), Tokens(3)); // 3 * 3
        shape.add_decode(Tokens(50));
        shape.add_decode(Tokens(7));
        let want = BatchShape {
            decodes: 2,
            decode_context: 57,
            decode_context_max: 50,
            prefill_chunks: 2,
            prefill_tokens: 13,
            prefill_work: 2_109,
        };
        assert_eq!(shape, want);
        assert_eq!(shape.turns(), 4);
    }

    #[test]
    fn splitting_a_chunk_keeps_its_work() {
        let (mut whole, mut split) = (BatchShape::default(), BatchShape::default());
        whole.add_prefill(Tokens(5), Tokens(7));
        split.add_prefill(Tokens(5), Tokens(4));
        split.add_prefill(Tokens(9), Tokens(3));
        assert_eq!(whole.prefill_work, split.prefill_work);
    }

    #[test]
    fn the_next_decode_is_the_shape_built_anew() {
        let of = |contexts: &[u64]| {
            let mut shape = BatchShape::default();
            for &context in contexts {
                shape.add_decode(Tokens(context));
            }
            shape
        };
        let mut contexts = [1_u64, 127, 128, 4095, 4096, 70_000];
        let mut shape = of(&contexts);
        for _ in 0..300 {
            shape.next_decode();
            for context in &mut contexts {
                *context += 1;
            }
            assert_eq!(shape, of(&contexts));
        }
    }

    #[test]
    fn an_empty_chunk_is_no_turn() {
        let mut shape = BatchShape::default();
        shape.add_prefill(Tokens(100), Tokens::ZERO);
        assert_eq!(shape, BatchShape::default());
    }
}
