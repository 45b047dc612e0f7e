//! Tools that come and go while the grid is timed.
//!
//! Why: runs have tools all the time, so the grid that stands for them has too. What processes read and write when
//! they start and end goes through caches that all cores share, also from cores of their own.
//! Limits: one rate of calls for every load.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use engine::tools::{Call, CallId, Limits, Mode, Settings, ToolPool, Work};
use units::{Nanos, SessionId};

use super::calibration::runner;
use crate::failure::Failure;

/// CPU time of each call.
const CPU: Nanos = Nanos::from_millis(40);
/// What it waits then: a dozen calls come in a second, as in runs of the default sessions.
const WAIT: Nanos = Nanos::from_millis(40);

/// One call after the other, until this is dropped.
#[derive(Debug)]
pub(super) struct Churn {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Churn {
    /// On these cores.
    ///
    /// # Errors
    /// Bad input: tools that cannot be run.
    pub(super) fn on(cores: &[usize]) -> Result<Self, Failure> {
        let settings = Settings {
            mode: Mode::FreeForAll,
            cores: cores.to_vec(),
            limits: Limits::default(),
            runner: runner().map_err(Failure::bad_input)?,
            sandboxes: None,
        };
        let (sender, ended) = channel();
        let mut pool = ToolPool::new(settings, sender).map_err(Failure::bad_input)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let calls = move || {
            for id in 0.. {
                pool.start(Call {
                    id: CallId(id),
                    session: SessionId(0),
                    work: Work::Burn {
                        cpu: CPU,
                        threads: NonZeroU32::MIN,
                        io: WAIT,
                    },
                });
                // However it ended: nothing is measured on it. No end at all: there is no pool any more.
                if ended.recv().is_err() || stopped.load(Ordering::Relaxed) {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name("churn".to_owned());
        let thread = thread.spawn(calls).map_err(Failure::bad_input)?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It measures nothing, so there is nothing to lose with it.
            let _ = thread.join();
        }
    }
}
