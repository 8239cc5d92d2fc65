//! The commands for a data directory that no server uses: list, export and import its topics.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, BufRead, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use globalcounter::shard::{Change, Record};
use globalcounter::store::{FjallStore, Skipped, Store};
use globalcounter::topic::{TOPIC_LEN_LIMIT, Topic};
use serde::{Deserialize, Serialize};

use super::data_dir;

/// How many topics one commit imports.
const IMPORT_TOPICS: usize = 16 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the topics of a data directory, one a line (sum, topic), unordered
    Topics {
        #[command(flatten)]
        directory: Directory,
        /// List only topics that begin with this text
        #[arg(long, value_name = "TEXT", default_value = "")]
        prefix: String,
        /// Print one JSON object per line, in the format of export
        #[arg(long)]
        json: bool,
    },
    /// Write all topics of a data directory to standard output, one JSON object per line
    Export {
        #[command(flatten)]
        directory: Directory,
    },
    /// Import the output of export from standard input into a data directory; never lower a sum
    Import {
        #[command(flatten)]
        directory: Directory,
    },
}

#[derive(Debug, Args)]
pub(super) struct Directory {
    /// The data directory; no server may be using it [default: globalcounter in the user's state
    /// directory]
    #[arg(long, value_name = "DIR", env = "GLOBALCOUNTER_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

/// One line of JSON: a topic and its sum.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    topic: Cow<'a, str>,
    sum: u64,
}

/// Runs the command.
///
/// # Errors
///
/// The data directory cannot be opened or read, an input line is not a topic, or standard input or
/// output fails.
pub(super) fn run(command: &Command) -> Result<()> {
    let (Command::Topics { directory, .. }
    | Command::Export { directory }
    | Command::Import { directory }) = command;
    let path = match &directory.data_dir {
        Some(directory) => directory.clone(),
        None => data_dir::default_dir()?,
    };
    let result = data_dir::exit_if_damaged(&path, || match command {
        Command::Topics { prefix, json, .. } => list(&path, prefix, *json),
        Command::Export { .. } => list(&path, "", true),
        Command::Import { .. } => import(&path),
    });
    match result {
        // The reader has seen enough: `globalcounter topics | head`.
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
        // Escaped, so that a topic with a line break still takes one line.
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
            "the last server on this directory did not shut down cleanly: {topics} topics skip at \
             most {numbers} numbers that it may not have handed out"
        );
    }
    store.begin()?;
    let mut imported = Imported::default();
    let read = import_lines(io::stdin().lock(), &mut store, &mut imported);
    // Finish even after a bad line: the lines before it stay imported. If the store failed, its
    // error is in `read` and is returned first.
    let finished = store.finish();
    let Imported { raised, lines } = imported;
    eprintln!("{raised} topics added or raised, {lines} lines read");
    read?;
    Ok(finished?)
}

/// What an import has done so far.
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

/// Returns the topic and the sum of a line; `None` if the line is empty.
fn parse_line(line: io::Result<String>, number: usize) -> Result<Option<(String, u64)>> {
    let line = line.context("cannot read standard input")?;
    if line.trim().is_empty() {
        return Ok(None);
    }
    let Line { topic, sum } =
        serde_json::from_str(&line).with_context(|| format!("line {number} is not a topic"))?;
    ensure!(
        topic.len() <= TOPIC_LEN_LIMIT,
        "the topic in line {number} is {} bytes long, at most {TOPIC_LEN_LIMIT} are allowed",
        topic.len()
    );
    Ok(Some((topic.into_owned(), sum)))
}

/// Adds the topics that are not in the store and raises those that are lower there; returns how
/// many.
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
