//! The limits of a token, and what its holders have used of them. All workers share it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::bucket::Bucket;

/// A worker takes this part of a token's rate at once, so that it touches the shared bucket at most a
/// hundred times a second.
const SHARE: u32 = 100;

/// How much the holders of a token may use together. In each field, `None` is the server's default and
/// 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenLimits {
    /// The most requests a second, over all connections. As many may come at once.
    pub rate: Option<u32>,
    /// The most topics that they create until the server stops.
    pub max_topics: Option<u64>,
}

impl TokenLimits {
    /// Returns these limits, with those of `defaults` where they have none.
    #[must_use]
    pub fn or(self, defaults: Self) -> Self {
        Self {
            rate: self.rate.or(defaults.rate),
            max_topics: self.max_topics.or(defaults.max_topics),
        }
    }
}

/// The limits of a token, and what its holders have used of them. It outlives a change of the policy:
/// only the limits are replaced.
#[derive(Debug, Default)]
pub(crate) struct Allowance {
    /// Requests a second; 0 is no limit.
    rate: AtomicU32,
    /// The shared [`Bucket`].
    full_at: AtomicU64,
    /// 0 is no limit.
    max_topics: AtomicU64,
    /// The topics that were created.
    topics: AtomicU64,
}

impl Allowance {
    /// Replaces the limits.
    pub(super) fn set_limits(&self, limits: TokenLimits) {
        let (rate, max_topics) = (limits.rate, limits.max_topics);
        self.rate.store(rate.unwrap_or(0), Ordering::Relaxed);
        self.max_topics
            .store(max_topics.unwrap_or(0), Ordering::Relaxed);
    }

    /// Returns how many requests a second are allowed; 0 is no limit.
    pub(crate) fn rate(&self) -> u32 {
        self.rate.load(Ordering::Relaxed)
    }

    /// Returns whether there is a limit.
    pub(super) fn is_limited(&self) -> bool {
        self.rate() > 0 || self.limits_topics()
    }

    /// Returns whether the number of new topics is limited.
    pub(crate) fn limits_topics(&self) -> bool {
        self.max_topics.load(Ordering::Relaxed) > 0
    }

    /// Takes a share of the requests that are left at `now`: at least `requests`, and a hundredth of the
    /// rate if as many are left. Returns 0, and takes none, if there is no room for `requests`. Whoever
    /// takes a share may use it later.
    pub(super) fn take_share(&self, requests: u64, now: u64) -> u64 {
        let rate = self.rate();
        let mut share = 0;
        let take = |full_at| {
            let bucket = Bucket { full_at };
            let left = bucket.left(now, rate);
            share = left.min(requests.max((rate / SHARE).into()));
            (left >= requests).then(|| bucket.without(share, now, rate).full_at)
        };
        // The number publishes no other data: relaxed is enough.
        let taken = self
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        match taken {
            Ok(_) => share,
            Err(_) => 0,
        }
    }

    /// Counts a topic that is about to be created. Returns false if there may be no more.
    pub(crate) fn take_topic(&self) -> bool {
        let max = self.max_topics.load(Ordering::Relaxed);
        let take = |topics| (max == 0 || topics < max).then_some(topics + 1);
        self.topics
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    }

    /// Takes back that a topic was counted, because it was not created.
    pub(crate) fn return_topic(&self) {
        self.topics.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowance(rate: u32, max_topics: u64) -> Allowance {
        let allowance = Allowance::default();
        allowance.set_limits(TokenLimits {
            rate: Some(rate),
            max_topics: Some(max_topics),
        });
        allowance
    }

    #[test]
    fn shares_are_a_hundredth_of_the_rate_until_a_second_is_taken() {
        let now = 5_000_000_000;
        for (rate, share, shares) in [(10_000, 100, 100), (7, 1, 7), (150, 1, 150)] {
            let allowance = allowance(rate, 0);
            for _ in 0..shares {
                assert_eq!(allowance.take_share(1, now), share);
            }
            assert_eq!(allowance.take_share(1, now), 0);
            assert_eq!(allowance.take_share(1, now + 1_000_000_000), share);
        }
    }

    #[test]
    fn a_share_is_enough_for_the_requests_or_nothing() {
        let allowance = allowance(1_000, 0);
        let now = 5_000_000_000;
        assert_eq!(allowance.take_share(1_001, now), 0);
        assert_eq!(allowance.take_share(995, now), 995);
        assert_eq!(allowance.take_share(6, now), 0);
        assert_eq!(allowance.take_share(2, now), 5, "all that is left");
    }

    #[test]
    fn topics_are_counted_up_to_the_limit_and_a_higher_one_gives_room() {
        let allowance = allowance(0, 2);
        assert!(allowance.take_topic() && allowance.take_topic() && !allowance.take_topic());
        allowance.return_topic();
        assert!(allowance.take_topic() && !allowance.take_topic());
        allowance.set_limits(TokenLimits {
            max_topics: Some(3),
            ..TokenLimits::default()
        });
        assert!(allowance.take_topic() && !allowance.take_topic());
        allowance.set_limits(TokenLimits::default());
        assert!(allowance.take_topic() && !allowance.limits_topics());
    }
}
