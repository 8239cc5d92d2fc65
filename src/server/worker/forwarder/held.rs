//! Requests that wait for an owner, by range, in the order in which they were parked first.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::request::Request;
use crate::cluster::RangeId;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Held {
    ranges: BTreeMap<RangeId, Range>,
}

#[derive(Debug)]
struct Range {
    requests: VecDeque<Request>,
    /// When they are tried again, if the map of owners does not change before.
    retry_at: Instant,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Returns whether requests for this range are held: later ones have to queue up behind them.
    pub(super) fn has(&self, range: RangeId) -> bool {
        self.ranges.contains_key(&range)
    }

    /// Adds a request: behind those for its range that were parked earlier, before those that were parked
    /// later. Without others, it is tried again at `retry_at`.
    pub(super) fn add(&mut self, range: RangeId, request: Request, retry_at: Instant) {
        let held = self.ranges.entry(range).or_insert_with(|| Range {
            requests: VecDeque::new(),
            retry_at,
        });
        // Usually it is the last one.
        let later = held.requests.iter().rev();
        let later = later.take_while(|other| other.since() > request.since());
        let at = held.requests.len() - later.count();
        held.requests.insert(at, request);
    }

    /// Takes the requests for a range.
    pub(super) fn take(&mut self, range: RangeId) -> Option<VecDeque<Request>> {
        Some(self.ranges.remove(&range)?.requests)
    }

    /// Puts requests back that were taken.
    pub(super) fn put_back(
        &mut self,
        range: RangeId,
        requests: VecDeque<Request>,
        retry_at: Instant,
    ) {
        self.ranges.insert(range, Range { requests, retry_at });
    }

    /// Takes the requests of all ranges that are to be tried by `now`, or of all ranges.
    pub(super) fn take_due(
        &mut self,
        all: bool,
        now: Instant,
    ) -> Vec<(RangeId, VecDeque<Request>)> {
        let due = self
            .ranges
            .extract_if(.., |_, range| all || range.retry_at <= now);
        due.map(|(range, held)| (range, held.requests)).collect()
    }

    /// Takes the requests that were parked first before `before`.
    pub(super) fn take_older(&mut self, before: Instant) -> Vec<(RangeId, Request)> {
        let mut older = Vec::new();
        self.ranges.retain(|&id, range| {
            let old = range
                .requests
                .partition_point(|request| request.since() < before);
            older.extend(range.requests.drain(..old).map(|request| (id, request)));
            !range.requests.is_empty()
        });
        older
    }
}
