//! CLUSTER COUNTKEYSINSLOT and GETKEYSINSLOT: search all topics of this node, part by part, for those of
//! one slot.

use std::sync::Arc;

use super::keys::PART_TOPICS;
use super::scan::{BYTES_LIMIT, may_read};
use crate::access::Grant;
use crate::cluster::Slot;
use crate::protocol::resp::{self, Version, Writer};
use crate::server::exchange::SearchPart;
use crate::topic::{Shards, Topic};

/// After this many bytes of names, GETKEYSINSLOT ends: it may return fewer topics than it was asked for.
const NAMES_LIMIT: usize = 64 * 1024;

/// A CLUSTER COUNTKEYSINSLOT or GETKEYSINSLOT.
#[derive(Debug)]
pub(crate) struct SlotKeys {
    slot: Slot,
    /// How many names to return; `None` to return only their number.
    max: Option<u64>,
    /// What the client may read; `None` for all topics.
    readable: Option<Arc<Grant>>,
    /// Where the search continues; `None` if it has ended.
    cursor: Option<u64>,
    /// The number of topics found.
    count: u64,
    /// Their names, encoded, if names are to be returned.
    names: Vec<u8>,
}

impl SlotKeys {
    /// Creates the search of a command; `None` if there is no such slot.
    pub(crate) fn new(keys: resp::SlotKeys, readable: Option<Arc<Grant>>) -> Option<Self> {
        Some(Self {
            slot: Slot::new(keys.slot)?,
            max: keys.max,
            readable,
            cursor: Some(0),
            count: 0,
            names: Vec::new(),
        })
    }

    /// Returns the next part of the search, or `None` if the search has ended.
    pub(super) fn next_part(&self, shards: Shards) -> Option<SearchPart> {
        Some(SearchPart::new(
            self.cursor?,
            shards,
            PART_TOPICS,
            BYTES_LIMIT,
        ))
    }

    /// Takes the topics of a part. Returns whether the search has ended.
    pub(super) fn collect(&mut self, part: &SearchPart) -> bool {
        self.cursor = Some(part.cursor()).filter(|&cursor| cursor != 0);
        for name in part.names() {
            if self.is_full() {
                break;
            }
            if Slot::of(Topic::checked_before(name)) != self.slot
                || !may_read(self.readable.as_deref(), name)
            {
                continue;
            }
            self.count += 1;
            if self.max.is_some() {
                // The same in both versions.
                Writer::new(Version::default(), &mut self.names).bulk(name);
            }
        }
        if self.is_full() {
            self.cursor = None;
        }
        self.cursor.is_none()
    }

    fn is_full(&self) -> bool {
        let has_all = self.max.is_some_and(|max| self.count >= max);
        has_all || self.names.len() >= NAMES_LIMIT
    }

    /// Returns the number of bytes collected.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Appends the reply; the search has ended.
    pub(super) fn encode_reply(&self, writer: &mut Writer<'_>) {
        match self.max {
            None => writer.integer(self.count),
            Some(_) => {
                // `NAMES_LIMIT` bounds the number.
                writer.array(self.count as usize);
                writer.encoded(&self.names);
            }
        }
    }
}
