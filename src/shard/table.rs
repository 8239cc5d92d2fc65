//! A hash table from topics to what is kept of each. The hash is keyed anew at each start, so that
//! nobody can choose topics that collide.

use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::topic::Topic;

/// Topics and their values; the table owns the names.
#[derive(Debug)]
pub(super) struct Table<V> {
    rows: HashTable<Row<V>>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Row<V> {
    topic: Box<[u8]>,
    value: V,
}

impl<V> Table<V> {
    pub(super) fn new() -> Self {
        Self {
            rows: HashTable::new(),
            hasher: RandomState::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn find(&self, topic: Topic<'_>) -> Option<&V> {
        let topic = topic.as_bytes();
        self.rows
            .find(hash(&self.hasher, topic), |row| *row.topic == *topic)
            .map(|row| &row.value)
    }

    /// The topic's value, or the one that `new` makes for it.
    ///
    /// # Errors
    ///
    /// What `new` fails with; nothing is inserted then.
    pub(super) fn find_or_insert<E>(
        &mut self,
        topic: Topic<'_>,
        new: impl FnOnce() -> Result<V, E>,
    ) -> Result<&mut V, E> {
        let topic = topic.as_bytes();
        let Self { rows, hasher } = self;
        let entry = rows.entry(
            hash(hasher, topic),
            |row| *row.topic == *topic,
            |row| hash(hasher, &row.topic),
        );
        let row = match entry {
            Entry::Occupied(row) => row.into_mut(),
            Entry::Vacant(place) => {
                let value = new()?;
                let topic = topic.into();
                place.insert(Row { topic, value }).into_mut()
            }
        };
        Ok(&mut row.value)
    }

    pub(super) fn remove(&mut self, topic: Topic<'_>) -> Option<V> {
        let topic = topic.as_bytes();
        let row = self
            .rows
            .find_entry(hash(&self.hasher, topic), |row| *row.topic == *topic)
            .ok()?;
        Some(row.remove().0.value)
    }
}

fn hash(hasher: &RandomState, topic: &[u8]) -> u64 {
    hasher.hash_one(topic)
}
