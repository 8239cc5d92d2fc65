//! Which segments of the log are in use, and which may be used again.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::record::SECTOR;

/// The length of a segment in bytes: a multiple of a sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct SegmentSize(usize);

impl SegmentSize {
    /// 8 MiB: large enough that a server which commits 10 MB/s changes segments about once a second;
    /// small enough to fill one with zeros when a directory is created.
    const MAX: usize = 8 * 1024 * 1024;

    /// A record with the longest topic has to fit.
    const MIN: usize = 128 * 1024;

    /// Returns the size for a new log of which about `log` bytes are kept: at least a few segments,
    /// so that old ones can be used again.
    pub(in crate::store) fn for_log_of(log: u64) -> Self {
        let quarter = usize::try_from(log / 4).unwrap_or(usize::MAX);
        Self(quarter.next_multiple_of(SECTOR).clamp(Self::MIN, Self::MAX))
    }

    /// Returns the size with this number of bytes; `None` if it is not valid.
    pub(in crate::store) fn of_bytes(bytes: usize) -> Option<Self> {
        (bytes > 0 && bytes.is_multiple_of(SECTOR)).then_some(Self(bytes))
    }

    /// Returns a size for tests.
    #[cfg(test)]
    pub(in crate::store) const fn of_sectors(sectors: usize) -> Self {
        Self(sectors * SECTOR)
    }

    pub(in crate::store) const fn bytes(self) -> usize {
        self.0
    }

    pub(super) const fn sectors(self) -> usize {
        self.0 / SECTOR
    }
}

/// The segments of a log. The writer takes free ones; a checkpoint that has become valid frees those
/// that are no longer needed.
#[derive(Debug)]
pub(in crate::store) struct Segments(Mutex<State>);

#[derive(Debug)]
struct State {
    /// The segments with records that a start may need, in the order of the records.
    live: VecDeque<u32>,
    free: Vec<u32>,
}

impl Segments {
    /// Creates the list of a log whose records are in `live`, in this order.
    pub(super) fn new(live: VecDeque<u32>, free: Vec<u32>) -> Self {
        Self(Mutex::new(State { live, free }))
    }

    /// Takes a free segment for the next records; `None` if there is none.
    pub(super) fn take_free(&self) -> Option<u32> {
        let state = &mut *self.0.lock();
        let segment = state.free.pop()?;
        state.live.push_back(segment);
        Some(segment)
    }

    /// Adds a new segment for the next records.
    pub(super) fn add_new(&self, segment: u32) {
        self.0.lock().live.push_back(segment);
    }

    /// Returns whether a segment is free.
    pub(super) fn has_free(&self) -> bool {
        !self.0.lock().free.is_empty()
    }

    /// Frees all segments whose records come before those of `segment`. No start needs them from now
    /// on: the manifest that says so is durable. Returns those that should be removed: all free
    /// segments but `keep`.
    pub(in crate::store) fn release_before(&self, segment: u32, keep: usize) -> Vec<u32> {
        let State { live, free } = &mut *self.0.lock();
        if live.contains(&segment) {
            while let Some(&first) = live.front()
                && first != segment
            {
                live.pop_front();
                free.push(first);
            }
        }
        free.split_off(keep.min(free.len()))
    }
}
