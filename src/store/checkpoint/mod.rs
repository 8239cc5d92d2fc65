//! The files of checkpoints: topics in blocks, each with a checksum that depends on the blocks
//! before it. Knows no log.

mod block;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
mod reader;
mod writer;

use std::path::{Path, PathBuf};

pub(super) use reader::read_part;
pub(super) use writer::PartWriter;

/// Returns the path of a part of checkpoint `number`.
pub(super) fn part_path(directory: &Path, number: u64, part: usize) -> PathBuf {
    directory.join(format!("{number}.{part}"))
}

/// Returns the number of the checkpoint that a file belongs to; `None` if the file is not one of a
/// checkpoint.
pub(super) fn checkpoint_of(name: &str) -> Option<u64> {
    let (number, part) = name.split_once('.')?;
    part.parse::<usize>().ok()?;
    number.parse().ok()
}
