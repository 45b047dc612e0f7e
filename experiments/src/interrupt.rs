//! Ctrl-C: asked for once, stop cleanly; asked for twice, stop now.
//!
//! Why: what is already written stays complete, and nothing half-written looks complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the user wants to stop.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Never interrupted: for tests.
    pub fn never() -> Self {
        Self::default()
    }

    /// Listens for Ctrl-C from here on.
    pub fn listen() -> Self {
        let interrupt = Self::default();
        let flag = Arc::clone(&interrupt.0);
        // Without a handler Ctrl-C ends the program at once; temporary folders may then stay behind.
        let _ = ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        });
        interrupt
    }

    /// Whether to stop.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
