//! A store in memory, for tests and measurements. It outlives a server, but not the process.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use parking_lot::Mutex;

use super::completion::{Changes, Completion};
use super::error::StoreError;
use super::interface::Store;
use super::stored::{LastEnd, Stored};
use crate::shard::{Change, Record};
use crate::topic::{Topic, owner_point};

/// A store that keeps its records in memory; clones share them. A change is "durable" as soon as
/// [`commit`](Store::commit) gets it.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    records: HashMap<Vec<u8>, Record>,
    used: bool,
    clean: bool,
}

impl MemoryStore {
    /// Creates a store without topics.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns an independent copy of the store: what a server finds that starts after a power cut
    /// at this moment.
    #[must_use]
    pub fn copy(&self) -> Self {
        let State {
            records,
            used,
            clean,
        } = &*self.0.lock();
        Self(Arc::new(Mutex::new(State {
            records: records.clone(),
            used: *used,
            clean: *clean,
        })))
    }

    /// Applies changes directly.
    ///
    /// # Panics
    ///
    /// The previous ceiling that a change names is not the one in the store.
    pub fn apply(&self, changes: &[Change]) {
        for change in changes {
            let before = self.apply_one(change).map(|record| record.ceiling);
            assert_eq!(before, change.before(), "{change:?}");
        }
    }

    /// Applies changes directly and ignores the previous ceilings that they name: for a test store
    /// that loses changes.
    pub fn apply_unchecked(&self, changes: &[Change]) {
        for change in changes {
            self.apply_one(change);
        }
    }

    /// Applies a change and returns the topic's previous record.
    fn apply_one(&self, change: &Change) -> Option<Record> {
        let topic = change.topic().as_bytes();
        let records = &mut self.0.lock().records;
        match change.after() {
            Some(record) => records.insert(topic.to_owned(), record),
            None => records.remove(topic),
        }
    }
}

impl Store for MemoryStore {
    fn last_end(&self) -> LastEnd {
        let state = self.0.lock();
        match (state.used, state.clean) {
            (false, _) => LastEnd::New,
            (true, true) => LastEnd::Clean,
            (true, false) => LastEnd::Crash,
        }
    }

    fn load(
        &self,
        points: RangeInclusive<u16>,
        found: &mut dyn FnMut(Topic<'_>, Stored),
    ) -> Result<(), StoreError> {
        let state = self.0.lock();
        for (topic, record) in &state.records {
            if points.contains(&owner_point(topic)) {
                found(Topic::checked_before(topic), Stored::after_crash(*record));
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        let mut state = self.0.lock();
        (state.used, state.clean) = (true, false);
        // Skipped numbers are reported only once.
        for record in state.records.values_mut() {
            *record = Record::exact(record.ceiling);
        }
        Ok(())
    }

    fn commit(&mut self, changes: Changes, completion: Completion) {
        self.apply(&changes);
        completion.report(Ok(()));
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        self.0.lock().clean = true;
        Ok(())
    }
}
