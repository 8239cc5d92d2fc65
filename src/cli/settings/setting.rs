//! Settings with their values, and how `--check` prints them.

use std::cmp::Ordering;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use super::mistakes::Mistakes;
use super::source::Source;

/// One setting.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Setting {
    /// The key in a file.
    pub(in crate::cli) key: String,
    /// The value as it would be written behind the flag; `None` if the command chooses it.
    pub(in crate::cli) value: Option<String>,
    pub(in crate::cli) source: Source,
    /// The setting with precedence because of which this one is not used.
    pub(in crate::cli) overruled_by: Option<&'static str>,
    pub(super) secret: bool,
    /// Whether it is text in a file: it needs quotes, even if it looks like a number.
    pub(super) is_text: bool,
}

impl Setting {
    /// Returns the setting's name as its source writes it.
    pub(in crate::cli) fn name(&self) -> &str {
        match &self.source {
            Source::Environment(name) | Source::Flag(name) => name,
            Source::Default | Source::File { .. } => &self.key,
        }
    }

    /// Returns the value as it stands in a file.
    fn toml_value(&self) -> Option<String> {
        let value = self.value.as_ref()?;
        if self.secret {
            return Some("\"…\"".to_owned());
        }
        let bare = value.parse::<bool>().is_ok()
            || value
                .parse::<i64>()
                .is_ok_and(|number| number.to_string() == *value);
        Some(if bare && !self.is_text {
            value.clone()
        } else {
            quoted(value)
        })
    }
}

/// Returns a TOML string.
pub(in crate::cli) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted += &format!("\\u{:04x}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// All settings of a command.
#[derive(Debug, Default)]
pub(in crate::cli) struct Settings {
    /// The configuration file, if one is used.
    pub(in crate::cli) file: Option<PathBuf>,
    pub(in crate::cli) all: Vec<Setting>,
    /// The mistakes of the file and of the environment. The settings are those without them.
    pub(in crate::cli) mistakes: Mistakes,
}

impl Settings {
    /// Returns a setting by its key; `None` if the command has no such key.
    pub(in crate::cli) fn find(&self, key: &str) -> Option<&Setting> {
        self.all.iter().find(|setting| setting.key == key)
    }

    /// Notes the value that the command chose for a setting that has none.
    pub(in crate::cli) fn choose(&mut self, key: &str, value: impl fmt::Display) {
        let found = self.all.iter_mut().find(|setting| setting.key == key);
        if let Some(setting) = found
            && setting.value.is_none()
        {
            setting.value = Some(value.to_string());
        }
    }

    /// Notes that a setting is not used because of `by`.
    pub(in crate::cli) fn overrule(&mut self, key: &str, by: &'static str) {
        let found = self.all.iter_mut().find(|setting| setting.key == key);
        if let Some(setting) = found {
            setting.overruled_by = Some(by);
        }
    }

    /// Decides between a setting and others that contradict it, each with its value as text: of two
    /// layers, the later wins. Two of one layer are a mistake, because of what `key` does. Returns
    /// whether `key` is used.
    pub(in crate::cli) fn decide(
        &mut self,
        key: &'static str,
        does: &str,
        contradicted: &[(&'static str, &str)],
        mistakes: &mut Mistakes,
    ) -> bool {
        let Some(decided) = self.find(key).cloned() else {
            return true;
        };
        let (mut overruled_by, mut unused) = (None, Vec::new());
        for &(other_key, value) in contradicted {
            let Some(other) = self.find(other_key) else {
                continue;
            };
            match decided.source.layer().cmp(&other.source.layer()) {
                Ordering::Less => overruled_by = Some(other_key),
                Ordering::Greater => unused.push(other_key),
                Ordering::Equal => {
                    let (name, other) = (decided.name(), other.name());
                    let text =
                        format!("{name} {does}, so it cannot be combined with {other}{value}");
                    mistakes.add_at(&decided.source, text);
                }
            }
        }
        if let Some(by) = overruled_by {
            self.overrule(key, by);
            return false;
        }
        for other in unused {
            self.overrule(other, key);
        }
        true
    }

    /// Excludes settings that contradict `key`, each with its value as text, because of what `key` does.
    /// Those of an earlier layer are not used, all others are mistakes: `key` is never given up for them.
    #[cfg(feature = "cluster")]
    pub(in crate::cli) fn exclude(
        &mut self,
        key: &'static str,
        does: &str,
        contradicted: &[(&'static str, &str)],
        mistakes: &mut Mistakes,
    ) {
        let Some(decided) = self.find(key).cloned() else {
            return;
        };
        for &(other_key, value) in contradicted {
            let Some(other) = self.find(other_key) else {
                continue;
            };
            if decided.source.layer() > other.source.layer() {
                self.overrule(other_key, key);
                continue;
            }
            let (name, other_name) = (decided.name(), other.name());
            let text = format!("{name} {does}, so it cannot be combined with {other_name}{value}");
            mistakes.add_at(&other.source, text);
        }
    }

    /// Prints the settings in the format of a file, each with its source as a comment. A setting that
    /// is not used is a comment as a whole.
    pub(in crate::cli) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let lines: Vec<String> = self.all.iter().map(line).collect();
        let width = lines.iter().map(|line| line.chars().count()).max();
        let width = width.unwrap_or_default();
        for (setting, line) in self.all.iter().zip(lines) {
            write!(out, "{line:width$}  # {}", setting.source)?;
            match setting.overruled_by {
                Some(by) => writeln!(out, "; not used because of {by}")?,
                None => writeln!(out)?,
            }
        }
        Ok(())
    }
}

fn line(setting: &Setting) -> String {
    let key = &setting.key;
    match (setting.toml_value(), setting.overruled_by) {
        (Some(value), None) if !setting.secret => format!("{key} = {value}"),
        (Some(value), _) => format!("#{key} = {value}"),
        (None, _) => format!("#{key} ="),
    }
}
