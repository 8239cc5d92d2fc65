//! Which ranges of topics a shard of a cluster serves (docs/cluster.md). Only a request whose topic has no
//! row in the table, or cannot be served from its row at once, looks here: a row means that its range is
//! served.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::counts::ShardCounts;
use super::parked::Parked;
use crate::cluster::{RangeId, Slot};
use crate::protocol::{ErrorCode, Reply, Request};
use crate::topic::Topic;

/// The most requests that a shard holds while ranges move; further ones are refused with BUSY.
const HELD_LIMIT: u64 = 64 * 1024;

/// Identifies the memory of a range: it is loaded once, under one epoch, and a later load is another
/// one. Results and changes of an earlier load do not concern it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LoadId(u32);

impl LoadId {
    /// No load: of a topic that belongs to no range.
    pub const NONE: Self = Self(0);

    /// Returns the id of the next load.
    ///
    /// # Panics
    ///
    /// Panics after 2^32 loads.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("fewer than 2^32 loads"))
    }
}

/// What a shard does with requests for a range whose topics it does not find.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// The range is not this node's.
    #[default]
    Elsewhere,
    /// Its topics are being loaded.
    Loading,
    /// All its topics are here.
    Serving,
    /// Its topics are being taken out, to be handed over.
    Freezing,
    /// Its topics are being discarded.
    Dropping,
}

#[derive(Debug)]
struct Range<W> {
    state: State,
    load: LoadId,
    /// Whether a commit of this load was refused, or its outcome is unknown. Then no result of it counts.
    failed: bool,
    /// Requests that wait until the range is served, here or elsewhere, in the order in which they were
    /// parked first.
    held: VecDeque<Parked<W>>,
}

/// What happens to a request whose topic is not in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// The topic does not exist.
    New,
    /// The request waits.
    Hold,
    /// Another node may know the topic.
    Elsewhere,
}

/// What a sweep does with the row of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sweep {
    Keep,
    TakeOut,
    Discard,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Ranges<W> {
    ranges: Box<[Range<W>]>,
    /// Has the number of requests that are held.
    counts: Arc<ShardCounts>,
    /// The number of ranges that are being loaded.
    loading: usize,
    /// Requests for other nodes.
    elsewhere: Vec<Parked<W>>,
    /// When the requests that are applied now were read, or were parked first; `None`: now.
    since: Option<Instant>,
}

impl<W> Ranges<W> {
    /// Creates the state of a cluster with this many ranges, none of which is here.
    pub(super) fn new(ranges: u16, counts: Arc<ShardCounts>) -> Self {
        let range = |_| Range {
            state: State::default(),
            load: LoadId::NONE,
            failed: false,
            held: VecDeque::new(),
        };
        Self {
            ranges: (0..ranges).map(range).collect(),
            counts,
            loading: 0,
            elsewhere: Vec::new(),
            since: None,
        }
    }

    /// Returns the range of a topic.
    pub(super) fn range_of(&self, topic: Topic<'_>) -> RangeId {
        // There are at most as many ranges as slots.
        Slot::of(topic).range(self.ranges.len() as u16)
    }

    fn of(&self, topic: Topic<'_>) -> &Range<W> {
        &self.ranges[self.range_of(topic).index()]
    }

    fn at(&mut self, range: RangeId) -> &mut Range<W> {
        &mut self.ranges[range.index()]
    }

    /// Returns what happens to a request whose topic is not in the table, and the topic's range.
    pub(super) fn absent(&self, topic: Topic<'_>) -> (Absent, RangeId) {
        let range = self.range_of(topic);
        let absent = match self.ranges[range.index()].state {
            State::Serving => Absent::New,
            State::Loading | State::Freezing => Absent::Hold,
            State::Elsewhere | State::Dropping => Absent::Elsewhere,
        };
        (absent, range)
    }

    /// Returns whether some range is being loaded.
    pub(super) fn any_is_coming(&self) -> bool {
        self.loading > 0
    }

    /// Returns whether a topic that was restored must not be served yet: others of its range are still to
    /// come, and earlier requests for it may be held.
    pub(super) fn is_coming(&self, topic: Topic<'_>) -> bool {
        self.any_is_coming() && self.of(topic).state == State::Loading
    }

    /// Returns the load that the memory of a topic belongs to.
    pub(super) fn load(&self, topic: Topic<'_>) -> LoadId {
        self.of(topic).load
    }

    /// Returns whether the result of a change that was made under this load counts.
    pub(super) fn takes_result(&self, topic: Topic<'_>, load: LoadId) -> bool {
        let range = self.of(topic);
        range.load == load && !range.failed
    }

    /// Returns what a sweep does with the row of a topic.
    pub(super) fn sweep(&self, topic: Topic<'_>) -> Sweep {
        match self.of(topic).state {
            State::Freezing => Sweep::TakeOut,
            State::Dropping => Sweep::Discard,
            State::Elsewhere | State::Loading | State::Serving => Sweep::Keep,
        }
    }

    /// Holds a request until its range is served, here or elsewhere.
    ///
    /// # Errors
    ///
    /// Too many are held; the reply says so.
    pub(super) fn hold(
        &mut self,
        request: Request<'_>,
        range: RangeId,
        waiter: W,
    ) -> Result<(), Reply> {
        if self.counts.held() >= HELD_LIMIT {
            return Err(Reply::Error(ErrorCode::Busy));
        }
        let parked = Parked::new(request, range, self.since(), waiter);
        self.counts.held.add(1);
        let held = &mut self.at(range).held;
        // Usually it is the last one, but some were parked elsewhere before.
        let later = held.iter().rev();
        let later = later.take_while(|other| other.since() > parked.since());
        let at = held.len() - later.count();
        held.insert(at, parked);
        Ok(())
    }

    /// Adds a request for another node.
    pub(super) fn send_elsewhere(&mut self, request: Request<'_>, range: RangeId, waiter: W) {
        let parked = Parked::new(request, range, self.since(), waiter);
        self.elsewhere.push(parked);
    }

    /// Sets when the requests that are applied from now on were read, or were parked first; `None`: now.
    pub(super) fn set_since(&mut self, since: Option<Instant>) {
        self.since = since;
    }

    /// Returns when a request was parked first. Requests that were read together get different times, in
    /// their order: it shows which of two came first.
    fn since(&mut self) -> Instant {
        // The clock is read once for all of them.
        let since = self.since.unwrap_or_else(Instant::now);
        self.since = Some(since + Duration::from_nanos(1));
        since
    }

    /// Moves the requests for other nodes out.
    pub(super) fn take_elsewhere(&mut self, taken: &mut Vec<Parked<W>>) {
        taken.append(&mut self.elsewhere);
    }

    /// Begins to load a range.
    pub(super) fn begin_load(&mut self, range: RangeId, load: LoadId) {
        let range = self.at(range);
        debug_assert_eq!(range.state, State::Elsewhere);
        (range.state, range.load, range.failed) = (State::Loading, load, false);
        self.loading += 1;
    }

    /// Returns whether the range is being loaded by this load.
    pub(super) fn is_loading(&mut self, range: RangeId, load: LoadId) -> bool {
        let range = self.at(range);
        range.state == State::Loading && range.load == load
    }

    /// Serves a range from now on. Returns the requests that were held, in order.
    pub(super) fn serve(&mut self, range: RangeId) -> VecDeque<Parked<W>> {
        self.at(range).state = State::Serving;
        self.loading -= 1;
        self.release(range)
    }

    /// Begins to take out the topics of a range.
    pub(super) fn freeze(&mut self, range: RangeId, load: LoadId) {
        let range = self.at(range);
        if range.load == load && range.state == State::Serving {
            range.state = State::Freezing;
        }
    }

    /// Notes that a commit of this load failed.
    pub(super) fn fail(&mut self, range: RangeId, load: LoadId) {
        let range = self.at(range);
        range.failed |= range.load == load;
    }

    /// Begins to discard the topics of a range. Requests for it are sent elsewhere from now on.
    pub(super) fn begin_drop(&mut self, range: RangeId) {
        let dropped = self.at(range);
        let was_loading = dropped.state == State::Loading;
        (dropped.state, dropped.load) = (State::Dropping, LoadId::NONE);
        self.loading -= usize::from(was_loading);
        let held = self.release(range);
        self.elsewhere.extend(held);
    }

    /// Notes that all topics of a range were discarded.
    pub(super) fn end_drop(&mut self, range: RangeId) {
        self.at(range).state = State::Elsewhere;
    }

    /// Notes that all topics of all ranges were discarded.
    pub(super) fn drop_all(&mut self) {
        for range in RangeId::all(self.ranges.len() as u16) {
            self.begin_drop(range);
            self.end_drop(range);
        }
    }

    /// Removes the requests that were parked before `before`.
    pub(super) fn expire(&mut self, before: Instant) -> Vec<Parked<W>> {
        let mut expired = Vec::new();
        if self.counts.held() == 0 {
            return expired;
        }
        for range in &mut self.ranges {
            let old = range.held.partition_point(|parked| parked.since() < before);
            expired.extend(range.held.drain(..old));
        }
        self.sub_held(expired.len());
        expired
    }

    fn release(&mut self, range: RangeId) -> VecDeque<Parked<W>> {
        let held = mem::take(&mut self.at(range).held);
        self.sub_held(held.len());
        held
    }

    fn sub_held(&self, requests: usize) {
        self.counts.held.sub(requests as u64);
    }
}
