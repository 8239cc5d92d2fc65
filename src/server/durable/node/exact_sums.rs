//! Writes the exact sums of a range that leaves this node.

use tracing::warn;

use crate::cluster::{Epoch, Event, RangeId};
use crate::etcd::{Ceilings, Events};
use crate::measure::LogLimit;
use crate::shard::Change;
use crate::store::range_change;

static FAILED: LogLimit = LogLimit::new();

/// Writes the exact sums of a range, then reports that it is frozen, or that it failed.
pub(super) async fn write(
    ceilings: Ceilings,
    range: RangeId,
    epoch: Epoch,
    exact: Vec<Change>,
    events: Events,
) {
    let changes: Vec<_> = exact
        .iter()
        .map(|change| range_change(range, change))
        .collect();
    let mut rest = &changes[..];
    while !rest.is_empty() {
        let (fitting, others) = rest.split_at(Ceilings::fitting(rest));
        match ceilings.commit(&[(range, epoch)], fitting).await {
            Ok(Some(_)) => rest = others,
            failed => {
                if let Err(error) = failed
                    && let Some(times) = FAILED.count()
                {
                    warn!(%range, %error, times, "cannot write the exact sums of a range of topics");
                }
                events.send(Event::RangeFailed(range, epoch));
                return;
            }
        }
    }
    events.send(Event::Frozen(range, epoch));
}
