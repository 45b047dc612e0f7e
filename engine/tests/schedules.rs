//! No schedule changes a token: every executor of this crate under random loads.

mod common;

use common::schedules::{Seen, change_no_token};
use engine::Executor;
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
