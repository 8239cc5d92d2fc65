//! A look at a shard by somebody who is no worker.

use std::fmt;

use super::origin::Shard;
use crate::topic::ShardId;

/// A look at a shard. It must be short: nobody else can use the shard meanwhile.
pub(crate) struct Visit {
    pub(super) shard: ShardId,
    look: Box<dyn FnOnce(&Shard) + Send>,
}

impl Visit {
    pub(crate) fn new(shard: ShardId, look: impl FnOnce(&Shard) + Send + 'static) -> Self {
        Self {
            shard,
            look: Box::new(look),
        }
    }

    pub(super) fn apply_to(self, shard: &Shard) {
        (self.look)(shard);
    }
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visit")
            .field("shard", &self.shard)
            .finish_non_exhaustive()
    }
}
