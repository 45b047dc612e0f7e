//! The command line of `orrery doctor`.

use clap::Args;

use crate::cli::Format;

const EXAMPLES: &str = "\
Looks, and changes nothing. A library is `found` if the system's loader opens it (LD_LIBRARY_PATH counts);
where the file is and its version follow.

Examples:
  orrery doctor
  orrery doctor --format json
  LD_LIBRARY_PATH=/usr/local/cuda/lib64 orrery doctor

Exit code 0, whatever is found.";

/// Flags of `orrery doctor`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES, args_override_self = true)]
pub struct DoctorArgs {
    /// How to print.
    #[arg(long, default_value = "table")]
    pub format: Format,
}
