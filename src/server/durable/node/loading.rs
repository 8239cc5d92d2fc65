//! Loads a range from etcd into the shards, while others are served.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};
use tokio::time::sleep;
use tracing::warn;

use super::steps::to_all_then;
use crate::cluster::{Epoch, Event, RangeId};
use crate::etcd::{Ceiling, Ceilings, Events};
use crate::measure::LogLimit;
use crate::server::cluster::Membership;
use crate::server::exchange::{RangeMessage, RangeStep, ShardMessage, Shared};
use crate::shard::LoadId;
use crate::topic::{ShardId, TOPIC_LEN_LIMIT, Topic};

/// How many topics a shard takes in one step. Nobody else can use the shard meanwhile.
const STEP_TOPICS: usize = 1_000;

/// How much longer than [`Membership::forward_timeout`] a request may be outside of the shards. Workers
/// give up those that take longer, so it never passes as far as we know.
const OUTSIDE_TIME: Duration = Duration::from_secs(2);

/// How often to look whether requests are outside of the shards.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

static FAILED: LogLimit = LogLimit::new();

/// A range that is being loaded.
pub(super) struct Loading {
    pub(super) shared: Arc<Shared>,
    pub(super) membership: Arc<Membership>,
    pub(super) events: Events,
    pub(super) ceilings: Ceilings,
    /// Limits how many ranges are read at a time.
    pub(super) reads: Arc<Semaphore>,
    pub(super) range: RangeId,
    pub(super) epoch: Epoch,
    pub(super) id: LoadId,
    /// Told when all shards hold requests for the range.
    pub(super) begun: oneshot::Receiver<()>,
    /// Counts this range as long as it is being loaded.
    pub(super) moving: Arc<AtomicUsize>,
}

/// Loads a range.
pub(super) async fn load(loading: Loading) {
    let begun = Instant::now();
    let Loading {
        shared,
        membership,
        events,
        ceilings,
        reads,
        range,
        epoch,
        id,
        begun: has_begun,
        moving,
    } = loading;
    let read = {
        // It is never closed.
        let _permit = reads.acquire().await;
        ceilings.load(range, epoch).await
    };
    let topics = match read {
        Ok(Some(topics)) => topics,
        failed => {
            if let Err(error) = failed
                && let Some(times) = FAILED.count()
            {
                warn!(%range, %error, times, "cannot load a range of topics");
            }
            moving.fetch_sub(1, Ordering::AcqRel);
            membership.ranges.load_failed();
            events.send(Event::RangeFailed(range, epoch));
            return;
        }
    };
    restore(&shared, range, id, topics);
    // It is sent, or the server has ended.
    let _ = has_begun.await;
    wait_for_requests_outside(&membership, range).await;
    to_all_then(
        &shared,
        |done| RangeStep::Serve(range, id, done),
        move || {
            moving.fetch_sub(1, Ordering::AcqRel);
            membership.ranges.loaded(range, epoch, begun.elapsed());
            events.send(Event::Loaded(range, epoch));
        },
    );
}

/// Waits until no request for a range is outside of the shards, all of which hold requests for it. Then
/// those that they hold are all that were read before, and they are applied in this order.
async fn wait_for_requests_outside(membership: &Membership, range: RangeId) {
    let limit = Instant::now() + membership.forward_timeout + OUTSIDE_TIME;
    while !membership.outside.is_empty(range) {
        if Instant::now() > limit {
            warn!(
                %range,
                "serving a range although requests for it may still be at another node: these may be \
                 applied after later ones of the same connections"
            );
            return;
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Sends topics to the shards that own them.
fn restore(shared: &Shared, range: RangeId, id: LoadId, topics: Vec<(String, Ceiling)>) {
    let shards = shared.shards();
    let mut parts: Vec<Vec<_>> = shards.ids().map(|_| Vec::new()).collect();
    let send = |shard: ShardId, part: Vec<(Box<[u8]>, u64)>| {
        let step = RangeStep::Restore(range, id, part);
        shared.deliver(ShardMessage::Range(RangeMessage { shard, step }));
    };
    for (name, Ceiling { ceiling, .. }) in topics {
        let name = name.into_bytes().into_boxed_slice();
        let Ok(topic) = Topic::new(&name, TOPIC_LEN_LIMIT) else {
            warn!(%range, "left out a topic that is longer than any server allows");
            continue;
        };
        let shard = shards.owner(topic);
        let part = &mut parts[shard.index()];
        part.push((name, ceiling));
        if part.len() == STEP_TOPICS {
            send(shard, mem::take(part));
        }
    }
    for (shard, part) in shards.ids().zip(parts) {
        if !part.is_empty() {
            send(shard, part);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;
    use crate::topic::Shards;

    #[tokio::test]
    async fn a_range_waits_until_no_request_for_it_is_outside_of_the_shards() {
        let membership = Membership::for_tests(Shards::ONE, 2);
        let [range, other] = [0, 1].map(|number| RangeId::new(number, 2).expect("a range"));
        let shard = ShardId::new(0);
        membership.outside.of_shard(shard).out(range);
        wait_for_requests_outside(&membership, other).await;
        let mut waits = std::pin::pin!(wait_for_requests_outside(&membership, range));
        let early = std::future::poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx))).await;
        assert!(early.is_pending());
        membership.outside.of_worker(shard).done(range);
        waits.await;
    }
}
