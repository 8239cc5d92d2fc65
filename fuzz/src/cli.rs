//! The configuration file. Its reader belongs to the command, which is no library.

#[path = "../../src/cli/settings/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the target reads files, and nothing else"
)]
mod settings;

/// The text of a configuration file.
pub fn configuration(bytes: &[u8]) {
    settings::fuzzing::configuration(bytes);
}
