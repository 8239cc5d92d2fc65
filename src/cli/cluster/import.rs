//! `globalcounter cluster import`: raises and creates topics while no node is live.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use globalcounter::cluster::{RangeId, Slot};
use globalcounter::etcd::{Ceiling, Offline, Operator};
use globalcounter::topic::{TOPIC_LEN_LIMIT, Topic};

use super::connection::ConnectionArguments;
use super::topics::STANDARD;
use crate::cli::figures::whole;
use crate::cli::line::Line;

/// How many topics are kept in memory at a time. etcd takes 126 in one transaction.
const BATCH: usize = 1_260;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    globalcounter cluster import --cluster etcd://10.0.0.1:2379 topics.jsonl\n  \
    globalcounter export --data-dir /var/lib/globalcounter | globalcounter cluster import -\n\n\
    The lines are those of `globalcounter export` and of `cluster export`. A cluster that does not exist \
    is created. While a node is live, it would not notice that a sum was raised: stop all nodes first. If \
    the import is interrupted, run it again.")]
pub(in crate::cli) struct Arguments {
    /// The file to read, or "-" for standard input
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    #[command(flatten)]
    connection: ConnectionArguments,
}

/// Imports the lines of a file.
///
/// # Errors
///
/// A node is live, etcd fails, or the file cannot be read or has a line that is no topic. The lines before
/// stay imported.
pub(super) async fn run(arguments: &Arguments) -> Result<()> {
    let path = &arguments.file;
    let (mut input, name): (Box<dyn BufRead>, _) = if path == Path::new(STANDARD) {
        (Box::new(io::stdin().lock()), "standard input".to_owned())
    } else {
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
        (Box::new(BufReader::new(file)), name)
    };
    let operator = Operator::open_or_create(arguments.connection.settings()?).await?;
    let mut import = Import {
        offline: operator.take_offline().await?,
        batch: BTreeMap::new(),
        raised: 0,
        lines: 0,
    };
    let read = import.lines(&mut input, &name).await;
    eprintln!(
        "{} topics added or raised, {} lines read",
        whole(import.raised as u64),
        whole(import.lines as u64)
    );
    read
}

/// An import that is running.
struct Import {
    offline: Offline,
    /// The topics that are changed next.
    batch: BTreeMap<(RangeId, String), Ceiling>,
    raised: usize,
    lines: usize,
}

impl Import {
    async fn lines(&mut self, input: &mut dyn BufRead, name: &str) -> Result<()> {
        let mut read = Ok(());
        for line in input.lines() {
            match Line::parse(line, self.lines + 1, name) {
                Ok(Some(line)) => self.add(line)?,
                Ok(None) => {}
                Err(error) => {
                    read = Err(error);
                    break;
                }
            }
            self.lines += 1;
            if self.batch.len() == BATCH {
                self.commit().await?;
            }
        }
        self.commit().await?;
        read
    }

    fn add(&mut self, line: Line<'_>) -> Result<()> {
        let topic = Topic::new(line.topic.as_bytes(), TOPIC_LEN_LIMIT)?;
        let range = Slot::of(topic).range(self.offline.ranges());
        let sum = Ceiling {
            ceiling: line.sum,
            exact: !line.ceiling,
        };
        let known = self.batch.entry((range, line.topic.into_owned()));
        let known = known.or_insert(sum);
        if known.ceiling < sum.ceiling {
            *known = sum;
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        self.raised += self.offline.raise(&self.batch).await?;
        self.batch.clear();
        Ok(())
    }
}
