//! What the store's threads send to a shard. The messages reach it in the order in which they were
//! sent.

use super::commit_result::CommitResult;
use super::copy_step::CopyStep;
use crate::server::exchange::origin::{LateReply, Shard};
use crate::topic::ShardId;

/// A message from the store's threads to a shard.
#[derive(Debug)]
pub(crate) enum StoreMessage {
    /// The result of a commit.
    Result(CommitResult),
    /// A step of a checkpoint.
    Copy(CopyStep),
}

impl StoreMessage {
    /// Returns the shard that the message is for.
    pub(crate) fn shard(&self) -> ShardId {
        match self {
            Self::Result(result) => result.shard,
            Self::Copy(step) => step.shard,
        }
    }

    /// Delivers the message to its shard. Appends to `late` the replies to the requests that waited
    /// for it.
    pub(crate) fn apply_to(self, shard: &mut Shard, late: &mut Vec<LateReply>) {
        match self {
            Self::Result(result) => result.apply_to(shard, late),
            Self::Copy(step) => step.apply_to(shard),
        }
    }
}
