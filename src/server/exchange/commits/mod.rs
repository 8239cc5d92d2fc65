//! Carries changes from the shards to the store's thread ([`ChangeQueue`]), and the results and the
//! steps of checkpoints back. Counts what the thread does. Knows no store.

mod change_queue;
mod commit_result;
mod copy_step;
mod counts;

pub(crate) use change_queue::{ChangeQueue, NextCommit, TakenChanges};
pub(crate) use commit_result::CommitResult;
pub(crate) use copy_step::CopyStep;
pub(crate) use counts::CommitCounts;
pub use counts::CommitSnapshot;
