//! Finds the row of a command in [`COMMANDS`] by its name.

use super::{Arguments, COMMANDS, Refusal, Spec};

/// The longest name that is packed into one number, in bytes. The few longer ones are compared as
/// text, after the lookup of packed names.
const MAX_PACKED: usize = 8;

/// Packs a command's name into one number, ignoring case; [`NO_KEY`] if it is too long for that.
const fn key(name: &[u8]) -> u64 {
    if name.len() > MAX_PACKED {
        return NO_KEY;
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

/// The keys of [`COMMANDS`], so that a lookup is one comparison a row. Long names and subcommands
/// have [`NO_KEY`].
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
        i += 1;
    }
    keys
};

/// Returns the row of the command called `name`, in capitals or small letters.
#[must_use]
#[inline]
pub fn named(name: &[u8]) -> Option<&'static Spec> {
    let key = key(name);
    if key == NO_KEY {
        return long_named(name);
    }
    let row = LOOKUP.iter().position(|&known| known == key)?;
    Some(&COMMANDS[row])
}

/// Returns the row of a command whose name is too long to be packed.
#[cold]
fn long_named(name: &[u8]) -> Option<&'static Spec> {
    COMMANDS.iter().find(|spec| {
        spec.subcommand_name().is_none() && spec.name.as_bytes().eq_ignore_ascii_case(name)
    })
}

/// Returns the row of the subcommand `name` of a command, in capitals or small letters.
fn subcommand_named(of: &Spec, name: &[u8]) -> Option<&'static Spec> {
    of.subcommands().find(|spec| {
        let own = spec.subcommand_name().unwrap_or_default();
        own.as_bytes().eq_ignore_ascii_case(name)
    })
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
#[inline(always)] // it is called for each command, from two copies of its caller
pub fn find<'a>(arguments: &Arguments, bytes: &'a [u8]) -> Result<&'static Spec, Refusal<'a>> {
    let name = arguments.at(0, bytes);
    let Some(spec) = named(name) else {
        return Err(Refusal::unknown_command(arguments, bytes));
    };
    if !spec.verb.has_subcommands() || arguments.len() < 2 {
        return Ok(spec);
    }
    let subcommand = arguments.at(1, bytes);
    subcommand_named(spec, subcommand).ok_or_else(|| Refusal::unknown_subcommand(spec, subcommand))
}

/// Returns which arguments are keys, of the command whose name is argument `first` and whose own
/// arguments are all that follow it.
///
/// # Errors
///
/// Returns a [`Refusal`] if the command does not exist, has no keys, or does not take this number of
/// arguments.
pub(super) fn keys_of(
    first: usize,
    arguments: &Arguments,
    bytes: &[u8],
) -> Result<std::ops::Range<usize>, Refusal<'static>> {
    let count = arguments.len() - first;
    let command = named(arguments.at(first, bytes)).ok_or(Refusal::NoSuchCommand)?;
    let spec = match command.verb.has_subcommands() && count > 1 {
        true => subcommand_named(command, arguments.at(first + 1, bytes)),
        false => Some(command),
    };
    let spec = spec.ok_or(Refusal::NoSuchCommand)?;
    if !spec.takes(count) {
        return Err(Refusal::NoSuchArity);
    }
    let keys = spec.keys.range(count);
    match keys.is_empty() {
        true => Err(Refusal::NoKeys),
        false => Ok(first + keys.start..first + keys.end),
    }
}
