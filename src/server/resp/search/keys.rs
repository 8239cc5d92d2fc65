//! KEYS: walks through all topics, stretch by stretch, and sends its reply in pieces, so that no other
//! connection waits for it.

use std::collections::VecDeque;

use super::scan::names_limit;
use crate::protocol::resp::{self, Version, Writer};
use crate::server::exchange::Walk;
use crate::topic::Shards;

/// How many topics a stretch looks at: as many rows as one step of a shard's scan examines at most,
/// some 110 to 150 µs of work.
const STRETCH_TOPICS: usize = 2 * 1024;

/// The most steps of comparing the names of one stretch with the pattern: some 2.5 ms in the worst
/// case, which takes names and a pattern that are made for it. A connection walks up to four stretches
/// before the others have their turn.
const COMPARE_LIMIT: usize = 1024 * 1024;

/// The longest reply, in bytes: a million names of 25 bytes.
const REPLY_LIMIT: usize = 32 * 1024 * 1024;

/// About how many bytes of the reply are appended at once.
const PIECE_LEN: usize = 64 * 1024;

/// The refusal of a KEYS whose reply would be longer than [`REPLY_LIMIT`].
pub(super) const TOO_LONG: &str = "ERR the reply would exceed 32 MiB: use SCAN";

/// A KEYS.
#[derive(Debug)]
pub(crate) struct Keys {
    pattern: Box<[u8]>,
    /// Where the walk continues; `None` if it has ended.
    cursor: Option<u64>,
    /// The matching topics, encoded, in pieces of at least [`PIECE_LEN`] bytes but for the last.
    found: VecDeque<Vec<u8>>,
    /// Their number; `None` once it is sent.
    count: Option<usize>,
    /// The length of `found`, in bytes.
    len: usize,
}

/// A piece of the reply.
#[derive(Debug)]
pub(super) struct Piece {
    /// The number of topics, in the first piece.
    count: Option<usize>,
    /// Topics, encoded.
    names: Vec<u8>,
    pub(super) is_last: bool,
}

impl Piece {
    /// Appends the piece.
    pub(super) fn encode(&self, writer: &mut Writer<'_>) {
        if let Some(count) = self.count {
            writer.array(count);
        }
        writer.encoded(&self.names);
    }
}

impl Keys {
    pub(crate) fn new(pattern: &[u8]) -> Self {
        Self {
            pattern: pattern.into(),
            cursor: Some(0),
            found: VecDeque::new(),
            count: Some(0),
            len: 0,
        }
    }

    /// Returns the stretch to walk next, or `None` if the walk has ended.
    pub(super) fn walk(&self, shards: Shards) -> Option<Walk> {
        let bytes = names_limit(Some(&self.pattern), COMPARE_LIMIT);
        Some(Walk::new(self.cursor?, shards, STRETCH_TOPICS, bytes))
    }

    /// Takes the matching topics of a stretch. Returns false if the reply gets too long.
    pub(super) fn collect(&mut self, walk: &Walk) -> bool {
        self.cursor = Some(walk.cursor()).filter(|&cursor| cursor != 0);
        for name in walk.names() {
            if !resp::glob(&self.pattern, name) {
                continue;
            }
            if self.found.back().is_none_or(|last| last.len() >= PIECE_LEN) {
                self.found.push_back(Vec::new());
            }
            let Some(piece) = self.found.back_mut() else {
                continue;
            };
            let before = piece.len();
            Writer::new(Version::default(), piece).bulk(name); // the same in both versions
            self.len += piece.len() - before;
            self.count = self.count.map(|count| count + 1);
        }
        self.len <= REPLY_LIMIT
    }

    /// Returns the next piece of the reply; the walk has ended.
    pub(super) fn next_piece(&mut self) -> Piece {
        let names = self.found.pop_front().unwrap_or_default();
        self.len -= names.len();
        Piece {
            count: self.count.take(),
            names,
            is_last: self.found.is_empty(),
        }
    }

    /// Returns the number of bytes collected and not appended yet.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the walk has ended, so that the reply can be sent.
    pub(super) fn is_complete(&self) -> bool {
        self.cursor.is_none()
    }
}
