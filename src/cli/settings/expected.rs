//! What a setting accepts, in the words of its parser.

use std::error::Error as _;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

/// What a flag without a value accepts in a file.
pub(super) const SWITCH: &str = "expected true or false";

/// Checks the text of a value with the argument's own parser. Returns what is expected instead.
pub(super) fn check_value(arg: &Arg, value: &str) -> Result<(), String> {
    let flag = format!("--{}={value}", arg.get_long().unwrap_or_default());
    check(arg, Some(flag.into())).map_err(|error| expected(&error))
}

/// Checks the value of the argument's environment variable in the same way.
pub(super) fn check_variable(arg: &Arg) -> Result<(), String> {
    check(arg, None).map_err(|error| match arg.get_action() {
        ArgAction::SetTrue => SWITCH.to_owned(),
        _ => expected(&error),
    })
}

fn check(arg: &Arg, flag: Option<OsString>) -> Result<(), clap::Error> {
    let alone = Command::new("setting")
        .no_binary_name(true)
        .arg(arg.clone());
    alone.try_get_matches_from(flag).map(|_| ())
}

fn expected(error: &clap::Error) -> String {
    if let Some(source) = error.source() {
        return source.to_string();
    }
    match (error.kind(), error.get(ContextKind::ValidValue)) {
        (ErrorKind::InvalidValue, Some(ContextValue::Strings(valid))) if !valid.is_empty() => {
            format!("expected one of {}", valid.join(", "))
        }
        (ErrorKind::InvalidValue, _) => "expected a value".to_owned(),
        (kind, _) => kind.to_string(),
    }
}
