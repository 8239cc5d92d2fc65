//! The fuzz target of the configuration file, and the replay of its corpus.

use std::fs;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, value_parser};

use super::CommandLine;

/// Reads `bytes` as a configuration file, as `serve --config FILE` does. Each mistake must be one line,
/// and the settings without the mistakes must be a valid file.
#[cfg_attr(not(test), allow(dead_code, reason = "the command does not call it"))]
pub(in crate::cli) fn configuration(bytes: &[u8]) {
    let name = format!("globalcounter-fuzz-{}.toml", std::process::id());
    let path = std::env::temp_dir().join(name);
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("a file can be written");
        let config = ["globalcounter", "serve", "--config"].map(Into::into);
        let arguments = config.into_iter().chain([path.clone().into()]);
        let line = CommandLine::new(command(), "serve", arguments.collect());
        let parsed = line.parse().expect("the flags are valid");
        fs::remove_file(&path).expect("the file is there");
        parsed.settings
    };
    let settings = read(bytes);
    for line in settings.mistakes.lines() {
        assert!(!line.contains('\n'), "{line:?}");
    }
    let mut printed = Vec::new();
    settings.print(&mut printed).expect("a vector takes all");
    let again = read(&printed);
    let mistakes: Vec<&str> = again.mistakes.lines().collect();
    assert!(mistakes.is_empty(), "{mistakes:?}");
    for (before, after) in settings.all.iter().zip(&again.all) {
        assert_eq!(before.value, after.value, "{}", before.key);
    }
}

/// A command with a setting of each kind.
fn command() -> Command {
    let path = || value_parser!(PathBuf);
    let setting = |name: &'static str| Arg::new(name).long(name);
    let serve = Command::new("serve").args([
        setting("config").value_parser(path()),
        setting("tokens").value_parser(path()),
        setting("tcp").default_value("127.0.0.1:9999"),
        setting("shards").value_parser(value_parser!(u16).range(1..=4096)),
        setting("durability")
            .value_parser(["monotonic", "exact"])
            .default_value("monotonic"),
        setting("in-memory").action(ArgAction::SetTrue),
        setting("allow")
            .action(ArgAction::Append)
            .value_delimiter(' '),
    ]);
    Command::new("globalcounter").subcommand(serve)
}

#[cfg(test)]
mod tests {
    use super::configuration;

    #[test]
    fn its_corpus_is_read() {
        crate::corpus::replay("configuration", configuration);
    }
}
