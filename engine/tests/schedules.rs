//! No schedule changes a token: every executor of this crate under random loads.

mod common;

use common::schedules::{Seen, change_no_token};
use engine::model::{Storage, preset, random};
use engine::reference::Candle;

/// The loads did what they are for.
fn seen_everything(seen: Seen) {
    let Seen {
        tokens,
        mixed,
        chunked,
        hits,
        preempted,
        copied_out,
        copied_in,
    } = seen;
    let all = [
        tokens, mixed, chunked, hits, preempted, copied_out, copied_in,
    ];
    assert!(all.iter().all(|n| *n >= 10), "{seen:?}");
}

#[test]
fn no_schedule_changes_a_token_of_the_reference() {
    for name in ["tiny", "tiny-qwen2", "tiny-qwen3", "tiny-qwen3moe"] {
        let weights = random(&preset(name).expect("a preset"), 1, Storage::F32);
        let seen = change_no_token(
            &mut |blocks, size| Box::new(Candle::new(&weights, blocks, size).expect("an executor")),
            40,
        );
        seen_everything(seen);
    }
}
