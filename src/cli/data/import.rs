//! Imports topics into a data directory.

use std::collections::HashMap;
use std::io::{self, BufRead};
use std::path::Path;

use anyhow::Result;
use globalcounter::store::{LogStore, Skipped, Store};
use globalcounter::topic::{TOPIC_LEN_LIMIT, Topic};

use super::topics::{ALL, Topics};
use crate::cli::line::Line;

/// How many topics one commit imports.
const IMPORT_TOPICS: usize = 16 * 1024;

/// Imports the lines of standard input.
pub(super) fn run(directory: &Path) -> Result<()> {
    let mut store = LogStore::open(directory, "importing")?;
    let topics = Topics::load(|found| store.load(ALL, found))?;
    let Skipped {
        topics: skipping,
        numbers,
    } = topics.skipped();
    if skipping > 0 {
        eprintln!(
            "the last server on this directory did not shut down cleanly: {skipping} topics skip at \
             most {numbers} numbers that it may not have handed out"
        );
    }
    store.begin()?;
    let mut import = Import {
        store,
        topics,
        batch: HashMap::new(),
        raised: 0,
        lines: 0,
    };
    let read = import.lines(io::stdin().lock());
    // Finish even after a bad line: the lines before it stay imported. If the store failed, its
    // error is in `read` and is returned first.
    let finished = import.finish();
    eprintln!(
        "{} topics added or raised, {} lines read",
        import.raised, import.lines
    );
    read?;
    Ok(finished?)
}

/// An import that is running.
struct Import {
    store: LogStore,
    topics: Topics,
    /// The topics of the next commit.
    batch: HashMap<String, u64>,
    raised: usize,
    lines: usize,
}

impl Import {
    fn lines(&mut self, input: impl BufRead) -> Result<()> {
        let mut read = Ok(());
        for line in input.lines() {
            match Line::parse(line, self.lines + 1, "standard input") {
                Ok(Some(Line { topic, sum, .. })) => {
                    let known = self.batch.entry(topic.into_owned()).or_default();
                    *known = sum.max(*known);
                }
                Ok(None) => {}
                Err(error) => {
                    read = Err(error);
                    break;
                }
            }
            self.lines += 1;
            if self.batch.len() == IMPORT_TOPICS {
                self.commit()?;
            }
        }
        self.commit()?;
        read
    }

    /// Adds the topics of the batch that are missing, and raises those whose sums are lower.
    fn commit(&mut self) -> Result<()> {
        let sums = self.batch.iter().map(|(name, &sum)| {
            Topic::new(name.as_bytes(), TOPIC_LEN_LIMIT).map(|topic| (topic, sum))
        });
        let sums: Vec<_> = sums.collect::<Result<_, _>>()?;
        self.raised += self.topics.raise(&mut self.store, sums.into_iter())?;
        self.batch.clear();
        if self.store.checkpoint_due() {
            self.topics.write_checkpoint(&mut self.store)?;
        }
        Ok(())
    }

    /// Marks the directory as one that ended cleanly. A checkpoint makes the next start faster, but
    /// the log has everything already.
    fn finish(&mut self) -> Result<(), globalcounter::store::StoreError> {
        if let Err(error) = self.topics.write_checkpoint(&mut self.store) {
            eprintln!("cannot write a checkpoint: {}", error.with_causes());
        }
        self.store.finish()
    }
}
