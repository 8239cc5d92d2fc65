//! Moves topics from a store into a shard, and from a shard into a checkpoint.

use std::mem;

use super::encoding::Rows;
use super::error::StoreError;
use super::interface::Checkpoint;
use super::stored::{Skipped, Stored};
use crate::shard::{Position, Record, Shard};
use crate::topic::Topic;

/// How many topics are restored together: a few times as many as a shard finds together.
const RESTORE_TOPICS: usize = 256;

/// Restores the topics that `load` passes to its argument into `shard`. Of a topic that is passed more
/// than once, only the first time counts. Returns how much the topics skip.
///
/// # Errors
///
/// The error of `load`. The topics of the shard must not be used then.
pub fn load_shard<W>(
    shard: &mut Shard<W>,
    load: impl FnOnce(&mut dyn FnMut(Topic<'_>, Stored)) -> Result<(), StoreError>,
) -> Result<Skipped, StoreError> {
    let mut loading = Loading {
        shard,
        names: Vec::new(),
        collected: Vec::with_capacity(RESTORE_TOPICS),
        skipped: Skipped::default(),
    };
    load(&mut |topic, stored| loading.add(topic, stored))?;
    loading.restore();
    Ok(loading.skipped)
}

/// Writes the exact sums of all topics of `shard` to a part of a checkpoint. No change of the shard may
/// be in flight.
///
/// # Errors
///
/// The topics cannot be written.
pub fn write_exact_sums<W>(
    shard: &Shard<W>,
    checkpoint: &dyn Checkpoint,
    part: usize,
) -> Result<(), StoreError> {
    let mut next = Some(Position::START);
    let mut topics = Rows::new();
    while let Some(from) = next {
        next = shard.copy(from, |topic, record| {
            topics.push(topic, Some(Record::exact(record.sum)));
        });
        checkpoint.write(part, &topics)?;
        topics.clear();
    }
    Ok(())
}

/// Topics on their way from a store into a shard. They are collected, because a shard restores many
/// topics faster than one at a time.
struct Loading<'a, W> {
    shard: &'a mut Shard<W>,
    /// The names of the collected topics, one after another.
    names: Vec<u8>,
    /// The end of each name, and what the store has of the topic.
    collected: Vec<(usize, Stored)>,
    skipped: Skipped,
}

impl<W> Loading<'_, W> {
    fn add(&mut self, topic: Topic<'_>, stored: Stored) {
        self.names.extend_from_slice(topic.as_bytes());
        self.collected.push((self.names.len(), stored));
        if self.collected.len() == RESTORE_TOPICS {
            self.restore();
        }
    }

    /// Restores the collected topics.
    fn restore(&mut self) {
        let Self {
            shard,
            names,
            collected,
            skipped,
        } = self;
        let mut start = 0;
        let restored: Vec<(Topic<'_>, u64)> = collected
            .iter()
            .map(|&(end, stored)| {
                let name = &names[mem::replace(&mut start, end)..end];
                (Topic::checked_before(name), stored.sum)
            })
            .collect();
        shard.restore_all(&restored, |i| skipped.add(collected[i].1));
        names.clear();
        collected.clear();
    }
}
