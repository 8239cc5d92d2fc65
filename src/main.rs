//! The `globalcounter` command. All of it is in [`cli`].

mod admin;
mod cli;
mod json;

/// The corpora of the fuzz targets, which the tests of the library use as well.
#[cfg(test)]
#[path = "../tests/support/corpus.rs"]
mod corpus;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
