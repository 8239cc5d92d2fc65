//! What the store's thread has done so far. It writes the counts, rarely; any thread may read them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::server::net::coarse_seconds;
use crate::store::StoreSize;

/// The upper ends of the ranges of times that are told apart, in seconds. Longer times are in no range.
const BOUNDS: [f64; 14] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct CommitCounts {
    commits: AtomicU64,
    changes: AtomicU64,
    nanoseconds: AtomicU64,
    /// The commits whose time is in each range of [`BOUNDS`].
    by_time: [AtomicU64; BOUNDS.len()],
    checkpoints: AtomicU64,
    failed_checkpoints: AtomicU64,
    /// When the last commit became durable, by [`coarse_seconds`]; 0 before the first.
    last_commit: AtomicU64,
    /// When the last checkpoint was written, in the same way.
    last_checkpoint: AtomicU64,
    log_bytes: AtomicU64,
    checkpoint_due_bytes: AtomicU64,
    checkpoint_bytes: AtomicU64,
}

/// What a store has done since the start.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CommitSnapshot {
    /// Commits that are durable.
    pub commits: u64,
    /// Changes of topics in these commits.
    pub changes: u64,
    /// The time of all commits, in seconds.
    pub seconds: f64,
    /// For each of some times, in seconds and increasing, how many commits took no longer.
    pub within_seconds: Vec<(f64, u64)>,
    /// Checkpoints that were written while topics were served.
    pub checkpoints: u64,
    /// Checkpoints that could not be written.
    pub checkpoints_failed: u64,
    /// How long ago the last commit became durable, in seconds; `None` before the first.
    pub last_commit_seconds: Option<u64>,
    /// How long ago the last checkpoint was written, in seconds; `None` before the first.
    pub last_checkpoint_seconds: Option<u64>,
    /// The bytes of log since the last checkpoint began, which a start would have to replay.
    pub log_bytes: u64,
    /// The bytes of log at which the next checkpoint is due.
    pub checkpoint_due_bytes: u64,
    /// The bytes of the last checkpoint.
    pub checkpoint_bytes: u64,
}

impl CommitCounts {
    /// Counts a commit of this many changes that took `time` until they were durable.
    pub(crate) fn committed(&self, changes: usize, time: Duration) {
        add(&self.commits, 1);
        add(&self.changes, changes as u64);
        add(&self.nanoseconds, time.as_nanos() as u64);
        self.last_commit.store(coarse_seconds(), Ordering::Release);
        let range = BOUNDS.partition_point(|&bound| bound < time.as_secs_f64());
        if let Some(count) = self.by_time.get(range) {
            add(count, 1);
        }
    }

    /// Counts a checkpoint that was written while topics were served.
    pub(crate) fn checkpoint_written(&self) {
        add(&self.checkpoints, 1);
        self.last_checkpoint
            .store(coarse_seconds(), Ordering::Release);
    }

    /// Notes how much the store keeps now.
    pub(crate) fn set_size(&self, size: StoreSize) {
        self.log_bytes.store(size.log_bytes, Ordering::Release);
        self.checkpoint_due_bytes
            .store(size.checkpoint_due_bytes, Ordering::Release);
        self.checkpoint_bytes
            .store(size.checkpoint_bytes, Ordering::Release);
    }

    /// Counts a checkpoint that could not be written.
    pub(crate) fn checkpoint_failed(&self) {
        add(&self.failed_checkpoints, 1);
    }

    /// Returns the counts by now.
    pub(crate) fn read(&self) -> CommitSnapshot {
        let mut sum = 0;
        let within = BOUNDS.iter().zip(&self.by_time).map(|(&bound, count)| {
            sum += get(count);
            (bound, sum)
        });
        let within = within.collect();
        CommitSnapshot {
            within_seconds: within,
            // After the ranges, so that no more commits are in them than there are in all.
            commits: get(&self.commits),
            changes: get(&self.changes),
            seconds: get(&self.nanoseconds) as f64 / 1e9,
            checkpoints: get(&self.checkpoints),
            checkpoints_failed: get(&self.failed_checkpoints),
            last_commit_seconds: seconds_since(&self.last_commit),
            last_checkpoint_seconds: seconds_since(&self.last_checkpoint),
            log_bytes: get(&self.log_bytes),
            checkpoint_due_bytes: get(&self.checkpoint_due_bytes),
            checkpoint_bytes: get(&self.checkpoint_bytes),
        }
    }
}

/// A store may report from any thread.
fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::AcqRel);
}

/// Returns how long ago a time is by [`coarse_seconds`], which is never 0; `None` for 0.
fn seconds_since(time: &AtomicU64) -> Option<u64> {
    let time = get(time);
    (time > 0).then(|| coarse_seconds().saturating_sub(time))
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Acquire)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_counted_by_their_time() {
        let counts = CommitCounts::default();
        for micros in [99, 100, 101, 2_500_000, 2_500_001] {
            counts.committed(10, Duration::from_micros(micros));
        }
        counts.checkpoint_written();
        let commits = counts.read();
        assert_eq!((commits.commits, commits.changes), (5, 50));
        assert!((commits.seconds - 5.000_301).abs() < 1e-9, "{commits:?}");
        assert_eq!(commits.within_seconds[0], (0.0001, 2));
        assert_eq!(commits.within_seconds[1], (0.00025, 3));
        assert_eq!(commits.within_seconds[BOUNDS.len() - 1], (2.5, 4));
        assert_eq!((commits.checkpoints, commits.checkpoints_failed), (1, 0));
        assert!(commits.last_commit_seconds.is_some_and(|ago| ago < 60));
        assert_eq!(CommitCounts::default().read().last_commit_seconds, None);
    }
}
