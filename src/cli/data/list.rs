//! Lists the topics of a data directory.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::Result;
use globalcounter::store::{LogStore, Store};
use globalcounter::topic::Topic;

use super::topics::{ALL, Topics};
use crate::cli::line::Line;
use crate::json;

/// Prints the topics that begin with `prefix`.
pub(super) fn run(directory: &Path, prefix: &str, json: bool) -> Result<()> {
    let store = LogStore::open_existing(directory, "reading it")?;
    // Nothing is printed before everything was read and verified.
    let topics = Topics::load(|found| store.load(ALL, found))?;
    let mut out = BufWriter::new(io::stdout().lock());
    topics.for_each(
        |topic, sum| match topic.as_bytes().starts_with(prefix.as_bytes()) {
            true => write_topic(&mut out, topic, sum, json),
            false => Ok(()),
        },
    )?;
    out.flush()?;
    Ok(())
}

fn write_topic(out: &mut impl Write, topic: Topic<'_>, sum: u64, json: bool) -> io::Result<()> {
    let topic = String::from_utf8_lossy(topic.as_bytes());
    if json {
        let line = Line {
            topic,
            sum,
            ceiling: false,
        };
        writeln!(out, "{}", json::without_controls(&line)?)
    } else {
        // Escaped, so that a topic with a line break still takes one line.
        writeln!(out, "{sum}\t{}", topic.escape_debug())
    }
}
