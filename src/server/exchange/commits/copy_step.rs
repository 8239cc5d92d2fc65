//! A step of copying the topics of a shard to a checkpoint, on its way to the shard and back.

use crossbeam_channel::Sender;

use crate::server::exchange::origin::Shard;
use crate::shard::Position;
use crate::store::Rows;
use crate::topic::ShardId;

/// A step of copying the topics of a shard. It reaches the shard behind the results of all commits
/// that were reported before.
#[derive(Debug)]
pub(crate) struct CopyStep {
    pub(crate) shard: ShardId,
    /// Where the step begins; afterwards where the next one begins, or `None` if all topics were
    /// copied.
    pub(crate) next: Option<Position>,
    /// The topics that were copied.
    pub(crate) topics: Rows,
    /// Where the step goes afterwards. If it is dropped instead, the server stops.
    pub(crate) done: Sender<CopyStep>,
}

impl CopyStep {
    /// Makes the step, and sends it back.
    pub(in crate::server::exchange) fn apply_to(mut self, shard: &Shard) {
        if let Some(from) = self.next {
            let topics = &mut self.topics;
            self.next = shard.copy(from, |topic, record| topics.push(topic, Some(record)));
        }
        let done = self.done.clone();
        // If nobody waits for it, the checkpoint was given up.
        let _ = done.send(self);
    }
}
