//! Tools as processes, against the kernel: CPU time, order, kills, limits, and that nothing is left.

#![allow(
    clippy::disallowed_methods,
    reason = "real processes need real time, files and threads"
)]

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use engine::tools::{
    Call, CallId, Command, Ended, Hold, Limits, Mode, Outcome, Settings, ToolPool, ToolPoolError,
    Work,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use units::{Nanos, SessionId};

/// Far beyond what anything here takes, so that only a hang reaches it.
const LONG: Duration = Duration::from_mins(1);

fn settings(mode: Mode) -> Settings {
    Settings {
        mode,
        cores: Vec::new(),
        limits: Limits::default(),
        runner: PathBuf::from(env!("CARGO_BIN_EXE_tool-runner")),
        sandboxes: None,
    }
}

fn fifo(workers: u32, hold: Hold) -> Mode {
    Mode::Fifo(NonZeroU32::new(workers).expect("not zero"), hold)
}

fn pool(settings: Settings) -> (ToolPool, Receiver<Ended>) {
    let (sender, receiver) = channel();
    (ToolPool::new(settings, sender).expect("starts"), receiver)
}

fn burn(id: u64, cpu_ms: u64, threads: u32, io_ms: u64) -> Call {
    Call {
        id: CallId(id),
        session: SessionId(0),
        work: Work::Burn {
            cpu: Nanos::from_millis(cpu_ms),
            threads: NonZeroU32::new(threads).expect("not zero"),
            io: Nanos::from_millis(io_ms),
        },
    }
}

fn shell(id: u64, session: u32, script: &str) -> Call {
    let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
    let env = Vec::new();
    Call {
        id: CallId(id),
        session: SessionId(session),
        work: Work::Command(Command { argv, env }),
    }
}

fn next(results: &Receiver<Ended>) -> Ended {
    results.recv_timeout(LONG).expect("a tool ends")
}

fn all(results: &Receiver<Ended>, n: usize) -> BTreeMap<u64, Ended> {
    let ended = (0..n).map(|_| next(results));
    ended.map(|e| (e.id.0, e)).collect()
}

/// Runs one shell script to its end.
fn script(settings: Settings, text: &str) -> Ended {
    let (mut pool, results) = pool(settings);
    pool.start(shell(0, 0, text));
    next(&results)
}

fn text(ended: &Ended) -> String {
    String::from_utf8_lossy(&ended.output.kept)
        .trim()
        .to_owned()
}

fn alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name; a zombie that nobody collects in a container is dead all the same.
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    !(state.is_empty() || state.starts_with('Z') || state.starts_with('X'))
}

fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < LONG, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Reads a number that a script writes to a file, once it is there.
fn pid_in(file: &std::path::Path) -> i32 {
    let mut pid = None;
    wait_until("the script writes its id", || {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        pid = text.strip_suffix('\n').and_then(|t| t.parse().ok());
        pid.is_some()
    });
    pid.expect("just read")
}

/// CPU time by the kernel's own count, so that a busy machine cannot break it: never less than asked, and
/// at most starting and ending a process more.
#[test]
fn a_burn_uses_the_cpu_time_it_was_given() {
    let (mut pool, results) = pool(settings(Mode::FreeForAll));
    for (id, threads) in [(0, 1), (1, 2), (2, 3)] {
        pool.start(burn(id, 200, threads, 0));
    }
    for (id, ended) in all(&results, 3) {
        assert_eq!(ended.outcome, Outcome::Ok, "{id}: {}", text(&ended));
        let cpu = ended.cpu.expect("it ran").as_secs();
        assert!((0.199..0.23).contains(&cpu), "call {id} used {cpu} s");
        assert_eq!(ended.output.bytes, 0, "the mark of the end is not output");
    }
}

/// Waiting takes time and no CPU; a burn's delay does not count it.
#[test]
fn waiting_is_not_computing() {
    let (mut pool, results) = pool(settings(Mode::FreeForAll));
    pool.start(burn(0, 0, 1, 300));
    let ended = next(&results);
    assert!(ended.elapsed >= Nanos::from_millis(300));
    assert!(ended.cpu.expect("it ran") < Nanos::from_millis(100));
    assert!(ended.elapsed >= ended.queue_delay + Nanos::from_millis(300));
}

/// One worker: each has the wait of all before it, whatever their lengths.
#[test]
fn workers_are_first_come_first_served() {
    let (mut pool, results) = pool(settings(fifo(1, Hold::Call)));
    let lengths = [60, 10, 40, 5, 20];
    for (id, ms) in (0..).zip(lengths) {
        pool.start(burn(id, ms, 1, 0));
    }
    let mut before = 0;
    for (id, ms) in (0..).zip(lengths) {
        let ended = next(&results);
        assert_eq!(ended.id, CallId(id), "in the order in which they came");
        assert!(ended.queue_delay >= Nanos::from_millis(before));
        before += ms;
    }
}

/// A core is free while its call waits; a sandbox is not. The second call's own wait tells.
#[test]
fn a_worker_is_held_as_long_as_the_mode_says() {
    let second = |hold| {
        let (mut pool, results) = pool(settings(fifo(1, hold)));
        pool.start(burn(0, 20, 1, 2_000));
        pool.start(burn(1, 20, 1, 0));
        all(&results, 2)[&1].clone()
    };
    let core = second(Hold::Cpu);
    let sandbox = second(Hold::Call);
    assert!(sandbox.queue_delay >= Nanos::from_millis(2_020));
    assert!(core.queue_delay < sandbox.queue_delay);
    assert!(core.elapsed < sandbox.elapsed);
}

/// Nobody passes, but who needs no core does not wait for one.
#[test]
fn a_call_without_cpu_time_needs_no_core() {
    let (mut pool, results) = pool(settings(fifo(1, Hold::Cpu)));
    pool.start(burn(0, 1_000, 1, 0));
    pool.start(burn(1, 0, 1, 1));
    assert_eq!(next(&results).id, CallId(1));
    assert_eq!(next(&results).id, CallId(0));
}

/// Four on one core, each alone 100 ms: together they need 400 ms of it, less what little they used
/// before they moved there, and each is told its delay.
#[test]
fn calls_on_one_core_slow_each_other_down() {
    let mut one = settings(Mode::FreeForAll);
    one.cores = vec![0];
    let (mut pool, results) = pool(one);
    for id in 0..4 {
        pool.start(burn(id, 100, 1, 0));
    }
    let ended = all(&results, 4);
    let last = ended.values().map(|e| e.elapsed).max().expect("four");
    assert!(last >= Nanos::from_millis(360), "{last:?}");
    for (id, e) in ended {
        let own = e.elapsed.saturating_sub(Nanos::from_millis(100));
        assert!(e.queue_delay <= own, "call {id}: {e:?}");
    }
}

#[test]
fn how_a_command_ends_is_told() {
    for (script_text, want) in [
        ("true", Outcome::Ok),
        ("exit 7", Outcome::Exit(7)),
        ("kill -TERM $$", Outcome::Killed(libc_term())),
    ] {
        let ended = script(settings(Mode::FreeForAll), script_text);
        assert_eq!(ended.outcome, want, "{script_text}");
    }
}

/// A shell that does not find a program has run, and ends as it likes; a program that is not there, or is
/// none, never ran. The input of what runs is empty.
#[test]
fn a_command_that_never_began_is_told_from_one_that_ended() {
    let (mut pool, results) = pool(settings(Mode::FreeForAll));
    for status in [125, 126, 127] {
        pool.start(shell(0, 0, &format!("exit {status}")));
        assert_eq!(next(&results).outcome, Outcome::Exit(status));
    }
    pool.start(shell(0, 0, "no-such-program-anywhere"));
    assert_eq!(next(&results).outcome, Outcome::Exit(127));
    pool.start(shell(0, 0, "echo no program > file; chmod 755 .; wc -c"));
    let ended = next(&results);
    assert_eq!((&ended.outcome, &*text(&ended)), (&Outcome::Ok, "0"));
    for (program, why) in [
        ("no-such-program-anywhere", "No such file"),
        ("./file", "Permission denied"),
    ] {
        let argv = vec![program.to_owned()];
        pool.start(Call {
            work: Work::Command(Command { argv, env: vec![] }),
            ..shell(0, 0, "")
        });
        let Outcome::SpawnFailed(told) = next(&results).outcome else {
            panic!("{program} cannot run");
        };
        assert!(told.contains(program) && told.contains(why), "{told}");
    }
}

fn libc_term() -> i32 {
    Signal::SIGTERM as i32
}

#[test]
fn a_tool_that_is_killed_is_told_as_killed() {
    let (mut pool, results) = pool(settings(Mode::FreeForAll));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pid");
    pool.start(shell(
        0,
        0,
        &format!("echo $$ > {}; sleep 600", file.display()),
    ));
    kill(Pid::from_raw(pid_in(&file)), Signal::SIGKILL).expect("it runs");
    assert_eq!(
        next(&results).outcome,
        Outcome::Killed(Signal::SIGKILL as i32)
    );
}

/// The tool starts a process that starts another; both write their output to the pool, and both die.
#[test]
fn a_time_limit_kills_the_grandchildren() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pid");
    let mut short = settings(Mode::FreeForAll);
    short.limits.timeout = Some(Nanos::from_millis(300));
    let text = format!(
        "sh -c 'sleep 600 & echo $! > {}; wait' & wait",
        file.display()
    );
    let ended = script(short, &text);
    assert_eq!(ended.outcome, Outcome::TimedOut);
    assert!(ended.elapsed >= Nanos::from_millis(300));
    let pid = pid_in(&file);
    wait_until("the grandchild dies", || !alive(pid));
}

/// A limit counts from the start of the process: a call that waits longer than that in line is not ended.
#[test]
fn waiting_for_a_worker_does_not_use_up_the_time_limit() {
    let mut short = settings(fifo(1, Hold::Call));
    short.limits.timeout = Some(Nanos::from_millis(2_500));
    let (mut pool, results) = pool(short);
    for id in 0..3 {
        pool.start(burn(id, 0, 1, 1_000));
    }
    for (id, ended) in all(&results, 3) {
        assert_eq!(ended.outcome, Outcome::Ok, "call {id}");
    }
}

/// What a tool leaves in the background ends with it, and does not keep the call open.
#[test]
fn what_a_tool_leaves_running_dies_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pid");
    let ended = script(
        settings(Mode::FreeForAll),
        &format!("sleep 600 & echo $! > {}; echo done", file.display()),
    );
    assert_eq!(
        (ended.outcome.clone(), text(&ended).as_str()),
        (Outcome::Ok, "done")
    );
    let pid = pid_in(&file);
    wait_until("what was left dies", || !alive(pid));
}

/// A megabyte through a pool that keeps ten bytes: counted, not kept, and the tool is not blocked.
#[test]
fn output_is_kept_up_to_the_cap_and_counted_beyond() {
    let mut small = settings(Mode::FreeForAll);
    small.limits.output_bytes = 10;
    let ended = script(
        small,
        "head -c 1000000 /dev/zero | tr '\\0' x; echo more >&2",
    );
    assert_eq!(ended.outcome, Outcome::Ok);
    assert_eq!(ended.output.bytes, 1_000_005);
    assert_eq!(ended.output.kept, b"xxxxxxxxxx");
}

#[test]
fn a_command_sees_its_own_folder_and_a_bare_environment() {
    let ended = script(
        settings(Mode::FreeForAll),
        "env | cut -d= -f1 | sort | tr '\\n' ' '; pwd; echo $HOME",
    );
    let got = text(&ended);
    let lines: Vec<&str> = got.lines().collect();
    assert_eq!(
        lines[0].split(" /").next(),
        Some("HOME LANG PATH PWD TMPDIR"),
        "{got}"
    );
    assert!(got.contains("orrery-tools-"), "{got}");
}

/// Calls of a session share its folder; another session's is empty; both go with their session or the pool.
#[test]
fn folders_are_per_session_and_are_removed() {
    let root = tempfile::tempdir().expect("a folder");
    let mut at = settings(Mode::FreeForAll);
    at.sandboxes = Some(root.path().to_owned());
    let (mut pool, results) = pool(at);
    pool.start(shell(0, 1, "echo mine > file"));
    assert_eq!(next(&results).outcome, Outcome::Ok);
    pool.start(shell(1, 1, "cat file; pwd"));
    let got = text(&next(&results));
    let (first, folder) = got.split_once('\n').expect("two lines");
    assert_eq!(first, "mine");
    pool.start(shell(2, 2, "ls"));
    assert_eq!(text(&next(&results)), "");
    let folder = PathBuf::from(folder);
    assert!(folder.is_dir());
    pool.end_session(SessionId(1));
    wait_until("its folder goes", || !folder.exists());
    drop(pool);
    let left = std::fs::read_dir(root.path()).expect("is there").count();
    assert_eq!(left, 0, "the pool removes what is left");
}

/// Fifty at once, each a process of its own; all end well and nobody is counted twice.
#[test]
fn fifty_calls_run_at_once() {
    let (mut pool, results) = pool(settings(Mode::FreeForAll));
    for id in 0..50 {
        pool.start(burn(id, 4, 1, 20));
    }
    let ended = all(&results, 50);
    assert_eq!(ended.len(), 50);
    assert!(ended.values().all(|e| e.outcome == Outcome::Ok));
}

#[test]
fn the_end_of_a_session_ends_its_calls_and_no_others() {
    let (mut pool, results) = pool(settings(fifo(2, Hold::Call)));
    pool.start(shell(0, 1, "sleep 600"));
    pool.start(shell(1, 2, "sleep 0.2"));
    pool.start(shell(2, 1, "echo never"));
    pool.end_session(SessionId(1));
    let ended = all(&results, 3);
    let killed = Outcome::Killed(Signal::SIGKILL as i32);
    assert_eq!(ended[&0].outcome, killed);
    assert_eq!(ended[&1].outcome, Outcome::Ok);
    assert_eq!((&ended[&2].outcome, ended[&2].cpu), (&killed, None));
}

#[test]
fn dropping_the_pool_kills_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut pool, results) = pool(settings(Mode::FreeForAll));
    let mut pids = Vec::new();
    for id in 0..5 {
        let file = folder.path().join(id.to_string());
        let text = format!("sleep 600 & echo $! > {}; wait", file.display());
        pool.start(shell(id, 0, &text));
        pids.push(pid_in(&file));
    }
    assert!(pids.iter().all(|&pid| alive(pid)));
    drop(pool);
    for pid in pids {
        wait_until("it dies", || !alive(pid));
    }
    assert!(results.recv().is_err(), "what was cut off is not reported");
}

/// Files and memory beyond the limits are refused by the kernel, to the command only.
#[test]
fn files_and_memory_are_limited() {
    let mut limited = settings(Mode::FreeForAll);
    limited.limits.file_bytes = Some(1_000);
    let ended = script(
        limited.clone(),
        "trap '' XFSZ; head -c 5000 /dev/zero > file; wc -c < file",
    );
    assert_eq!(text(&ended).lines().last().map(str::trim), Some("1000"));
    limited.limits.file_bytes = None;
    limited.limits.memory_bytes = Some(64 << 20);
    let hungry = "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}";
    assert_ne!(text(&script(limited, hungry)), "200000000");
}

#[test]
fn a_program_that_is_not_there_is_told_and_the_pool_goes_on() {
    let mut broken = settings(fifo(1, Hold::Call));
    broken.runner = PathBuf::from("/nowhere/orrery");
    let (mut pool, results) = pool(broken);
    for id in 0..3 {
        pool.start(burn(id, 1, 1, 0));
    }
    for (id, ended) in all(&results, 3) {
        assert!(
            matches!(ended.outcome, Outcome::SpawnFailed(_)),
            "{id}: {ended:?}"
        );
        assert_eq!(ended.cpu, None);
    }
}

#[test]
fn cores_that_are_not_there_are_refused() {
    let mut elsewhere = settings(Mode::FreeForAll);
    elsewhere.cores = vec![0, 1_000];
    let refused = ToolPool::new(elsewhere, channel().0).expect_err("no such core");
    assert!(matches!(refused, ToolPoolError::Cores { .. }));
    assert!(refused.to_string().contains("[0, 1000]"), "{refused}");
}

/// A caller that keeps to one core does not keep its tools there.
#[test]
fn tools_without_cores_run_anywhere_wherever_the_caller_runs() {
    let here = || {
        let set = nix::sched::sched_getaffinity(Pid::from_raw(0)).expect("has cores");
        let on = |&core: &usize| set.is_set(core).unwrap_or(false);
        (0..nix::sched::CpuSet::count())
            .filter(on)
            .collect::<Vec<_>>()
    };
    let keep_to = |cores: &[usize]| {
        let mut set = nix::sched::CpuSet::new();
        for &core in cores {
            set.set(core).expect("a core");
        }
        nix::sched::sched_setaffinity(Pid::from_raw(0), &set).expect("may be used");
    };
    let all = here();
    keep_to(&all[..1]);
    let ended = script(
        settings(Mode::FreeForAll),
        "grep Cpus_allowed_list /proc/self/status",
    );
    keep_to(&all);
    let list = text(&ended);
    assert_eq!(
        list.contains('-') || list.contains(','),
        all.len() > 1,
        "{list} of {all:?}"
    );
}
