//! Ctrl-C and SIGTERM: asked for once, stop cleanly; asked for twice, stop now.
//!
//! Why: what is already written stays complete, and nothing half-written looks complete. SIGTERM is how
//! `timeout`, job schedulers and containers ask.
//! Limits: a hang-up ends the program at once, so that `nohup` means what it always does; SIGKILL cannot
//! be heard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

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
            for _ in &mut signals {
                if flag.swap(true, Ordering::Relaxed) {
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
