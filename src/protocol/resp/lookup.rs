//! From a command's name to its row of the table.

use super::{Arguments, COMMANDS, Refusal, Spec, Verb};

/// A command's name as one number, the same in capitals and small letters; 0 where none can be it.
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

/// What no name has for a key: each of its bytes has the bit that tells small letters.
const NO_KEY: u64 = 1;

/// The keys of [`COMMANDS`], for one comparison a row; those of subcommands are no command's.
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
        assert!(COMMANDS[i].verb.index() == i, "in the order of Verb");
        assert!(keys[i] != 0, "at most eight letters");
        i += 1;
    }
    keys
};

/// The row of a command, by its name alone.
#[must_use]
pub fn named(name: &[u8]) -> Option<&'static Spec> {
    let key = key(name);
    let row = LOOKUP.iter().position(|&known| known == key)?;
    Some(&COMMANDS[row])
}

/// The row of the command that `arguments` call, or of its subcommand.
///
/// # Errors
///
/// Why there is none: no such command or subcommand. Whether it takes that many arguments is another
/// matter ([`Spec::takes`]).
///
/// # Panics
///
/// Where there are no arguments.
pub fn find<'a>(arguments: &Arguments, bytes: &'a [u8]) -> Result<&'static Spec, Refusal<'a>> {
    let name = arguments.at(0, bytes);
    let Some(spec) = named(name) else {
        return Err(Refusal::unknown_command(arguments, bytes));
    };
    if !matches!(spec.verb, Verb::Client | Verb::Command | Verb::Config) || arguments.len() < 2 {
        return Ok(spec);
    }
    let subcommand = arguments.at(1, bytes);
    let is_meant = |spec: &&'static Spec| {
        let name = spec.subcommand_name().unwrap_or_default();
        name.as_bytes().eq_ignore_ascii_case(subcommand)
    };
    match spec.subcommands().find(is_meant) {
        Some(spec) => Ok(spec),
        None => Err(Refusal::UnknownSubcommand {
            of: spec,
            name: subcommand,
        }),
    }
}
