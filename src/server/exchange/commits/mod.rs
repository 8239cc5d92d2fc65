//! Carries changes from the shards to the store's thread ([`ChangeQueue`]), and the results back
//! ([`CommitResult`]). Knows no store.

mod change_queue;
mod commit_result;

pub(crate) use change_queue::ChangeQueue;
pub(crate) use commit_result::CommitResult;
