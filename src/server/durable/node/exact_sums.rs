//! Writes the exact sums of a range that leaves this node.

use std::sync::Arc;

use tracing::warn;

use crate::cluster::{Epoch, Event, RangeId};
use crate::etcd::{Ceilings, Events};
use crate::measure::LogLimit;
use crate::server::cluster::Membership;
use crate::shard::Change;
use crate::store::range_change;

static FAILED: LogLimit = LogLimit::new();

/// The changes that make the sums of a range in etcd exact.
pub(super) struct ExactSums {
    pub(super) range: RangeId,
    pub(super) epoch: Epoch,
    pub(super) changes: Vec<Change>,
}

impl ExactSums {
    /// Writes them, then reports that the range is frozen, or that it failed.
    pub(super) async fn write(
        self,
        ceilings: Ceilings,
        membership: Arc<Membership>,
        events: Events,
    ) {
        let Self {
            range,
            epoch,
            changes,
        } = self;
        let changes: Vec<_> = changes
            .iter()
            .map(|change| range_change(range, change))
            .collect();
        for part in Ceilings::parts(&changes) {
            match ceilings.commit(&[(range, epoch)], part).await {
                Ok(Some(_)) => {}
                failed => {
                    if let Err(error) = failed
                        && let Some(times) = FAILED.count()
                    {
                        warn!(%range, %error, times, "cannot write the exact sums of a range of topics");
                    }
                    membership.ranges.commit_failed();
                    events.send(Event::RangeFailed(range, epoch));
                    return;
                }
            }
        }
        membership.ranges.frozen(range, epoch);
        events.send(Event::Frozen(range, epoch));
    }
}
