//! The store's result for the changes of one shard, on its way to that shard.

use std::ops::Range;

use super::origin::{LateReply, Shard};
use crate::store::Changes;
use crate::topic::ShardId;

/// What the store made of a shard's changes.
#[derive(Debug)]
pub(crate) struct CommitResult {
    pub(crate) shard: ShardId,
    /// A whole commit, and which of it are the shard's.
    pub(crate) changes: Changes,
    pub(crate) range: Range<usize>,
    /// Whether they are durable; if not, nothing is any more.
    pub(crate) durable: bool,
}

impl CommitResult {
    /// Has the shard hear it. `late` gets the replies to those who waited.
    pub(crate) fn apply_to(self, shard: &mut Shard, late: &mut Vec<LateReply>) {
        shard.answered(&self.changes[self.range], self.durable, late);
    }
}
