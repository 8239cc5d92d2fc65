//! The layers put together: which value each setting has, and where it comes from.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::expected;
use super::file::{self, Entry};
use super::key::Key;
use super::mistakes::Mistakes;
use super::setting::{Setting, Settings};
use super::source::Source;

/// The argument that names the configuration file.
const CONFIG: &str = "config";

/// The arguments of the process and what they may be. One subcommand has settings.
#[derive(Debug, Clone)]
pub(in crate::cli) struct CommandLine {
    command: Command,
    subcommand: &'static str,
    arguments: Vec<OsString>,
}

/// A valid command line.
#[derive(Debug)]
pub(in crate::cli) struct Parsed {
    pub(in crate::cli) matches: ArgMatches,
    /// The settings; empty for other subcommands.
    pub(in crate::cli) settings: Settings,
}

impl CommandLine {
    /// Takes the arguments of this process. `command` has to have a `subcommand` with an argument
    /// `config`.
    pub(in crate::cli) fn of_process(command: Command, subcommand: &'static str) -> Self {
        Self::new(command, subcommand, std::env::args_os().collect())
    }

    /// Does the same with other arguments, of which the first is the name of the program.
    pub(super) fn new(
        command: Command,
        subcommand: &'static str,
        arguments: Vec<OsString>,
    ) -> Self {
        Self {
            command,
            subcommand,
            arguments,
        }
    }

    /// Reads all layers. The environment is that of the process's start.
    ///
    /// # Errors
    ///
    /// The flags are wrong, or ask for help. Mistakes in the file and in the environment are in the
    /// settings.
    pub(in crate::cli) fn parse(&self) -> Result<Parsed, clap::Error> {
        let flags = self.parse_flags()?;
        let Some(given) = flags.subcommand_matches(self.subcommand) else {
            return Ok(Parsed {
                matches: flags,
                settings: Settings::default(),
            });
        };
        let defined = self.command.find_subcommand(self.subcommand);
        let keys: Vec<Key<'_>> = defined.into_iter().flat_map(Key::all).collect();
        let mut mistakes = Mistakes::default();
        let mut command = self.command.clone();
        for &key in &keys {
            let by_flag = given.value_source(key.id()) == Some(ValueSource::CommandLine);
            if !by_flag && let Err(mistake) = check_variable(key) {
                mistakes.add(mistake);
                command = self.change(command, key.id(), |arg| arg.env(Resettable::Reset));
            }
        }
        let path: Option<&PathBuf> = given.get_one(CONFIG);
        let entries = path.map(|path| file::read(path, &keys, &mut mistakes));
        let entries = entries.unwrap_or_default();
        // A default of clap is what flags and the environment have precedence over.
        for Entry { key, value, .. } in &entries {
            command = self.change(command, key.id(), |arg| arg.default_value(value.clone()));
        }
        let matches = command.try_get_matches_from(&self.arguments)?;
        let lines = entries.iter().map(|entry| (entry.key.id(), entry.line));
        let lines: HashMap<&str, usize> = lines.collect();
        let all = match matches.subcommand() {
            Some((_, matches)) => keys
                .iter()
                .map(|&key| setting(key, matches, path.zip(lines.get(key.id()))))
                .collect(),
            None => Vec::new(),
        };
        let settings = Settings {
            file: path.cloned(),
            all,
            mistakes,
        };
        Ok(Parsed { matches, settings })
    }

    /// Parses the flags of the subcommand, and of its environment only the name of the file.
    fn parse_flags(&self) -> Result<ArgMatches, clap::Error> {
        let flags = self
            .command
            .clone()
            .mut_subcommand(self.subcommand, |command| {
                command.mut_args(|arg| match arg.get_id() == CONFIG {
                    true => arg,
                    false => arg.env(Resettable::Reset),
                })
            });
        flags
            .try_get_matches_from(&self.arguments)
            .map_err(|error| {
                if error.use_stderr() {
                    return error;
                }
                // Help, which names the variables.
                let with_variables = self.command.clone();
                let help = with_variables.try_get_matches_from(&self.arguments);
                help.err().unwrap_or(error)
            })
    }

    /// Changes one argument of the subcommand.
    fn change(
        &self,
        command: Command,
        id: &str,
        change: impl FnOnce(clap::Arg) -> clap::Arg,
    ) -> Command {
        command.mut_subcommand(self.subcommand, |command| command.mut_arg(id, change))
    }
}

/// Checks the value of a key's environment variable, if it is set.
fn check_variable(key: Key<'_>) -> Result<(), String> {
    let variable = key.variable().unwrap_or_default();
    let Some(value) = std::env::var_os(&variable) else {
        return Ok(());
    };
    expected::check_variable(key.arg).map_err(|expected| match key.is_secret() {
        true => format!("{variable}: {expected}"),
        false => {
            let value = value.to_string_lossy();
            format!("{variable}: {expected}, not \"{}\"", value.escape_debug())
        }
    })
}

/// Returns a setting with its value in `matches`. `file` is its place if the file has it.
fn setting(key: Key<'_>, matches: &ArgMatches, file: Option<(&PathBuf, &usize)>) -> Setting {
    let source = match (matches.value_source(key.id()), file) {
        (Some(ValueSource::CommandLine), _) => Source::Flag(key.flag()),
        (Some(ValueSource::EnvVariable), _) => {
            Source::Environment(key.variable().unwrap_or_default())
        }
        (_, Some((path, &line))) => Source::File {
            path: path.clone(),
            line,
        },
        (_, None) => Source::Default,
    };
    let value = if key.is_switch() {
        Some(matches.get_flag(key.id()).to_string())
    } else {
        let values = matches.get_raw(key.id()).into_iter().flatten();
        let values: Vec<String> = values
            .map(|value| value.to_string_lossy().into_owned())
            .collect();
        (!values.is_empty()).then(|| key.join(&values))
    };
    Setting {
        key: key.name(),
        value,
        source,
        overruled_by: None,
        secret: key.is_secret(),
        is_text: key.is_path(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    /// No setting is secret today; one would be declared like this.
    fn with_secret(arguments: &[&str]) -> Settings {
        let secret = Arg::new("token")
            .long("token")
            .env("GLOBALCOUNTER_TEST_TOKEN")
            .hide_env_values(true)
            .value_parser(|text: &str| match text.len() {
                6 => Ok(text.to_owned()),
                _ => Err("expected 6 characters"),
            });
        let config = Arg::new(CONFIG)
            .long(CONFIG)
            .value_parser(clap::value_parser!(PathBuf));
        let serve = Command::new("serve").args([secret, config]);
        let line = CommandLine {
            command: Command::new("test").subcommand(serve),
            subcommand: "serve",
            arguments: ["test", "serve"]
                .iter()
                .chain(arguments)
                .map(OsString::from)
                .collect(),
        };
        line.parse().unwrap().settings
    }

    #[test]
    fn secrets_are_not_shown() {
        let settings = with_secret(&["--token", "sesame"]);
        let mut out = Vec::new();
        settings.print(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "#token = \"…\"  # flag --token\n"
        );

        let path = std::env::temp_dir().join(format!("secret-{}.toml", std::process::id()));
        std::fs::write(&path, "token = \"open sesame\"").unwrap();
        let settings = with_secret(&["--config", path.to_str().unwrap()]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            settings.mistakes.to_string(),
            format!("{}:1: token: expected 6 characters", path.display())
        );
    }
}
