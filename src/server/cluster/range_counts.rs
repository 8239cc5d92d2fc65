//! What this node does with its ranges of topics, for those who watch it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::cluster::{Epoch, RangeId, Revision};

/// What this node does with a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RangeState {
    /// It has no memory of the range.
    Elsewhere,
    /// It loads the topics.
    Loading,
    /// It serves the range.
    Serving,
    /// It takes the topics out and writes their exact sums.
    Freezing,
    /// The exact sums are written.
    Frozen,
}

/// The low bits of an entry have the state, the others the epoch.
const STATE_BITS: u32 = 3;

/// The state of each range, and what was counted. The thread of the cluster writes it. Workers write only
/// that a range was loaded. All of it is rare, so no entry needs to be without locked instructions.
#[derive(Debug)]
pub(crate) struct RangeCounts {
    states: Box<[AtomicU64]>,
    in_session: AtomicBool,
    loads: AtomicU64,
    load_nanoseconds: AtomicU64,
    longest_load: AtomicU64,
    loads_failed: AtomicU64,
    handed_over: AtomicU64,
    lost: AtomicU64,
    commits_failed: AtomicU64,
    highest_epoch: AtomicU64,
}

/// What was counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct MovesSnapshot {
    /// Ranges that were loaded, and so taken by this node.
    pub loaded: u64,
    /// The time that these loads took together, in seconds, from the decision until all shards served.
    pub load_seconds: f64,
    /// The time of the longest one, in seconds.
    pub longest_load_seconds: f64,
    /// Loads that failed; the range is loaded again.
    pub loads_failed: u64,
    /// Ranges that were given up after their exact sums were written: handed over to another node, or
    /// closed by the last node.
    pub handed_over: u64,
    /// Ranges that were given up without that: their topics may skip numbers.
    pub lost: u64,
    /// Commits that etcd refused or that have an unknown outcome, counted for each range. The range is
    /// given up, and loaded again if it is still this node's.
    pub commits_failed: u64,
    /// The highest epoch at which this node has loaded a range; 0 before the first.
    pub highest_epoch: u64,
}

impl RangeCounts {
    /// Creates the counts of a cluster with this many ranges.
    pub(crate) fn new(ranges: u16) -> Self {
        let state = packed(RangeState::Elsewhere, Epoch::default());
        Self {
            states: (0..ranges).map(|_| AtomicU64::new(state)).collect(),
            in_session: AtomicBool::new(false),
            loads: AtomicU64::new(0),
            load_nanoseconds: AtomicU64::new(0),
            longest_load: AtomicU64::new(0),
            loads_failed: AtomicU64::new(0),
            handed_over: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            commits_failed: AtomicU64::new(0),
            highest_epoch: AtomicU64::new(0),
        }
    }

    /// Returns whether the node has a session that has not ended as far as it knows.
    pub(crate) fn in_session(&self) -> bool {
        self.in_session.load(Ordering::Acquire)
    }

    /// Notes that a session began or goes on.
    pub(crate) fn session_lives(&self) {
        self.in_session.store(true, Ordering::Release);
    }

    /// Notes that a range is being loaded.
    pub(crate) fn load(&self, range: RangeId, epoch: Epoch) {
        self.set(range, RangeState::Loading, epoch);
        self.highest_epoch
            .fetch_max(number(epoch), Ordering::AcqRel);
    }

    /// Notes that all shards serve a range, after a load that took `time`. Another thread may have
    /// dropped it by now.
    pub(crate) fn loaded(&self, range: RangeId, epoch: Epoch, time: Duration) {
        self.step(range, epoch, RangeState::Loading, RangeState::Serving);
        let nanoseconds = time.as_nanos() as u64;
        add(&self.loads, 1);
        add(&self.load_nanoseconds, nanoseconds);
        self.longest_load.fetch_max(nanoseconds, Ordering::AcqRel);
    }

    /// Counts a load that failed.
    pub(crate) fn load_failed(&self) {
        add(&self.loads_failed, 1);
    }

    /// Notes that the topics of a range are being taken out.
    pub(crate) fn freeze(&self, range: RangeId, epoch: Epoch) {
        self.step(range, epoch, RangeState::Serving, RangeState::Freezing);
    }

    /// Notes that the exact sums of a range are written.
    pub(crate) fn frozen(&self, range: RangeId, epoch: Epoch) {
        self.step(range, epoch, RangeState::Freezing, RangeState::Frozen);
    }

    /// Counts a commit that failed for a range.
    pub(crate) fn commit_failed(&self) {
        add(&self.commits_failed, 1);
    }

    /// Notes that a range is given up.
    pub(crate) fn drop_range(&self, range: RangeId) {
        let elsewhere = packed(RangeState::Elsewhere, Epoch::default());
        let before = self.states[range.index()].swap(elsewhere, Ordering::AcqRel);
        match state(before) {
            RangeState::Frozen => add(&self.handed_over, 1),
            RangeState::Serving | RangeState::Freezing => add(&self.lost, 1),
            // Nothing was counted.
            RangeState::Elsewhere | RangeState::Loading => {}
        }
    }

    /// Notes that the session has ended, and with it all ranges.
    pub(crate) fn drop_all(&self) {
        self.in_session.store(false, Ordering::Release);
        for range in RangeId::all(self.states.len() as u16) {
            self.drop_range(range);
        }
    }

    /// Returns what this node does with a range.
    pub(crate) fn state(&self, range: RangeId) -> RangeState {
        state(self.states[range.index()].load(Ordering::Acquire))
    }

    /// Returns what was counted by now.
    pub(crate) fn read(&self) -> MovesSnapshot {
        let get = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        let seconds = |counter: &AtomicU64| get(counter) as f64 / 1e9;
        MovesSnapshot {
            loaded: get(&self.loads),
            load_seconds: seconds(&self.load_nanoseconds),
            longest_load_seconds: seconds(&self.longest_load),
            loads_failed: get(&self.loads_failed),
            handed_over: get(&self.handed_over),
            lost: get(&self.lost),
            commits_failed: get(&self.commits_failed),
            highest_epoch: get(&self.highest_epoch),
        }
    }

    fn set(&self, range: RangeId, state: RangeState, epoch: Epoch) {
        self.states[range.index()].store(packed(state, epoch), Ordering::Release);
    }

    /// Changes the state of a range, unless it is another one or of another epoch by now.
    fn step(&self, range: RangeId, epoch: Epoch, from: RangeState, to: RangeState) {
        let (from, to) = (packed(from, epoch), packed(to, epoch));
        let entry = &self.states[range.index()];
        // If it fails, what the caller tells of is over.
        let _ = entry.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
    }
}

fn packed(state: RangeState, epoch: Epoch) -> u64 {
    number(epoch) << STATE_BITS | state as u64
}

fn state(packed: u64) -> RangeState {
    let states = [
        RangeState::Elsewhere,
        RangeState::Loading,
        RangeState::Serving,
        RangeState::Freezing,
        RangeState::Frozen,
    ];
    states[(packed & ((1 << STATE_BITS) - 1)) as usize]
}

fn number(Epoch(Revision(revision)): Epoch) -> u64 {
    revision
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::AcqRel);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Epoch = Epoch(Revision(11));
    const OTHER: Epoch = Epoch(Revision(u64::MAX >> STATE_BITS));

    fn range(number: u16) -> RangeId {
        RangeId::new(number, 8).expect("a range")
    }

    fn loaded(counts: &RangeCounts, number: u16) {
        counts.load(range(number), ONE);
        counts.loaded(range(number), ONE, Duration::from_millis(10));
    }

    #[test]
    fn a_range_that_is_handed_over_is_not_lost() {
        let counts = RangeCounts::new(8);
        counts.load(range(3), ONE);
        assert_eq!(counts.state(range(3)), RangeState::Loading);
        counts.loaded(range(3), ONE, Duration::from_millis(250));
        assert_eq!(counts.state(range(3)), RangeState::Serving);
        counts.freeze(range(3), ONE);
        counts.frozen(range(3), ONE);
        assert_eq!(counts.state(range(3)), RangeState::Frozen);
        counts.drop_range(range(3));
        assert_eq!(counts.state(range(3)), RangeState::Elsewhere);
        loaded(&counts, 4);
        let expected = MovesSnapshot {
            loaded: 2,
            load_seconds: 0.26,
            longest_load_seconds: 0.25,
            handed_over: 1,
            highest_epoch: 11,
            ..MovesSnapshot::default()
        };
        assert_eq!(counts.read(), expected);
    }

    #[test]
    fn served_ranges_of_a_session_that_ends_are_lost() {
        let counts = RangeCounts::new(8);
        counts.session_lives();
        (0..4).for_each(|number| loaded(&counts, number));
        counts.freeze(range(0), ONE);
        counts.freeze(range(1), ONE);
        counts.frozen(range(1), ONE);
        counts.load(range(5), OTHER);
        assert!(counts.in_session());
        counts.drop_all();
        assert!(!counts.in_session());
        let moves = counts.read();
        assert_eq!((moves.handed_over, moves.lost), (1, 3));
        assert_eq!(moves.highest_epoch, u64::MAX >> STATE_BITS);
    }

    #[test]
    fn a_load_that_ends_after_its_range_was_dropped_changes_no_state() {
        let counts = RangeCounts::new(8);
        counts.load(range(0), ONE);
        counts.drop_range(range(0));
        counts.loaded(range(0), ONE, Duration::ZERO);
        assert_eq!(counts.state(range(0)), RangeState::Elsewhere);
        counts.load(range(0), OTHER);
        counts.loaded(range(0), ONE, Duration::ZERO);
        assert_eq!(counts.state(range(0)), RangeState::Loading);
        assert_eq!(counts.read().lost, 0);
    }
}
