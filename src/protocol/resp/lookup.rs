//! Finds the row of a command in [`COMMANDS`] by its name.

use super::{Arguments, COMMANDS, Refusal, Spec, Verb};

/// Packs a command's name into one number, ignoring case; 0 if it is too long for any command.
const fn key(name: &[u8]) -> u64 {
    if name.len() > 8 {
        return 0;
    }
    let mut key = 0;
    let mut i = 0;
    while i < name.len() {
        key = key << 8 | (name[i] | 0x20) as u64;
        i += 1;
    }
    key
}

/// A key that no name packs to: every byte of a packed name has the lower-case bit, 0x20.
const NO_KEY: u64 = 1;

/// The keys of [`COMMANDS`], so that a lookup is one comparison a row. Subcommands have [`NO_KEY`].
const LOOKUP: [u64; COMMANDS.len()] = {
    let mut keys = [0; COMMANDS.len()];
    let mut i = 0;
    while i < keys.len() {
        let name = COMMANDS[i].name.as_bytes();
        let mut subcommand = false;
        let mut at = 0;
        while at < name.len() {
            subcommand |= name[at] == b'|';
            at += 1;
        }
        keys[i] = if subcommand { NO_KEY } else { key(name) };
        assert!(
            COMMANDS[i].verb.index() == i,
            "COMMANDS must have the order of Verb"
        );
        assert!(keys[i] != 0, "a name has at most eight letters");
        i += 1;
    }
    keys
};

/// Returns the row of the command called `name`, in capitals or small letters.
#[must_use]
pub fn named(name: &[u8]) -> Option<&'static Spec> {
    let key = key(name);
    let row = LOOKUP.iter().position(|&known| known == key)?;
    Some(&COMMANDS[row])
}

/// Returns the row of the command or subcommand that `arguments` call.
///
/// # Errors
///
/// Returns a [`Refusal`] if the command or subcommand does not exist. The number of arguments is
/// not checked here; see [`Spec::takes`].
///
/// # Panics
///
/// Panics if there are no arguments.
pub fn find<'a>(arguments: &Arguments, bytes: &'a [u8]) -> Result<&'static Spec, Refusal<'a>> {
    let name = arguments.at(0, bytes);
    let Some(spec) = named(name) else {
        return Err(Refusal::unknown_command(arguments, bytes));
    };
    if !matches!(spec.verb, Verb::Client | Verb::Command | Verb::Config) || arguments.len() < 2 {
        return Ok(spec);
    }
    let subcommand = arguments.at(1, bytes);
    let matches = |spec: &&'static Spec| {
        let name = spec.subcommand_name().unwrap_or_default();
        name.as_bytes().eq_ignore_ascii_case(subcommand)
    };
    match spec.subcommands().find(matches) {
        Some(spec) => Ok(spec),
        None => Err(Refusal::UnknownSubcommand {
            of: spec,
            name: subcommand,
        }),
    }
}
