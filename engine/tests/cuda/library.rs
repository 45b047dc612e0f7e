//! What is said where there is no GPU, and what a graph does where there is one.

use engine::cuda::{
    Device, Op,
    gpu::{self, Gpu},
    launch, nvrtc,
};

use crate::device::device;

#[test]
fn without_a_driver_the_message_names_what_is_missing_and_what_to_do() {
    if gpu::driver_is_present() {
        eprintln!(
            "SKIPPED: without_a_driver_the_message_names_what_is_missing_and_what_to_do: there is a driver"
        );
        return;
    }
    let refused = Gpu::open(0, &nvrtc::folder())
        .expect_err("no driver")
        .to_string();
    assert!(
        refused.contains("libcuda.so.1") && refused.contains("`cpu` executor"),
        "{refused}"
    );
    assert!(gpu::count().is_err());
    assert_eq!(gpu::driver_version(), None);
}

#[test]
fn a_recorded_list_runs_again_on_what_the_memory_holds_then() {
    let Some(mut d) = device("a_recorded_list_runs_again_on_what_the_memory_holds_then") else {
        return;
    };
    let table = d.halves(&[1.0; 64].map(|v: f32| v));
    let (ids, out) = (d.ints(&[0]), d.poisoned(4 * 32));
    let ops = [Op::Launch(launch::embed(ids, table, out, 1, 32))];
    assert!(!d.replay(3).expect("asked"));
    d.record(3, &ops).expect("recorded");
    assert_eq!(d.read_floats(out, 32), [1.0; 32]);
    d.write(ids, &(-1_i32).to_le_bytes()).expect("written");
    assert!(d.replay(3).expect("replayed"));
    assert_eq!(d.read_floats(out, 32), [0.0; 32]);
    d.forget_graphs();
    assert!(!d.replay(3).expect("asked"));
}
