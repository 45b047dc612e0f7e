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
    done: Arc<AtomicU64>,
    shown: Shown,
}

#[derive(Debug)]
enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines {
        stop: Option<Sender<()>>,
        thread: Option<JoinHandle<()>>,
    },
}

impl Progress {
    /// Starts showing progress towards `total` sessions.
    pub fn new(total: u64, quiet: bool) -> Self {
        let done = Arc::new(AtomicU64::new(0));
        let shown = if quiet {
            Shown::Nothing
        } else if stderr().is_terminal() {
            let template = "{bar:40} {pos}/{len} sessions simulated, {elapsed}, {eta} left";
            let style = ProgressStyle::with_template(template);
            let bar = ProgressBar::new(total);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            Shown::Bar(bar)
        } else {
            let (stop, stopped) = channel();
            let done = Arc::clone(&done);
            let thread = std::thread::spawn(move || {
                let began = Instant::now();
                while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                    let line = format!(
                        "{} of {total} sessions simulated after {} s",
                        done.load(Ordering::Relaxed),
                        began.elapsed().as_secs()
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

    /// The share of one run or of one group of sessions.
    pub fn share(&self) -> Share<'_> {
        Share {
            of: self,
            counted: 0,
        }
    }

    fn add(&self, sessions: u64) {
        self.done.fetch_add(sessions, Ordering::Relaxed);
        if let Shown::Bar(bar) = &self.shown {
            bar.inc(sessions);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        match &mut self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => bar.finish_and_clear(),
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
