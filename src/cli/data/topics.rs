//! The topics of a data directory, in memory.

use std::ops::RangeInclusive;

use anyhow::{Result, bail};
use globalcounter::protocol::{Op, Request};
use globalcounter::shard::{Ceilings, Change, Durability, Position, Shard, TopicQuota};
use globalcounter::store::{Skipped, Store, StoreError, Stored, load_shard, write_exact_sums};
use globalcounter::topic::Topic;

/// All points that a topic can have.
pub(super) const ALL: RangeInclusive<u16> = 0..=u16::MAX;

/// The topics of a data directory. They take as much memory as in a server.
#[derive(Debug)]
pub(super) struct Topics {
    shard: Shard<()>,
    skipped: Skipped,
}

impl Topics {
    /// Loads all topics. `load` passes each of them.
    pub(super) fn load(
        load: impl FnOnce(&mut dyn FnMut(Topic<'_>, Stored)) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        let ceilings = Ceilings {
            durability: Durability::Exact,
            ticks: || 0,
        };
        let mut shard = Shard::new(TopicQuota::new(usize::MAX), ceilings);
        let skipped = load_shard(&mut shard, load)?;
        Ok(Self { shard, skipped })
    }

    /// Returns the number of topics.
    pub(super) fn count(&self) -> usize {
        self.shard.topics()
    }

    /// Returns how much is skipped because the last server did not end cleanly.
    pub(super) fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// Passes each topic with its sum to `found`, until that fails.
    pub(super) fn for_each<E>(
        &self,
        mut found: impl FnMut(Topic<'_>, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut next = Some(Position::START);
        while let Some(from) = next {
            let mut result = Ok(());
            next = self.shard.copy(from, |topic, record| {
                if result.is_ok() {
                    result = found(topic, record.sum);
                }
            });
            result?;
        }
        Ok(())
    }

    /// Raises topics to these sums at least, and creates those that are missing, in one commit. No
    /// topic may be named twice. Returns how many were raised or created.
    pub(super) fn raise<'a>(
        &mut self,
        store: &mut dyn Store,
        sums: impl Iterator<Item = (Topic<'a>, u64)>,
    ) -> Result<usize> {
        for (topic, sum) in sums {
            let op = Op::Advance(sum);
            // The reply comes now, or once the change is durable.
            let _ = self.shard.apply(Request { op, topic }, || ());
        }
        let mut changes: Vec<Change> = Vec::new();
        self.shard.fetch(&mut changes);
        store.commit_and_wait(changes.clone())?;
        self.shard.answered(&changes, true, &mut Vec::new());
        if self.shard.fetch(&mut Vec::new()).is_some() {
            bail!("a topic needs a second change; this is a bug");
        }
        Ok(changes.len())
    }

    /// Writes a checkpoint with all topics.
    pub(super) fn write_checkpoint(&self, store: &mut dyn Store) -> Result<(), StoreError> {
        let Some(checkpoint) = store.begin_checkpoint(vec![ALL])? else {
            return Ok(());
        };
        write_exact_sums(&self.shard, &*checkpoint, 0)?;
        checkpoint.finish()
    }
}
