//! Bad usage: how it is recognised and reported.

use std::process::ExitCode;

use clap::error::ErrorKind;
use globalcounter::server::BindError;

use super::settings::Mistakes;

/// Reports wrong arguments in one line; prints the help or the version if that was asked for.
pub(super) fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.exit();
    }
    // The first paragraph is the error; usage and tips follow it.
    let text = error.render().to_string();
    let lines = text
        .lines()
        .take_while(|line| !line.is_empty())
        .map(str::trim);
    let line = lines.collect::<Vec<_>>().join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    eprintln!("globalcounter: {line} (see globalcounter --help)");
    ExitCode::from(2)
}

/// Returns whether the error is in the arguments or the configuration, not in the server or the system.
pub(super) fn is_bad_usage(error: &anyhow::Error) -> bool {
    if let Some(error) = error.downcast_ref::<globalcounter::Error>() {
        return error.is_invalid();
    }
    if error.is::<Mistakes>() {
        return true;
    }
    matches!(
        error.downcast_ref(),
        Some(BindError::NoTransport | BindError::Setting { .. })
    )
}
