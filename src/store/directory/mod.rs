//! The files of a data directory beside the log and the checkpoints: its lock, the format file with
//! its id, and the manifest. Knows the files' names and texts, but reads no log and no checkpoint.

mod format;
mod lock;
mod manifest;
mod replace;

pub(super) use format::{Found, begin_new, existing_id, finish_new, read_format};
pub(super) use lock::DirectoryLock;
pub(super) use manifest::{Manifest, Part};
