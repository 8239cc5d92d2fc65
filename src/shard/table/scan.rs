//! Scanning a table in the order of positions, a step at a time.
//!
//! A step examines whole segments, since the rows of a segment are unordered, and picks the topics
//! that come next. Only the position is remembered between steps.

use std::hash::BuildHasher;

use super::map::Table;
use super::names;
use super::segment::Row;
use crate::shard::position::Position;
use crate::topic::Topic;

/// A step examines no further segment after this many rows, since nobody else can use the shard
/// meanwhile. One segment of a table of a million topics takes some 30 µs; two segments take 110 to
/// 150 µs including the report of their 1,000 topics (`cargo bench --bench table -- scan`).
const STEP_ROWS: usize = 2_048;

/// The most segments that a step examines. This limit counts if most topics were deleted, so that
/// segments have few rows: 64 segments have 64 KiB of tags to look through.
const STEP_SEGMENTS: usize = 64;

/// A row that a step may report, with the position of its topic.
type Candidate<'a> = (Position, &'a Row);

impl<V: From<u64> + Into<u64>, S: BuildHasher> Table<V, S> {
    /// Passes the topics of one segment, with their values, to `found`: those from `from` on,
    /// unordered. Returns the position for the next step, as [`scan`](Self::scan) does.
    pub(in crate::shard) fn visit(
        &self,
        from: Position,
        mut found: impl FnMut(Topic<'_>, V),
    ) -> Option<Position> {
        let segment = self.segment(from);
        let depth = self.depth_of(segment);
        // The usual case: all rows of the segment come at or after `from`.
        let whole = from.starts_prefix(depth);
        for row in self.rows(segment) {
            if whole || Position::of(self.hash_of(row)) >= from {
                found(self.topic(row), names::value(row).into());
            }
        }
        from.after_prefix(depth)
    }

    /// Makes one step of a scan: see `Shard::scan`.
    pub(in crate::shard) fn scan(
        &self,
        mut from: Position,
        count: usize,
        mut bytes: usize,
        mut found: impl FnMut(Topic<'_>),
    ) -> Option<Position> {
        let mut count = count.max(1);
        let mut rows = 0;
        for _ in 0..STEP_SEGMENTS {
            let segment = self.segment(from);
            // Compute all hashes first, as in `Table::take_rows`.
            let mut candidates: Vec<Candidate<'_>> = self
                .rows(segment)
                .map(|row| (Position::of(self.hash_of(row)), row))
                .collect();
            rows += candidates.len();
            candidates.retain(|&(position, _)| position >= from);
            let mut next = from.after_prefix(self.depth_of(segment));
            if let Some(last) = keep_first(&mut candidates, count) {
                next = last.next();
            }
            let mut ties = candidates
                .chunk_by(|one, other| one.0 == other.0)
                .peekable();
            while let Some(tied) = ties.next() {
                for &(_, row) in tied {
                    let topic = self.topic(row);
                    found(topic);
                    count = count.saturating_sub(1);
                    bytes = bytes.saturating_sub(topic.as_bytes().len());
                }
                if count == 0 || bytes == 0 {
                    return ties.peek().map_or(next, |rest| Some(rest[0].0));
                }
            }
            from = next?;
            if rows >= STEP_ROWS {
                break;
            }
        }
        Some(from)
    }
}

/// Keeps the first `count` (at least 1) candidates by position and those that share the last one's
/// position, and sorts them. Returns the last position if it dropped any candidate.
fn keep_first(candidates: &mut Vec<Candidate<'_>>, count: usize) -> Option<Position> {
    let before = candidates.len();
    let mut last = None;
    if count < before {
        let (_, &mut (position, _), _) =
            candidates.select_nth_unstable_by_key(count - 1, |&(position, _)| position);
        candidates.retain(|&(other, _)| other <= position);
        last = Some(position);
    }
    candidates.sort_unstable_by_key(|&(position, _)| position);
    last.filter(|_| candidates.len() < before)
}
