//! The store's result for the changes of one shard, on its way to that shard.

use std::ops::Range;

use crate::server::exchange::origin::{LateReply, Shard};
use crate::store::Changes;
use crate::topic::ShardId;

/// The result of a commit, for one of the shards whose changes it contained.
#[derive(Debug)]
pub(crate) struct CommitResult {
    pub(crate) shard: ShardId,
    /// All changes of the commit.
    pub(crate) changes: Changes,
    /// Which of `changes` are the shard's.
    pub(crate) range: Range<usize>,
    /// Whether the changes are durable. If not, the store has failed and makes nothing durable any
    /// more.
    pub(crate) durable: bool,
}

impl CommitResult {
    /// Reports the result to the shard. Appends to `late` the replies to the requests that waited
    /// for it.
    pub(crate) fn apply_to(self, shard: &mut Shard, late: &mut Vec<LateReply>) {
        shard.answered(&self.changes[self.range], self.durable, late);
    }
}
