//! Ctrl-C and SIGTERM: asked for once, stop cleanly; asked for again a while later, stop now.
//!
//! Why: what is already written stays complete, and nothing half-written looks complete. SIGTERM is how
//! `timeout`, job schedulers and containers ask; `timeout` signals a program and then its process group, so
//! what comes twice at once was asked for once.
//! Limits: a hang-up ends the program at once, so that `nohup` means what it always does; SIGKILL cannot
//! be heard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// A signal so long after the first is another one.
const AGAIN: Duration = Duration::from_millis(500);

/// Whether the user wants to stop.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Never interrupted: for tests.
    pub fn never() -> Self {
        Self::default()
    }

    /// Listens for Ctrl-C and SIGTERM from here on.
    pub fn listen() -> Self {
        let interrupt = Self::default();
        // Without a handler a signal ends the program at once; temporary folders may then stay behind.
        let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else {
            return interrupt;
        };
        let flag = Arc::clone(&interrupt.0);
        std::thread::spawn(move || {
            let mut first = None;
            for _ in &mut signals {
                flag.store(true, Ordering::Relaxed);
                if first.get_or_insert_with(Instant::now).elapsed() >= AGAIN {
                    std::process::exit(130);
                }
            }
        });
        interrupt
    }

    /// Whether to stop.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
