//! A store whose commits a test controls.

use std::ops::RangeInclusive;

use globalcounter::store::{Changes, Completion, LastEnd, MemoryStore, Store, StoreError, Stored};
use globalcounter::topic::Topic;

/// A [`MemoryStore`] whose commits are carried out by a function, which may delay, refuse or lose
/// them.
pub(crate) struct ScriptedStore<F> {
    store: MemoryStore,
    commit: F,
}

impl<F> ScriptedStore<F>
where
    F: FnMut(&MemoryStore, Changes, Completion) + Send + Sync,
{
    pub(crate) fn new(store: MemoryStore, commit: F) -> Self {
        Self { store, commit }
    }
}

impl<F> Store for ScriptedStore<F>
where
    F: FnMut(&MemoryStore, Changes, Completion) + Send + Sync,
{
    fn last_end(&self) -> LastEnd {
        self.store.last_end()
    }

    fn load(
        &self,
        points: RangeInclusive<u16>,
        found: &mut dyn FnMut(Topic<'_>, Stored),
    ) -> Result<(), StoreError> {
        self.store.load(points, found)
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        self.store.begin()
    }

    fn commit(&mut self, changes: Changes, completion: Completion) {
        (self.commit)(&self.store, changes, completion);
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        self.store.finish()
    }
}
