//! How a command ends that prints a list.

use std::io;
use std::process::ExitCode;

use anyhow::Result;

/// Returns the exit code of a command. A reader that has seen enough is no failure:
/// `globalcounter topics | head`.
pub(super) fn exit_code(result: Result<()>) -> Result<ExitCode> {
    match result {
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        result => result.map(|()| ExitCode::SUCCESS),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
