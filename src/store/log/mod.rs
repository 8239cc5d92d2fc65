//! The log: one record for each commit, in segments that are filled with zeros ahead of use. Knows
//! nothing of checkpoints: it is told which records are no longer needed.

#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
mod place;
mod reader;
mod record;
mod segments;
mod spare;
mod writer;

pub(super) use place::Place;
pub(super) use reader::LogContents;
pub(super) use segments::{SegmentSize, Segments};
pub(super) use writer::LogWriter;
