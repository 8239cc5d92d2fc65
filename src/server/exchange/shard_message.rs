//! What other threads than the workers send to a shard: the store's, and those that watch the server.
//! The messages reach the shard in the order in which they were sent.

use super::commits::{CommitResult, CopyStep};
use super::origin::{LateReply, Shard};
use super::range_message::RangeMessage;
use super::visit::Visit;
use crate::topic::ShardId;

/// A message to a shard.
#[derive(Debug)]
pub(crate) enum ShardMessage {
    /// The result of a commit.
    Result(CommitResult),
    /// A step of a checkpoint.
    Copy(CopyStep),
    /// A look at the shard.
    Visit(Visit),
    /// A step of moving ranges.
    Range(RangeMessage),
}

impl ShardMessage {
    /// Returns the shard that the message is for.
    pub(crate) fn shard(&self) -> ShardId {
        match self {
            Self::Result(result) => result.shard,
            Self::Copy(step) => step.shard,
            Self::Visit(visit) => visit.shard,
            Self::Range(message) => message.shard,
        }
    }

    /// Delivers the message to its shard. Appends to `late` the replies to the requests that waited
    /// for it.
    pub(crate) fn apply_to(self, shard: &mut Shard, late: &mut Vec<LateReply>) {
        match self {
            Self::Result(result) => result.apply_to(shard, late),
            Self::Copy(step) => step.apply_to(shard),
            Self::Visit(visit) => visit.apply_to(shard),
            Self::Range(message) => message.step.apply_to(shard, late),
        }
    }
}
