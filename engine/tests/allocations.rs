//! A step of the fast executor reuses its buffers: the answer is all that it allocates.

#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::cpu::{CpuExecutor, CpuOptions, Mode};
use engine::model::{Storage, preset, random};
use engine::{Batch, Executor, Row};
use units::{BlockSize, Blocks, SessionId, Tokens};

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting.
struct Counting;

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from the system's allocator with this layout.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as for `dealloc`; the size is the caller's.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A chunk of 20 tokens, then a decode of another session.
fn batch() -> Batch {
    let row = |session, query, context| Row {
        session: SessionId(session),
        query: Tokens(query),
        context: Tokens(context),
        samples: true,
    };
    Batch {
        rows: vec![row(0, 20, 20), row(1, 1, 1)],
        positions: (0..20).chain([0]).collect(),
        slots: (0..20).chain([32]).collect(),
        starts: vec![0, 20, 21],
        block_tables: vec![vec![0, 1], vec![2]],
        sample_at: vec![19, 20],
    }
}

// One test in this file: the count is the process's.
#[test]
fn a_step_allocates_its_answer_and_nothing_else() {
    let tokens: Vec<u32> = (0..21).collect();
    let batch = batch();
    for shape in ["tiny", "tiny-qwen3moe"] {
        let weights = random(&preset(shape).expect("a preset"), 1, Storage::F32);
        for mode in [Mode::F32, Mode::Bf16, Mode::Int8] {
            let options = CpuOptions {
                mode,
                threads: Some(1),
                ..CpuOptions::fast()
            };
            let size = BlockSize::new(16).expect("not zero");
            let made = CpuExecutor::new(&weights, options, Blocks(3), size);
            let mut cpu = made.expect("an executor");
            cpu.step(&batch, &tokens).expect("a step");
            let before = COUNT.load(Ordering::Relaxed);
            let sampled = cpu.step(&batch, &tokens).expect("a step");
            let count = COUNT.load(Ordering::Relaxed) - before;
            assert_eq!(sampled.tokens.len(), 2);
            assert_eq!(count, 1, "{shape} {mode:?}");
        }
    }
}
