//! Steps of moving ranges of topics, on their way to a shard.

use std::fmt;
use std::time::Instant;

use super::origin::{LateReply, Origin, Shard};
use crate::cluster::RangeId;
use crate::shard::{LoadId, Parked, Position, Swept};
use crate::topic::{ShardId, Topic};

/// The most parts of a table that one step of a sweep visits. Nobody else can use the shard meanwhile.
const PARTS: usize = 4;

/// A step for a shard. All steps but [`Apply`](RangeStep::Apply) come from one thread, so they reach the
/// shard in the order in which they were sent.
#[derive(Debug)]
pub(crate) struct RangeMessage {
    pub(crate) shard: ShardId,
    pub(crate) step: RangeStep,
}

/// What a shard has to do. Each does what the shard's method of the same name does.
#[derive(Debug)]
pub(crate) enum RangeStep {
    BeginLoad(RangeId, LoadId, Done),
    Restore(RangeId, LoadId, Vec<(Box<[u8]>, u64)>),
    Serve(RangeId, LoadId, Done),
    Freeze(RangeId, LoadId),
    Fail(RangeId, LoadId),
    BeginDrop(RangeId),
    /// A step of a sweep, from a position on.
    Sweep(Position, Done),
    EndDrop(RangeId),
    DropAll(Done),
    /// Answers what has been held since before this moment.
    Expire(Instant),
    /// Applies requests that were parked.
    Apply(Vec<Parked<Origin>>),
}

/// What a step reports when it is done.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// What a step of a sweep did.
    pub(crate) swept: Swept,
    /// Where the next step of the sweep begins; `None` at its end.
    pub(crate) next: Option<Position>,
}

/// Called with the report of a step, by the worker that made it.
pub(crate) struct Done(Box<dyn FnOnce(Report) + Send>);

impl Done {
    pub(crate) fn new(report: impl FnOnce(Report) + Send + 'static) -> Self {
        Self(Box::new(report))
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Done").finish_non_exhaustive()
    }
}

impl RangeStep {
    /// Returns the range of each request that comes back to the shard.
    pub(super) fn come_back(&self) -> Vec<RangeId> {
        match self {
            Self::Apply(parked) => parked.iter().map(Parked::range).collect(),
            _ => Vec::new(),
        }
    }

    /// Makes the step. Appends to `late` the replies to requests that waited.
    pub(super) fn apply_to(self, shard: &mut Shard, late: &mut Vec<LateReply>) {
        match self {
            Self::BeginLoad(range, load, Done(done)) => {
                shard.begin_load(range, load);
                done(Report::default());
            }
            Self::Restore(range, load, topics) => {
                let topics: Vec<_> = topics
                    .iter()
                    .map(|(name, sum)| (Topic::checked_before(name), *sum))
                    .collect();
                shard.restore_range(range, load, &topics);
            }
            Self::Serve(range, load, Done(done)) => {
                shard.serve_range(range, load, late);
                done(Report::default());
            }
            Self::Freeze(range, load) => shard.freeze_range(range, load),
            Self::Fail(range, load) => shard.fail_range(range, load),
            Self::BeginDrop(range) => shard.begin_drop(range),
            Self::Sweep(from, Done(done)) => {
                let mut report = Report {
                    next: Some(from),
                    ..Report::default()
                };
                for _ in 0..PARTS {
                    let Some(from) = report.next else { break };
                    report.next = shard.sweep(from, &mut report.swept, late);
                }
                done(report);
            }
            Self::EndDrop(range) => shard.end_drop(range),
            Self::DropAll(Done(done)) => {
                shard.drop_all_ranges(late);
                done(Report::default());
            }
            Self::Expire(before) => shard.expire_held(before, late),
            Self::Apply(parked) => {
                for parked in parked {
                    shard.apply_parked(parked, late);
                }
            }
        }
    }
}
