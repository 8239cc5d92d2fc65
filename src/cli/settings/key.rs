//! The keys of a configuration file: the flags of a command, with underscores.

use std::any::TypeId;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command};

/// Arguments that choose the configuration or what to do with it. They are no part of it.
const NOT_KEYS: [&str; 2] = ["config", "check"];

/// How alike two keys must be for one to be suggested for the other; the threshold of clap.
const ALIKE: f64 = 0.7;

/// A setting as its argument declares it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) arg: &'a Arg,
    long: &'a str,
}

impl<'a> Key<'a> {
    /// Returns the keys of a command, in the order of its help.
    pub(super) fn all(command: &'a Command) -> impl Iterator<Item = Self> {
        command.get_arguments().filter_map(|arg| {
            let long = arg.get_long()?;
            (!NOT_KEYS.contains(&long)).then_some(Self { arg, long })
        })
    }

    /// Returns the identifier that clap uses.
    pub(super) fn id(self) -> &'a str {
        self.arg.get_id().as_str()
    }

    /// Returns the name in a file.
    pub(super) fn name(self) -> String {
        self.long.replace('-', "_")
    }

    /// Returns the flag.
    pub(super) fn flag(self) -> String {
        format!("--{}", self.long)
    }

    /// Returns the environment variable.
    pub(super) fn variable(self) -> Option<String> {
        let variable = self.arg.get_env()?;
        Some(variable.to_string_lossy().into_owned())
    }

    /// Returns whether it is on or off: a flag without a value, a boolean in a file.
    pub(super) fn is_switch(self) -> bool {
        matches!(self.arg.get_action(), ArgAction::SetTrue)
    }

    /// Returns whether it may have several values: a flag that can be repeated, a list in a file.
    pub(super) fn is_list(self) -> bool {
        matches!(self.arg.get_action(), ArgAction::Append)
    }

    /// Returns several values as one text.
    pub(super) fn join(self, values: &[String]) -> String {
        let delimiter = self.arg.get_value_delimiter().unwrap_or(' ');
        values.join(&delimiter.to_string())
    }

    /// Returns whether it is a path, which only a string can be.
    pub(super) fn is_path(self) -> bool {
        self.arg.get_value_parser().type_id() == TypeId::of::<PathBuf>()
    }

    /// Returns whether the value must not be shown.
    pub(super) fn is_secret(self) -> bool {
        self.arg.is_hide_env_values_set()
    }
}

/// Returns the key that `name` was probably meant to be.
pub(super) fn similar(name: &str, keys: &[Key<'_>]) -> Option<String> {
    let name = name.replace('-', "_").to_lowercase();
    let names = keys.iter().map(|key| key.name());
    let alike = names.map(|key| (strsim::jaro_winkler(&name, &key), key));
    let alike = alike.filter(|(alike, _)| *alike > ALIKE);
    alike
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, key)| key)
}
