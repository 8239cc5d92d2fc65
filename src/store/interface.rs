//! The trait that every store implements.

use std::ops::RangeInclusive;
use std::sync::mpsc;

use super::completion::{Changes, Completion};
use super::encoding::Rows;
use super::error::StoreError;
use super::stored::{LastEnd, Stored};
use crate::shard::Change;
use crate::topic::Topic;

/// Durable storage with one record per topic. One thread calls it at a time, except for
/// [`load`](Self::load).
///
/// A store may be on another machine: it may report the result of a commit at any later time, and
/// it may refuse a commit, for example because another server owns the topics now
/// ([`StoreError::Fenced`]).
pub trait Store: Send + Sync {
    /// Returns how the previous server on this store ended.
    fn last_end(&self) -> LastEnd;

    /// Passes every topic whose point lies in `points` to `found`, in any order. If a topic is passed
    /// more than once, only the first time counts. Every topic has a point from 0 to 65,535, and each
    /// shard owns a range of points.
    ///
    /// # Errors
    ///
    /// Something cannot be read, or is not what was written. The topics found until then must not
    /// be used.
    fn load(
        &self,
        points: RangeInclusive<u16>,
        found: &mut dyn FnMut(Topic<'_>, Stored),
    ) -> Result<(), StoreError>;

    /// Prepares the store for commits, after the topics were loaded. From now on the store is one that
    /// did not end cleanly.
    ///
    /// # Errors
    ///
    /// This cannot be made durable.
    fn begin(&mut self) -> Result<(), StoreError>;

    /// Returns how many changes a commit should have at most. More are accepted.
    fn commit_limit(&self) -> usize {
        64 * 1024
    }

    /// Makes these changes durable, then reports the result through `completion`, now or later, from
    /// any thread. The caller changes a topic again only after the result. If the commit fails, each
    /// of its changes may have become durable or not, and no later commit may succeed.
    fn commit(&mut self, changes: Changes, completion: Completion);

    /// Makes these changes durable as [`commit`](Self::commit) does, and waits for the result.
    ///
    /// # Errors
    ///
    /// The error of the commit.
    fn commit_and_wait(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        let (sender, receiver) = mpsc::channel();
        let completion = Completion::new(move |result| {
            // The receiver exists until the result arrives.
            let _ = sender.send(result);
        });
        self.commit(changes.into(), completion);
        receiver.recv().unwrap_or(Err(StoreError::NoResult))
    }

    /// Called when there was nothing to commit for a while. The store may use the time.
    fn idle(&mut self) {}

    /// Returns how much the store keeps; `None` if it does not know now. It must not take long: it is
    /// called after each commit.
    fn size(&self) -> Option<StoreSize> {
        None
    }

    /// Returns whether a checkpoint would help the store now. A store that keeps no log needs none.
    fn checkpoint_due(&self) -> bool {
        false
    }

    /// Begins a checkpoint with one part for each of these ranges of points. Every earlier commit has
    /// its result. Returns `None` if the store needs no checkpoints, or is writing one already.
    ///
    /// # Errors
    ///
    /// The checkpoint cannot be written. The store works as before.
    fn begin_checkpoint(
        &mut self,
        parts: Vec<RangeInclusive<u16>>,
    ) -> Result<Option<Box<dyn Checkpoint>>, StoreError> {
        let _ = parts;
        Ok(None)
    }

    /// Returns whether exact sums are to be stored at the end, before [`finish`](Self::finish).
    fn settles(&self) -> bool {
        true
    }

    /// Marks a clean shutdown. There are no further commits, every commit has its result, and all
    /// stored sums are exact.
    ///
    /// # Errors
    ///
    /// The mark cannot be made durable.
    fn finish(&mut self) -> Result<(), StoreError>;
}

/// How much a store keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreSize {
    /// The bytes of log since the last checkpoint began: what a start would have to replay.
    pub log_bytes: u64,
    /// The bytes of log at which the next checkpoint is due.
    pub checkpoint_due_bytes: u64,
    /// The bytes of the last checkpoint.
    pub checkpoint_bytes: u64,
}

/// A copy of all topics that is being written, while the store goes on committing. Dropping it
/// without [`finish`](Self::finish) gives it up.
pub trait Checkpoint: Send + Sync {
    /// Appends topics with the records that the store has of them to a part. A topic is copied after
    /// the results of all commits that came before the checkpoint are known, once if it exists the
    /// whole time, and with its record at any moment of that time.
    ///
    /// # Errors
    ///
    /// The topics cannot be written. The store works as before.
    fn write(&self, part: usize, topics: &Rows) -> Result<(), StoreError>;

    /// Makes the checkpoint durable and valid, so that the store needs no older changes.
    ///
    /// # Errors
    ///
    /// It cannot be made durable. The store works as before.
    fn finish(self: Box<Self>) -> Result<(), StoreError>;
}
