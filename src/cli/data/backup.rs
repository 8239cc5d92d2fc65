//! Copies a data directory to a new one, also while a server uses it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use globalcounter::store::{Contents, LogStore, Store, StoreError};

use super::topics::{ALL, Topics};

/// How often the directory is read again because the server has changed its files meanwhile.
const ATTEMPTS: usize = 20;

/// Copies the topics of `from` to the new directory `to`.
pub(super) fn run(from: &Path, to: &Path) -> Result<()> {
    let entries = std::fs::read_dir(to);
    ensure!(
        entries.is_err() || entries?.next().is_none(),
        "{} is not empty: name a new directory for the copy",
        to.display()
    );
    let topics = read(from)?;
    let mut store = LogStore::open(to, "writing a backup")?;
    store.begin()?;
    topics.write_checkpoint(&mut store)?;
    store.finish()?;
    eprintln!("{} topics copied", topics.count());
    Ok(())
}

/// Reads all topics. A server that writes a checkpoint meanwhile removes files that are being read;
/// then everything is read again.
fn read(directory: &Path) -> Result<Topics> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        match try_read(directory) {
            Ok(Some(topics)) => return Ok(topics),
            Ok(None) => {}
            Err(error @ StoreError::Damaged { .. }) => last = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    match last {
        Some(error) => Err(error.into()),
        None => Err(anyhow::anyhow!(
            "it changed {ATTEMPTS} times while it was read"
        )),
    }
    .with_context(|| format!("cannot copy {}", directory.display()))
}

/// Reads all topics; `None` if a server changed the directory meanwhile.
fn try_read(directory: &Path) -> Result<Option<Topics>, StoreError> {
    let contents = Contents::read(directory)?;
    let topics = Topics::load(|found| contents.load(ALL, found));
    match contents.is_current()? {
        true => topics.map(Some),
        false => Ok(None),
    }
}
