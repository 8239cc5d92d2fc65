//! What a server asks of a store.

use std::ops::RangeInclusive;
use std::sync::mpsc;

use super::answer::{Answer, Changes};
use super::error::StoreError;
use crate::shard::Change;
use crate::topic::Topic;

/// Keeps a record for each topic. One thread calls it at a time, except for [`load`](Self::load).
///
/// It need not be on this machine: a batch of changes may be acknowledged at any later time, and a
/// store may refuse, say since another server owns the topics now ([`StoreError::Fenced`]).
pub trait Store: Send + Sync {
    /// How the server ended that had it before.
    fn last_end(&self) -> LastEnd;

    /// Passes every topic to `found` whose owner's point lies in `points`, in any order. Points are
    /// the order in which topics are cut into shards, 0 to 65,535; every topic has one.
    ///
    /// # Errors
    ///
    /// Where something can't be read, or is not what was written. What was found until then is of no
    /// use.
    fn load(
        &self,
        points: RangeInclusive<u16>,
        found: &mut dyn FnMut(Topic<'_>, Stored),
    ) -> Result<(), StoreError>;

    /// From now on there will be changes; every point was loaded. A mark of a clean end is void.
    ///
    /// # Errors
    ///
    /// Where that can't be made durable, or what was loaded is not all that was written.
    fn begin(&mut self) -> Result<(), StoreError>;

    /// Makes these changes durable, all or none, then gives `answer`, now or later, from any thread.
    /// A topic is changed again only after that. Once it was answered with an error, no later change
    /// may succeed.
    fn commit(&mut self, changes: Changes, answer: Answer);

    /// The same, and waits for the answer.
    ///
    /// # Errors
    ///
    /// What it was answered.
    fn commit_and_wait(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        let (sender, answered) = mpsc::channel();
        let answer = Answer::new(move |result| {
            // This waits for it.
            let _ = sender.send(result);
        });
        self.commit(changes.into(), answer);
        answered.recv().unwrap_or(Err(StoreError::Unanswered))
    }

    /// There are no more changes, all are answered, and what is stored is exact: marks a clean end.
    ///
    /// # Errors
    ///
    /// Where that can't be made durable.
    fn finish(&mut self) -> Result<(), StoreError>;
}

/// A topic, as it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// It goes on above that.
    pub sum: u64,
    /// How many numbers up to `sum` were perhaps never handed out, because the last server did not
    /// end cleanly.
    pub skipped: u64,
}

/// How the server ended that had a store before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastEnd {
    /// There was none.
    New,
    /// In good order: every sum is exact.
    Clean,
    /// In some other way.
    Crash,
}
