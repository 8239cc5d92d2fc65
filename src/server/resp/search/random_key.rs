//! RANDOMKEY: searches from a random place to the first topic after it.

use std::hash::{BuildHasher, RandomState};

use crate::server::exchange::SearchPart;
use crate::shard::Position;
use crate::topic::Shards;

/// A RANDOMKEY.
#[derive(Debug)]
pub(crate) struct RandomKey {
    cursor: u64,
    /// Whether the search has started over from the first topic, after it had reached the last.
    wrapped: bool,
}

impl RandomKey {
    pub(crate) fn new(shards: Shards) -> Self {
        // The standard library seeds each of these hashers differently.
        let random = |n: u8| RandomState::new().hash_one(n);
        let shard = random(0) % u64::from(shards.count());
        // Topics are not equally dense everywhere, and neither are these.
        let position = Position::of(random(1));
        Self {
            cursor: shard << Position::BITS | position.number(),
            wrapped: false,
        }
    }

    /// Returns the next part of the search.
    pub(super) fn next_part(&self, shards: Shards) -> SearchPart {
        SearchPart::new(self.cursor, shards, 1, 1)
    }

    /// Continues after a part that found no topic. Returns false if there is none.
    pub(super) fn advance(&mut self, part: &SearchPart) -> bool {
        self.cursor = part.cursor();
        if self.cursor != 0 {
            return true;
        }
        !std::mem::replace(&mut self.wrapped, true)
    }
}
