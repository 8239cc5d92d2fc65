//! The replies of COMMAND and of HELP, made from the table of commands.

use super::{Argument, COMMANDS, Keying, Spec, Writer};

/// Returns all commands without their subcommands.
pub fn commands() -> impl Iterator<Item = &'static Spec> {
    COMMANDS
        .iter()
        .filter(|spec| spec.subcommand_name().is_none())
}

/// Appends a command's entry in COMMAND INFO: name, arity, flags, first and last key and the step
/// between keys, categories, tips (none), positions of the keys, and subcommands.
pub fn describe(spec: &Spec, writer: &mut Writer<'_>) {
    writer.array(10);
    writer.bulk(spec.name.as_bytes());
    writer.signed(spec.arity.into());
    writer.set(spec.flags.len());
    for flag in spec.flags {
        writer.simple(flag);
    }
    let (first, last, step) = match spec.keys {
        Keying::None => (0, 0, 0),
        Keying::First => (1, 1, 1),
        Keying::Second => (2, 2, 1),
        Keying::All => (1, -1, 1),
    };
    for number in [first, last, step] {
        writer.signed(number);
    }
    writer.set(1);
    writer.simple(&format!("@{}", spec.group.name()));
    writer.array(0);
    match spec.keys {
        Keying::None => writer.array(0),
        Keying::First | Keying::Second | Keying::All => {
            writer.array(1);
            describe_keys(spec, first, last, writer);
        }
    }
    writer.array(spec.subcommands().count());
    for subcommand in spec.subcommands() {
        describe(subcommand, writer);
    }
}

/// Appends the positions of the keys: from argument `first` to argument `last`, which is the last
/// argument of the command if it is -1.
fn describe_keys(spec: &Spec, first: i64, last: i64, writer: &mut Writer<'_>) {
    let writes = spec.flags.contains(&"write");
    writer.map(3);
    writer.bulk(b"flags");
    writer.set(1);
    writer.simple(if writes { "RW" } else { "RO" });
    writer.bulk(b"begin_search");
    writer.map(2);
    writer.entry("type", "index");
    writer.bulk(b"spec");
    writer.map(1);
    writer.bulk(b"index");
    writer.signed(first);
    writer.bulk(b"find_keys");
    writer.map(2);
    writer.entry("type", "range");
    writer.bulk(b"spec");
    writer.map(3);
    // Relative to the first key, unlike the positions above.
    let last = if last < 0 { last } else { last - first };
    for (key, value) in [("lastkey", last), ("keystep", 1), ("limit", 0)] {
        writer.bulk(key.as_bytes());
        writer.signed(value);
    }
}

/// Appends a command's entry in COMMAND DOCS: its name, and its documentation as the value of that
/// key in a map.
pub fn document(spec: &Spec, writer: &mut Writer<'_>) {
    writer.bulk(spec.name.as_bytes());
    let subcommands = spec.subcommands().count();
    let arguments = spec.arguments.len();
    writer.map(3 + usize::from(arguments > 0) + usize::from(subcommands > 0));
    writer.entry("summary", spec.summary);
    writer.entry("since", spec.since);
    writer.entry("group", spec.group.name());
    if arguments > 0 {
        writer.bulk(b"arguments");
        writer.array(arguments);
        for argument in spec.arguments {
            document_argument(argument, writer);
        }
    }
    if subcommands > 0 {
        writer.bulk(b"subcommands");
        writer.map(subcommands);
        for subcommand in spec.subcommands() {
            document(subcommand, writer);
        }
    }
}

fn document_argument(argument: &Argument, writer: &mut Writer<'_>) {
    let flags = [
        (argument.optional, "optional"),
        (argument.multiple, "multiple"),
    ];
    let flags: Vec<&str> = flags
        .into_iter()
        .filter_map(|(is, flag)| is.then_some(flag))
        .collect();
    writer.map(2 + usize::from(argument.token.is_some()) + usize::from(!flags.is_empty()));
    writer.entry("name", argument.name);
    writer.entry("type", argument.kind);
    if let Some(token) = argument.token {
        writer.entry("token", token);
    }
    if !flags.is_empty() {
        writer.bulk(b"flags");
        writer.array(flags.len());
        for flag in flags {
            writer.simple(flag);
        }
    }
}

/// Appends the reply of a command's HELP: how to call each subcommand, and what it does.
pub fn help(of: &Spec, writer: &mut Writer<'_>) {
    writer.array(1 + 2 * of.subcommands().count());
    let command = of.name.to_ascii_uppercase();
    writer.simple(&format!(
        "{command} <subcommand> [<argument> ...]. Subcommands are:"
    ));
    for subcommand in of.subcommands() {
        let name = subcommand.subcommand_name().unwrap_or_default();
        let mut line = name.to_ascii_uppercase();
        for argument in subcommand.arguments {
            let token = argument
                .token
                .map_or_else(String::new, |token| format!("{token} "));
            let more = if argument.multiple { " ..." } else { "" };
            let usage = format!("{token}<{}>{more}", argument.name);
            line.push(' ');
            line.push_str(&match argument.optional {
                true => format!("[{usage}]"),
                false => usage,
            });
        }
        writer.simple(&line);
        writer.simple(&format!("    {}", subcommand.summary));
    }
}
