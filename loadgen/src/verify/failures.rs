//! The times at which servers were seen to fail.

/// Failures that are closer together than this are kept as one (nanoseconds), so that a server that
/// refuses each of a million requests takes no memory for each.
const APART: u64 = 1_000_000;

/// Intervals of time in which a server failed, as far as its clients can tell: from when a request was
/// sent, or a connection used, to when it was known that it failed.
#[derive(Debug, Default)]
pub(super) struct Failures(Vec<(u64, u64)>);

impl Failures {
    /// Adds an interval. It is joined with the latest one if they are close together.
    pub(super) fn add(&mut self, from: u64, to: u64) {
        match self.0.last_mut() {
            Some(last) if from <= last.1.saturating_add(APART) && last.0 <= to => {
                *last = (last.0.min(from), last.1.max(to));
            }
            _ => self.0.push((from, to)),
        }
    }

    /// Adds those of another thread, in the time of the same clock.
    pub(super) fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Moves all of them to a later time.
    pub(super) fn shift(&mut self, by: u64) {
        for (from, to) in &mut self.0 {
            *from += by;
            *to += by;
        }
    }

    /// Sorts them and joins those that overlap, for [`overlap`](Self::overlap).
    pub(super) fn sort(&mut self) {
        self.0.sort_unstable();
        let mut joined = Self::default();
        for &(from, to) in &self.0 {
            joined.add(from, to);
        }
        *self = joined;
    }

    /// Returns whether one of them overlaps the time between `from` and `to`. They must be sorted.
    pub(super) fn overlap(&self, from: u64, to: u64) -> bool {
        let next = self.0.partition_point(|failure| failure.1 < from);
        self.0.get(next).is_some_and(|failure| failure.0 <= to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_overlap_the_times_that_they_touch() {
        let mut failures = Failures::default();
        assert!(!failures.overlap(0, u64::MAX));
        for at in [50, 20, 90] {
            failures.add(at * APART, (at + 5) * APART);
        }
        failures.sort();
        let overlaps = |from, to| failures.overlap(from * APART, to * APART);
        assert!(overlaps(0, 20) && overlaps(22, 23) && overlaps(25, 26) && overlaps(0, 100));
        assert!(overlaps(54, 91));
        assert!(!overlaps(0, 19) && !overlaps(27, 49) && !overlaps(56, 89) && !overlaps(96, 200));
    }

    #[test]
    fn failures_that_follow_one_another_are_kept_as_one() {
        let (mut one, mut other) = (Failures::default(), Failures::default());
        for at in 0..10_000 {
            one.add(at * 100, at * 100 + 150);
            other.add(at * 100 + 50, at * 100 + 60);
        }
        other.shift(1_000);
        one.merge(other);
        one.sort();
        assert_eq!(one.0, [(0, 1_000_960)]);
    }
}
