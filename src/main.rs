//! The `globalcounter` command: arguments → configuration → one call.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
