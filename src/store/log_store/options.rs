//! The sizes that a store works with.

use crate::store::log::SegmentSize;

/// The sizes that a store works with. Tests use small ones.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Options {
    /// The length of the segments of a new log.
    pub(in crate::store) segment: SegmentSize,
    /// A checkpoint is due when the log has grown by this many bytes since the last one began, and
    /// by half of the last one's length. So the log is read fast at the next start, and a small
    /// store does not write checkpoints all the time.
    pub(in crate::store) checkpoint_log: u64,
    /// Whether segments are created ahead of need, on a thread of their own.
    pub(in crate::store) ahead: bool,
}

impl Options {
    /// Returns the options of a store that begins a checkpoint after `checkpoint_log` bytes of log,
    /// or more if the last checkpoint was large.
    pub(super) fn with_checkpoint_log(checkpoint_log: u64) -> Self {
        Self {
            segment: SegmentSize::for_log_of(checkpoint_log),
            checkpoint_log,
            ahead: true,
        }
    }

    /// Returns after how much log the next checkpoint is due.
    pub(super) fn checkpoint_after(self, last_checkpoint: u64) -> u64 {
        self.checkpoint_log.max(last_checkpoint / 2)
    }

    /// Returns how many free segments to keep: as many as the log takes between two checkpoints.
    pub(super) fn free_segments(self, last_checkpoint: u64, segment: SegmentSize) -> usize {
        let log = self.checkpoint_after(last_checkpoint);
        log.div_ceil(segment.bytes() as u64) as usize + 1
    }
}
