//! A configuration file: TOML with one key for each setting, and no tables.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::expected;
use super::key::{self, Key};
use super::mistakes::Mistakes;
use super::source::Source;

/// The longest file that is read: a wrong path, such as a device, must not fill the memory.
const MAX_FILE: u64 = 1024 * 1024;

/// A valid line of a file.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) key: Key<'a>,
    /// The value as it would be written behind the flag.
    pub(super) value: String,
    pub(super) line: usize,
}

/// Reads a file. Returns the valid entries; everything else becomes a mistake.
pub(super) fn read<'a>(path: &Path, keys: &[Key<'a>], mistakes: &mut Mistakes) -> Vec<Entry<'a>> {
    match read_text(path, MAX_FILE) {
        Ok(text) => parse(&text, path, keys, mistakes),
        Err(error) => {
            mistakes.add(format!(
                "cannot read the configuration file {}: {error}",
                path.display()
            ));
            Vec::new()
        }
    }
}

/// Reads the text of a file of at most `max` bytes.
///
/// # Errors
///
/// It cannot be read, is no UTF-8, or is longer.
pub(in crate::cli) fn read_text(path: &Path, max: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > max {
        return Err(io::Error::other(format!("it is longer than {max} bytes")));
    }
    Ok(text)
}

fn parse<'a>(text: &str, path: &Path, keys: &[Key<'a>], mistakes: &mut Mistakes) -> Vec<Entry<'a>> {
    let at = |line| Source::File {
        path: path.to_owned(),
        line,
    };
    // In the order of the lines, whichever way they were found.
    let mut found: Vec<(usize, String)> = Vec::new();
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let line = line_of(text, error.span().unwrap_or_default());
        found.push((line, error.message().replace('\n', ", ")));
    }
    let broken: Vec<usize> = found.iter().map(|(line, _)| *line).collect();

    let mut entries = Vec::new();
    for (name, value) in table.get_ref() {
        let line = line_of(text, name.span());
        if broken.contains(&line) {
            continue; // what could be recovered of the line may not be what was meant
        }
        let name = name.get_ref();
        let Some(&key) = keys.iter().find(|key| key.name() == **name) else {
            found.push((line, unknown(name, value.get_ref(), keys)));
            continue;
        };
        match value_text(key, value.get_ref()) {
            Ok(value) => entries.push(Entry { key, value, line }),
            Err(wrong) => found.push((line, format!("{name}: {wrong}"))),
        }
    }
    found.sort();
    // What follows from the first error of a line is no help.
    found.dedup_by_key(|(line, _)| *line);
    for (line, text) in found {
        mistakes.add_at(&at(line), text);
    }
    entries
}

/// Returns the line on which a span begins, from 1.
fn line_of(text: &str, span: Range<usize>) -> usize {
    let before = text.as_bytes().iter().take(span.start);
    before.filter(|&&byte| byte == b'\n').count() + 1
}

fn unknown(name: &str, value: &DeValue<'_>, keys: &[Key<'_>]) -> String {
    let name = name.escape_debug();
    match (value, key::similar(&name.to_string(), keys)) {
        (DeValue::Table(_), _) => {
            format!("unknown table `{name}`; keys stand at the top, without tables")
        }
        (_, Some(similar)) => format!("unknown key `{name}`; did you mean `{similar}`?"),
        (_, None) => format!("unknown key `{name}`"),
    }
}

/// Returns the value as text that the argument's parser accepts, or what is wrong with it.
fn value_text(key: Key<'_>, value: &DeValue<'_>) -> Result<String, String> {
    let (text, shown) = match value {
        DeValue::String(text) => (text.to_string(), format!("\"{}\"", text.escape_debug())),
        DeValue::Boolean(value) => (value.to_string(), value.to_string()),
        DeValue::Integer(digits) => {
            let number = i128::from_str_radix(digits.as_str(), digits.radix());
            let number = number.map_or_else(|_| digits.to_string(), |number| number.to_string());
            (number.clone(), number)
        }
        DeValue::Array(values) if key.is_list() => {
            let texts: Option<Vec<String>> = values
                .iter()
                .map(|value| match value.get_ref() {
                    DeValue::String(text) => Some(text.to_string()),
                    _ => None,
                })
                .collect();
            let texts = texts.ok_or("expected a list of strings")?;
            // The first that is wrong is shown alone.
            for text in &texts {
                let shown = text.escape_debug();
                expected::check_value(key.arg, text)
                    .map_err(|expected| format!("{expected}, not \"{shown}\""))?;
            }
            return Ok(key.join(&texts));
        }
        other => {
            let kind = other.type_str();
            return Err(format!("expected a single value, not a TOML {kind}"));
        }
    };
    let result = match value {
        DeValue::Boolean(_) if key.is_switch() => Ok(()),
        _ if key.is_switch() => Err(expected::SWITCH.to_owned()),
        DeValue::String(_) => expected::check_value(key.arg, &text),
        _ if key.is_path() => Err("expected a path in quotes".to_owned()),
        _ => expected::check_value(key.arg, &text),
    };
    match result {
        Ok(()) => Ok(text),
        Err(expected) if key.is_secret() => Err(expected),
        Err(expected) => Err(format!("{expected}, not {shown}")),
    }
}
