//! What a tool call starts as, alone: for the engine's own tests. The `orrery` binary is its own runner.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1);
    engine::tools::child::main(args).unwrap_or(ExitCode::from(2))
}
