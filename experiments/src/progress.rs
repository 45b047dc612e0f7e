//! How far along: a bar on a terminal, a line every ten seconds elsewhere, nothing when quiet.

use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::note;

/// Between two lines where there is no terminal.
const EVERY: Duration = Duration::from_secs(10);

/// Counts simulated sessions over all runs and shows them on stderr.
#[derive(Debug)]
pub struct Progress {
    done: Arc<Done>,
    shown: Shown,
}

#[derive(Debug, Default)]
struct Done {
    sessions: AtomicU64,
    runs: AtomicU64,
}

#[derive(Debug)]
enum Shown {
    Nothing,
    Bar(ProgressBar, Option<u64>),
    Lines {
        stop: Option<Sender<()>>,
        thread: Option<JoinHandle<()>>,
    },
}

impl Progress {
    /// Starts showing progress towards `total` simulated sessions.
    pub fn new(total: u64, quiet: bool) -> Self {
        Self::started(total, "sessions simulated", None, quiet)
    }

    /// The same, and how many of so many runs are done.
    pub fn of_runs(total: u64, runs: Option<u64>, quiet: bool) -> Self {
        Self::started(total, "sessions simulated", runs, quiet)
    }

    /// Starts showing progress towards `total` of `what`.
    pub fn of(total: u64, what: &'static str, quiet: bool) -> Self {
        Self::started(total, what, None, quiet)
    }

    fn started(total: u64, what: &'static str, runs: Option<u64>, quiet: bool) -> Self {
        let done = Arc::new(Done::default());
        let shown = if quiet {
            Shown::Nothing
        } else if stderr().is_terminal() {
            let template =
                format!("{{bar:40}} {{msg}}{{pos}}/{{len}} {what}, {{elapsed}}, {{eta}} left");
            let style = ProgressStyle::with_template(&template);
            let bar = ProgressBar::new(total);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(of_runs(0, runs));
            Shown::Bar(bar, runs)
        } else {
            let (stop, stopped) = channel();
            let done = Arc::clone(&done);
            let thread = std::thread::spawn(move || {
                let began = Instant::now();
                while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                    let sessions = done.sessions.load(Ordering::Relaxed);
                    let line = format!(
                        "{}{sessions} of {total} {what} after {} s{}",
                        of_runs(done.runs.load(Ordering::Relaxed), runs),
                        began.elapsed().as_secs(),
                        left(began.elapsed(), sessions, total)
                    );
                    note(false, &line);
                }
            });
            Shown::Lines {
                stop: Some(stop),
                thread: Some(thread),
            }
        };
        Self { done, shown }
    }

    /// One more run is done.
    pub fn run_done(&self) {
        let runs = self.done.runs.fetch_add(1, Ordering::Relaxed) + 1;
        if let Shown::Bar(bar, of) = &self.shown {
            bar.set_message(of_runs(runs, *of));
        }
    }

    /// The share of one run or of one group of sessions.
    pub fn share(&self) -> Share<'_> {
        Share {
            of: self,
            counted: 0,
        }
    }

    fn add(&self, sessions: u64) {
        self.done.sessions.fetch_add(sessions, Ordering::Relaxed);
        if let Shown::Bar(bar, _) = &self.shown {
            bar.inc(sessions);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        match &mut self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar, _) => bar.finish_and_clear(),
            Shown::Lines { stop, thread } => {
                drop(stop.take());
                if let Some(thread) = thread.take() {
                    // It cannot fail but by a panic, which has been shown.
                    let _ = thread.join();
                }
            }
        }
    }
}

fn of_runs(done: u64, of: Option<u64>) -> String {
    of.map_or_else(String::new, |of| format!("{done} of {of} runs, "))
}

/// How long the rest takes if it goes on like this; nothing while that cannot be told.
#[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
fn left(elapsed: Duration, done: u64, total: u64) -> String {
    if done == 0 {
        return String::new();
    }
    let rest = total.saturating_sub(done) as f64 / done as f64;
    format!(", about {:.0} s left", elapsed.as_secs_f64() * rest)
}

/// One run's part of the progress.
#[derive(Debug)]
pub struct Share<'a> {
    of: &'a Progress,
    counted: u64,
}

impl Share<'_> {
    /// Sessions of the run that were counted.
    pub fn counted(&self) -> u64 {
        self.counted
    }

    /// This many sessions of the run are over by now.
    pub fn completed(&mut self, completed: u64) {
        self.of.add(completed.saturating_sub(self.counted));
        self.counted = self.counted.max(completed);
    }
}
