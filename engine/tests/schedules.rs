//! No schedule changes a token: every executor of this crate under random loads.

mod common;

use common::schedules::{Seen, change_no_token};
use engine::Executor;
use engine::cpu::{CpuExecutor, CpuOptions, KvFormat, Mode};
use engine::model::{Storage, preset, random};
use engine::reference::Candle;

fn of_the_reference(model: &str, cases: u64) -> Seen {
    let weights = random(&preset(model).expect("a preset"), 1, Storage::F32);
    let mut make = |blocks, size| -> Box<dyn Executor> {
        Box::new(Candle::new(&weights, blocks, size).expect("an executor"))
    };
    change_no_token(&mut make, cases)
}

#[test]
fn no_schedule_changes_a_token_of_the_reference() {
    of_the_reference("tiny", 25).everything();
}

#[test]
fn no_schedule_changes_a_token_of_another_architecture() {
    for model in ["tiny-qwen2", "tiny-qwen3", "tiny-qwen3moe"] {
        of_the_reference(model, 8);
    }
}

fn of_the_cpu(model: &str, mode: Mode, kv: KvFormat, cases: u64) -> Seen {
    let weights = random(&preset(model).expect("a preset"), 1, Storage::F32);
    let options = CpuOptions {
        mode,
        kv,
        threads: Some(2),
        ..CpuOptions::exact()
    };
    let mut make = |blocks, size| -> Box<dyn Executor> {
        Box::new(CpuExecutor::new(&weights, options, blocks, size).expect("an executor"))
    };
    change_no_token(&mut make, cases)
}

#[test]
fn no_schedule_changes_a_token_of_the_cpu_in_any_mode() {
    of_the_cpu("tiny", Mode::F32, KvFormat::F32, 25).everything();
    of_the_cpu("tiny", Mode::Bf16, KvFormat::Bf16, 25).everything();
    of_the_cpu("tiny", Mode::Int8, KvFormat::Bf16, 25).everything();
    for model in ["tiny-qwen2", "tiny-qwen3", "tiny-qwen3moe"] {
        of_the_cpu(model, Mode::F32, KvFormat::F32, 8);
        of_the_cpu(model, Mode::Int8, KvFormat::Bf16, 8);
    }
}
