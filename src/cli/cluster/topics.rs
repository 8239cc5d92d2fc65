//! `globalcounter cluster topics` and `export`: what etcd stores of each topic.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use globalcounter::etcd::{Operator, Overview, StoredTopic};
use serde::Serialize;

use super::connection::ConnectionArguments;
use crate::cli::figures::{printable, whole};
use crate::cli::line::Line;
use crate::json;

/// The name that stands for standard input or output.
pub(super) const STANDARD: &str = "-";

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    globalcounter cluster topics --cluster etcd://10.0.0.1:2379\n  \
    globalcounter cluster topics --json orders/\n\n\
    While nodes run, a sum in etcd is a ceiling: the topic's owner has handed out no larger number, but \
    maybe not all up to it. A range that was handed over has exact sums until it is counted on again. \
    Topics are in the order of ranges and names. An owner \"-\" is none.")]
pub(in crate::cli) struct ListArguments {
    /// List only topics that begin with this text
    #[arg(value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefix: String,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArguments,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    globalcounter cluster export --cluster etcd://10.0.0.1:2379 topics.jsonl\n  \
    globalcounter cluster export - | gzip > topics.gz\n\n\
    The lines are those of `globalcounter export`. One with \"ceiling\":true has a sum that was not \
    reached yet, maybe. All sums are those of one revision of etcd, also while nodes run, but numbers \
    above them are handed out meanwhile: to move a cluster, stop its nodes first.")]
pub(in crate::cli) struct ExportArguments {
    /// The file to write, or "-" for standard output
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    #[command(flatten)]
    connection: ConnectionArguments,
}

/// One line of the list in JSON.
#[derive(Debug, Serialize)]
struct ListLine<'a> {
    topic: &'a str,
    sum: u64,
    exact: bool,
    range: u16,
    owner: Option<&'a str>,
}

/// Lists topics.
///
/// # Errors
///
/// etcd fails, or standard output does.
pub(super) async fn list(arguments: &ListArguments) -> Result<()> {
    let operator = arguments.connection.open().await?;
    let overview = operator.overview().await?;
    let mut topics = operator.topics(&arguments.prefix);
    let mut out = BufWriter::new(io::stdout().lock());
    while let Some(page) = topics.next().await? {
        for stored in &page {
            write_topic(&mut out, stored, &overview, arguments.json)?;
        }
    }
    Ok(out.flush()?)
}

fn write_topic(
    out: &mut impl Write,
    stored: &StoredTopic,
    overview: &Overview,
    as_json: bool,
) -> io::Result<()> {
    let owner = overview.owner(stored.range).map(|node| node.name.as_str());
    let sum = stored.ceiling.ceiling;
    if as_json {
        let line = ListLine {
            topic: &stored.topic,
            sum,
            exact: stored.ceiling.exact,
            range: stored.range.number(),
            owner,
        };
        return writeln!(out, "{}", json::without_controls(&line)?);
    }
    let kind = match stored.ceiling.exact {
        true => "exact",
        false => "ceiling",
    };
    let owner = printable(owner.unwrap_or("-"));
    // Escaped, so that a topic with a line break still takes one line.
    let topic = stored.topic.escape_debug();
    writeln!(out, "{sum}\t{kind}\t{}\t{owner}\t{topic}", stored.range)
}

/// Exports all topics.
///
/// # Errors
///
/// etcd fails, or the file cannot be written.
pub(super) async fn export(arguments: &ExportArguments) -> Result<()> {
    let operator = arguments.connection.open().await?;
    if arguments.file == Path::new(STANDARD) {
        return write_all(&operator, &mut BufWriter::new(io::stdout().lock())).await;
    }
    // It gets its name when it is complete.
    let mut part = OsString::from(&arguments.file);
    part.push(".part");
    let part = PathBuf::from(part);
    let cannot = || format!("cannot write {}", part.display());
    let mut out = BufWriter::new(File::create(&part).with_context(cannot)?);
    write_all(&operator, &mut out).await?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error);
    file.and_then(|file| file.sync_all()).with_context(cannot)?;
    fs::rename(&part, &arguments.file)
        .with_context(|| format!("cannot rename {} to its name", part.display()))
}

async fn write_all(operator: &Operator, out: &mut impl Write) -> Result<()> {
    let mut topics = operator.topics("");
    let (mut exact, mut ceilings) = (0_u64, 0_u64);
    while let Some(page) = topics.next().await? {
        for StoredTopic { topic, ceiling, .. } in &page {
            let line = Line {
                topic: topic.into(),
                sum: ceiling.ceiling,
                ceiling: !ceiling.exact,
            };
            writeln!(out, "{}", json::without_controls(&line)?)?;
            match ceiling.exact {
                true => exact += 1,
                false => ceilings += 1,
            }
        }
    }
    out.flush()?;
    eprintln!(
        "{} topics written: {} exact sums, {} ceilings",
        whole(exact + ceilings),
        whole(exact),
        whole(ceilings)
    );
    Ok(())
}
