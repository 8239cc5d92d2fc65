//! What shards want made durable, on its way to the store's thread ([`ChangeQueue`]), and the results on
//! their way back ([`CommitResult`]). Knows no store.

mod change_queue;
mod commit_result;

pub(crate) use change_queue::ChangeQueue;
pub(crate) use commit_result::CommitResult;
