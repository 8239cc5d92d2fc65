//! The `globalcounter` command. All of it is in [`cli`].

mod admin;
mod cli;
mod json;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
