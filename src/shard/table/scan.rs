//! Going through a table by position, a step at a time.
//!
//! A step looks at whole segments, since a segment's rows are in no order, and picks those that
//! come next. Nothing is remembered between steps but the position.

use std::hash::BuildHasher;

use super::Table;
use crate::shard::position::Position;
use crate::topic::Topic;

/// A step looks at no further segment once it looked at that many rows: nobody else reaches the
/// shard meanwhile. One segment of a million topics takes some 30 µs, two of them 110 to 150 with
/// their 1,000 topics reported (`cargo bench --bench table -- scan`).
const STEP_ROWS: usize = 2_048;

/// A step looks at no more segments than that, where topics are few since most were deleted: that
/// is 64 KiB of hashbrown's control bytes to look through.
const STEP_SEGMENTS: usize = 64;

/// A topic that a step may report.
type Candidate<'a> = (Position, &'a [u8]);

impl<V, S: BuildHasher> Table<V, S> {
    /// One step: see [`Shard::scan`](crate::shard::Shard::scan).
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
            let segment = &self.segments[self.segment(from)];
            // All hashes first, as in `Table::split`.
            let mut candidates: Vec<Candidate<'_>> = segment
                .rows
                .iter()
                .map(|row| (Position::of(row.hash(&self.hasher)), row.topic.as_bytes()))
                .collect();
            candidates.retain(|&(position, _)| position >= from);
            let mut next = from.after_prefix(segment.depth);
            if let Some(last) = keep_first(&mut candidates, count) {
                next = last.next();
            }
            let mut ties = candidates
                .chunk_by(|one, other| one.0 == other.0)
                .peekable();
            while let Some(tied) = ties.next() {
                for &(_, topic) in tied {
                    found(Topic::checked_before(topic));
                    count = count.saturating_sub(1);
                    bytes = bytes.saturating_sub(topic.len());
                }
                if count == 0 || bytes == 0 {
                    return ties.peek().map_or(next, |rest| Some(rest[0].0));
                }
            }
            rows += segment.rows.len();
            from = next?;
            if rows >= STEP_ROWS {
                break;
            }
        }
        Some(from)
    }
}

/// Keeps the first `count` (at least 1) by position, and those that share the last one's; sorts
/// them. Says what the last one's position is where it left any out.
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
