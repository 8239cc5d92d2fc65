//! The sizes that a store works with.

use crate::store::log::SegmentSize;

/// The sizes that a store works with. Tests use small ones.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Options {
    /// The length of the log's segments.
    pub(in crate::store) segment: SegmentSize,
    /// A checkpoint is due when the log has grown by this many bytes since the last one began, and
    /// by half of the last one's length. So the log is read fast at the next start, and a small
    /// store does not write checkpoints all the time.
    pub(in crate::store) checkpoint_log: u64,
    /// Whether segments are created ahead of need, on a thread of their own.
    pub(in crate::store) ahead: bool,
}

impl Options {
    pub(in crate::store) const DEFAULT: Self = Self {
        segment: SegmentSize::DEFAULT,
        checkpoint_log: 32 * 1024 * 1024,
        ahead: true,
    };

    /// Returns after how much log the next checkpoint is due.
    pub(super) fn checkpoint_after(self, last_checkpoint: u64) -> u64 {
        self.checkpoint_log.max(last_checkpoint / 2)
    }

    /// Returns how many free segments to keep: as many as the log takes between two checkpoints.
    pub(super) fn free_segments(self, last_checkpoint: u64) -> usize {
        let log = self.checkpoint_after(last_checkpoint);
        log.div_ceil(self.segment.bytes() as u64) as usize + 1
    }
}
