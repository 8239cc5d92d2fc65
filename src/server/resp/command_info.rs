//! COMMAND and its subcommands: which commands the server has.

use super::invocation::Invocation;
use crate::protocol::resp::{COMMANDS, Spec, Verb, Writer, commands, describe, document};

/// Appends the reply to COMMAND or one of its subcommands.
pub(super) fn answer(invocation: &Invocation<'_>, writer: &mut Writer<'_>) {
    let has_names = invocation.arguments.len() > 2;
    let names = invocation.arguments_from(2);
    match invocation.spec.verb {
        Verb::CommandCount => writer.integer(commands().count() as u64),
        Verb::CommandList => {
            writer.array(commands().count());
            for spec in commands() {
                writer.bulk(spec.name.as_bytes());
            }
        }
        Verb::CommandDocs => {
            let specs: Vec<_> = match has_names {
                true => names.filter_map(by_name).collect(),
                false => commands().collect(),
            };
            writer.map(specs.len());
            for spec in specs {
                document(spec, writer);
            }
        }
        Verb::CommandInfo if has_names => {
            writer.array(invocation.arguments.len() - 2);
            for name in names {
                match by_name(name) {
                    Some(spec) => describe(spec, writer),
                    None => writer.null(),
                }
            }
        }
        _ => {
            writer.array(commands().count());
            for spec in commands() {
                describe(spec, writer);
            }
        }
    }
}

/// Returns a command, or `command|subcommand`, by its name in capitals or small letters.
fn by_name(name: &[u8]) -> Option<&'static Spec> {
    COMMANDS
        .iter()
        .find(|spec| spec.name.as_bytes().eq_ignore_ascii_case(name))
}
