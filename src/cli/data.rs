//! Data directories that no server has: listed, exported, imported.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, BufRead, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use globalcounter::shard::{Change, Record};
use globalcounter::store::{FjallStore, Skipped, Store};
use globalcounter::topic::{TOPIC_LEN_LIMIT, Topic};
use serde::{Deserialize, Serialize};

/// How many topics are imported in one commit.
const IMPORT_TOPICS: usize = 16 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List a data directory: a sum and a topic a line, in no order
    Topics {
        #[command(flatten)]
        directory: Directory,
        /// Only topics that begin with it
        #[arg(long, value_name = "TEXT", default_value = "")]
        prefix: String,
        /// One JSON object a line, as export writes them
        #[arg(long)]
        json: bool,
    },
    /// Write all topics of a data directory to standard output, a JSON object a line
    Export {
        #[command(flatten)]
        directory: Directory,
    },
    /// Read what export wrote from standard input into a data directory; no sum is ever lowered
    Import {
        #[command(flatten)]
        directory: Directory,
    },
}

#[derive(Debug, Args)]
pub(super) struct Directory {
    /// The data directory [default: globalcounter in the user's state directory]
    #[arg(long, value_name = "DIR", env = "GLOBALCOUNTER_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

/// A topic, as a line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    topic: Cow<'a, str>,
    sum: u64,
}

/// Where topics are kept unless told otherwise: where the service manager says, or in the user's
/// state directory.
///
/// # Errors
///
/// Where there is neither.
pub(super) fn default_dir() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    // systemd's StateDirectory=; several are separated by colons.
    if let Some(directories) = variable("STATE_DIRECTORY") {
        let mut directories = std::env::split_paths(&directories);
        let first = directories.find(|directory| !directory.as_os_str().is_empty());
        return first.context("STATE_DIRECTORY names no directory");
    }
    let state = match (variable("XDG_STATE_HOME"), variable("HOME")) {
        (Some(state), _) => PathBuf::from(state),
        (None, Some(home)) => PathBuf::from(home).join(".local/state"),
        (None, None) => bail!(
            "there is no HOME to keep topics in: say where with --data-dir, or --in-memory to keep \
             nothing"
        ),
    };
    Ok(state.join("globalcounter"))
}

/// Does what the command says.
///
/// # Errors
///
/// A data directory that can't be had, a line that is no topic, or standard input or output that
/// fails.
pub(super) fn run(command: &Command) -> Result<()> {
    let (Command::Topics { directory, .. }
    | Command::Export { directory }
    | Command::Import { directory }) = command;
    let path = match &directory.data_dir {
        Some(directory) => directory.clone(),
        None => default_dir()?,
    };
    let result = super::reading(&path, || match command {
        Command::Topics { prefix, json, .. } => list(&path, prefix, *json),
        Command::Export { .. } => list(&path, "", true),
        Command::Import { .. } => import(&path),
    });
    match result {
        // Whoever reads has read enough: `globalcounter topics | head`.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        result => result,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn list(directory: &Path, prefix: &str, json: bool) -> Result<()> {
    let store = FjallStore::open_existing(directory, "reading it")?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut written = Ok(());
    store.load(0..=u16::MAX, &mut |topic, stored| {
        if written.is_ok() && topic.as_bytes().starts_with(prefix.as_bytes()) {
            written = write_topic(&mut out, topic, stored.sum, json);
        }
    })?;
    written?;
    store.check_loaded()?;
    out.flush()?;
    Ok(())
}

fn write_topic(out: &mut impl Write, topic: Topic<'_>, sum: u64, json: bool) -> io::Result<()> {
    let topic = String::from_utf8_lossy(topic.as_bytes());
    if json {
        serde_json::to_writer(&mut *out, &Line { topic, sum })?;
        writeln!(out)
    } else {
        // A line stays a line, whatever the topic.
        writeln!(out, "{sum}\t{}", topic.escape_debug())
    }
}

fn import(directory: &Path) -> Result<()> {
    let mut store = FjallStore::open(directory, "importing")?;
    let mut skipped = Skipped::default();
    store.load(0..=u16::MAX, &mut |_, stored| skipped.add(stored))?;
    let Skipped { topics, numbers } = skipped;
    if topics > 0 {
        eprintln!(
            "the last server did not end cleanly: {topics} topics go on above numbers that it may \
             not have handed out, at most {numbers}"
        );
    }
    store.begin()?;
    let mut imported = Imported::default();
    let read = import_lines(io::stdin().lock(), &mut store, &mut imported);
    // Also after a line that is no topic: what was imported stays. A store that failed says why first.
    let finished = store.finish();
    let Imported { raised, lines } = imported;
    eprintln!("{raised} topics new or raised, {lines} lines read");
    read?;
    Ok(finished?)
}

/// What an import came to.
#[derive(Debug, Default)]
struct Imported {
    raised: usize,
    lines: usize,
}

fn import_lines(
    input: impl BufRead,
    store: &mut FjallStore,
    imported: &mut Imported,
) -> Result<()> {
    let mut batch: HashMap<String, u64> = HashMap::new();
    let mut read = Ok(());
    for line in input.lines() {
        match parse_line(line, imported.lines + 1) {
            Ok(Some((topic, sum))) => {
                let known = batch.entry(topic).or_default();
                *known = sum.max(*known);
            }
            Ok(None) => {}
            Err(error) => {
                read = Err(error);
                break;
            }
        }
        imported.lines += 1;
        if batch.len() == IMPORT_TOPICS {
            imported.raised += import_batch(store, &mut batch)?;
        }
    }
    imported.raised += import_batch(store, &mut batch)?;
    read
}

/// The topic and the sum of a line; `None` where it is empty.
fn parse_line(line: io::Result<String>, number: usize) -> Result<Option<(String, u64)>> {
    let line = line.context("reading standard input")?;
    if line.trim().is_empty() {
        return Ok(None);
    }
    let Line { topic, sum } =
        serde_json::from_str(&line).with_context(|| format!("line {number} is no topic"))?;
    ensure!(
        topic.len() <= TOPIC_LEN_LIMIT,
        "line {number} has a topic of {} bytes, at most {TOPIC_LEN_LIMIT} are allowed",
        topic.len()
    );
    Ok(Some((topic.into_owned(), sum)))
}

/// Raises the topics that are lower in the store, and enters those that are not there.
fn import_batch(store: &mut FjallStore, batch: &mut HashMap<String, u64>) -> Result<usize> {
    let mut changes = Vec::with_capacity(batch.len());
    for (name, sum) in batch.drain() {
        let topic = Topic::new(name.as_bytes(), TOPIC_LEN_LIMIT)?;
        let before = store.get(topic)?.map(|record| record.ceiling);
        if before.is_none_or(|before| before < sum) {
            changes.push(Change::new(topic, before, Some(Record::exact(sum))));
        }
    }
    let count = changes.len();
    store.commit_and_wait(changes)?;
    Ok(count)
}
