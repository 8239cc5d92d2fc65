//! The trait that every store implements.

use std::ops::RangeInclusive;
use std::sync::mpsc;

use super::completion::{Changes, Completion};
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

    /// Passes every topic whose point lies in `points` to `found`, in any order. Every topic has a
    /// point from 0 to 65,535, and each shard owns a range of points.
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

    /// Prepares the store for commits, after every point was loaded. Removes the mark of a clean
    /// shutdown.
    ///
    /// # Errors
    ///
    /// The removal of the mark cannot be made durable, or the loaded topics are not complete.
    fn begin(&mut self) -> Result<(), StoreError>;

    /// Makes these changes durable, all or none, then reports the result through `completion`, now
    /// or later, from any thread. The caller changes a topic again only after the result. Once a
    /// commit has failed, no later commit may succeed.
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

    /// Marks a clean shutdown. There are no further commits, every commit has its result, and all
    /// stored sums are exact.
    ///
    /// # Errors
    ///
    /// The mark cannot be made durable.
    fn finish(&mut self) -> Result<(), StoreError>;
}
