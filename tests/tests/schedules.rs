//! No policy changes a token: the engine's random loads under every mix of real parts.
//!
//! The engine's own tests decide by the throw of a die, since they may not know the policies. Here the
//! same loads run under what users choose from: windows that hold sessions back, queues with levels and
//! quanta, pins that run out, waste that is weighed.

#![allow(
    clippy::disallowed_methods,
    reason = "an executor may be waited for, and is a device of the real world"
)]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "the engine's tests share this, and use all of it"
)]

#[path = "../../engine/tests/common/policy.rs"]
mod policy;
#[path = "../../engine/tests/common/schedules.rs"]
mod schedules;

use engine::Executor;
use engine::model::{Storage, preset, random};
use engine::reference::Candle;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use schedules::change_no_token_under;
use workspace_tests::loads::fixed;
use workspace_tests::mixes::policy_that_ends;

#[test]
fn no_mix_of_policies_changes_a_token() {
    let weights = random(&preset("tiny").expect("a preset"), 1, Storage::F32);
    let mut runner = TestRunner::new(fixed(1, 5));
    let mut policy = |_| {
        let tree = policy_that_ends().new_tree(&mut runner);
        let spec = tree.expect("a mix").current();
        spec.build().expect("a policy")
    };
    let mut make = |blocks, size| -> Box<dyn Executor> {
        Box::new(Candle::new(&weights, blocks, size).expect("an executor"))
    };
    let seen = change_no_token_under(&mut policy, &mut make, 60);
    eprintln!("{seen:?}");
    seen.everything();
}
