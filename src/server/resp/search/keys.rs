//! KEYS: searches all topics, part by part, and sends its reply in pieces, so that no other
//! connection waits for it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::scan::{may_read, names_limit};
use crate::access::Grant;
use crate::protocol::resp::{self, Version, Writer};
use crate::server::exchange::SearchPart;
use crate::topic::Shards;

/// How many topics a part looks at: as many rows as one step of a shard's scan examines at most,
/// some 110 to 150 µs of work.
pub(super) const PART_TOPICS: usize = 2 * 1024;

/// The most steps of comparing the names of one part with the pattern: some 2.5 ms in the worst
/// case, which takes names and a pattern that are made for it. A connection searches up to four
/// parts before the others have their turn.
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
    /// What the client may read; `None` for all topics.
    readable: Option<Arc<Grant>>,
    /// Where the search continues; `None` if it has ended.
    cursor: Option<u64>,
    /// The matching topics, encoded, in pieces of at least [`PIECE_LEN`] bytes except the last.
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
    pub(crate) fn new(pattern: &[u8], readable: Option<Arc<Grant>>) -> Self {
        Self {
            pattern: pattern.into(),
            readable,
            cursor: Some(0),
            found: VecDeque::new(),
            count: Some(0),
            len: 0,
        }
    }

    /// Returns the next part of the search, or `None` if the search has ended.
    pub(super) fn next_part(&self, shards: Shards) -> Option<SearchPart> {
        let bytes = names_limit(Some(&self.pattern), COMPARE_LIMIT);
        Some(SearchPart::new(self.cursor?, shards, PART_TOPICS, bytes))
    }

    /// Takes the matching topics of a part. Returns false if the reply gets too long.
    pub(super) fn collect(&mut self, part: &SearchPart) -> bool {
        self.cursor = Some(part.cursor()).filter(|&cursor| cursor != 0);
        for name in part.names() {
            if !may_read(self.readable.as_deref(), name) || !resp::glob(&self.pattern, name) {
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

    /// Returns the next piece of the reply; the search has ended.
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

    /// Returns whether the search has ended, so that the reply can be sent.
    pub(super) fn is_complete(&self) -> bool {
        self.cursor.is_none()
    }
}
