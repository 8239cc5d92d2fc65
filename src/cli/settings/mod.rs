//! The settings of one command, from the lowest layer to the highest: defaults, a TOML file, the
//! environment, flags. A setting is declared once, as an argument of clap; its name in the file, its
//! parser and its variable follow from that. What a setting means is up to the command.

mod command_line;
mod expected;
mod file;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
mod key;
mod mistakes;
mod setting;
mod source;

pub(super) use command_line::CommandLine;
pub(super) use file::read_text;
pub(super) use mistakes::Mistakes;
pub(super) use setting::{Setting, Settings, quoted};
