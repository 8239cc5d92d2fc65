//! Token buckets. A bucket holds the requests of one second, and fills again at its rate.

/// One second, in the unit of the clock.
const SECOND: u64 = 1_000_000_000;

/// A bucket is one number, so that it can be an atomic: when the bucket will be full again, in
/// nanoseconds. The default is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Bucket {
    pub(super) full_at: u64,
}

impl Bucket {
    /// Returns how many requests are left at `now`, if `rate` come in each second.
    pub(crate) fn left(self, now: u64, rate: u32) -> u64 {
        let filling = self.full_at.saturating_sub(now);
        // At most 2^30 times 2^32.
        SECOND.saturating_sub(filling) * u64::from(rate) / SECOND
    }

    /// Returns the bucket without `requests`, of which there must be as many left.
    pub(crate) fn without(self, requests: u64, now: u64, rate: u32) -> Self {
        // Rounded down: rounded up, a bucket of three would be empty after two. So taking one by one at a
        // rate of 3 million a second may take a thousandth more; below a million it is less.
        let takes = requests * SECOND / u64::from(rate.max(1));
        let full_at = self.full_at.max(now) + takes;
        Self { full_at }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bucket_holds_a_second_and_fills_at_its_rate() {
        let now = 7 * SECOND;
        let bucket = Bucket::default();
        assert_eq!(bucket.left(now, 10), 10);
        let empty = bucket.without(10, now, 10);
        assert_eq!(empty.left(now, 10), 0);
        assert_eq!(empty.left(now + SECOND / 10, 10), 1);
        assert_eq!(empty.left(now + SECOND / 2, 10), 5);
        assert_eq!(empty.left(now + 60 * SECOND, 10), 10, "never more");
    }

    #[test]
    fn one_by_one_a_bucket_gives_all_that_it_holds() {
        for rate in [1, 3, 7, 11, 999, 12_345] {
            let mut bucket = Bucket::default();
            for left in (1..=rate).rev() {
                assert_eq!(bucket.left(SECOND, rate), u64::from(left));
                bucket = bucket.without(1, SECOND, rate);
            }
            assert_eq!(bucket.left(SECOND, rate), 0);
        }
    }

    proptest! {
        /// Whoever takes all that is left, whenever they like, gets the burst and the rate, and less than
        /// one request more each time.
        #[test]
        fn no_more_than_burst_and_rate_are_taken(
            rate in 1..=1_000_000_000_u32,
            pauses in prop::collection::vec(0..SECOND, 1..100),
        ) {
            let (mut now, mut taken, mut bucket) = (0, 0, Bucket::default());
            for (times, pause) in (1..).zip(pauses) {
                now += pause;
                let left = bucket.left(now, rate);
                bucket = bucket.without(left, now, rate);
                taken += left;
                let allowed = u128::from(rate) * u128::from(SECOND + now) / u128::from(SECOND);
                prop_assert!(u128::from(taken) < allowed + times);
            }
        }
    }
}
