//! Loads a range from etcd into the shards, while others are served.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::Semaphore;
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
    /// Counts this range as long as it is being loaded.
    pub(super) moving: Arc<AtomicUsize>,
}

/// Loads a range. All shards hold requests for it already.
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
