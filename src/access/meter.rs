//! Limits the requests of one read: by the rate of its connection, and by that of the token that the
//! peer has shown.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use super::allowance::Allowance;
use super::bucket::Bucket;

/// When the table of shares has this many, it drops those whose tokens are gone.
const SHARES: usize = 1_024;

/// The shares that a worker has taken of the rates of tokens.
#[derive(Debug, Default)]
pub(crate) struct Shares(HashMap<*const Allowance, Share>);

/// What a worker has taken of a token's rate and not used yet. As it has the allowance, no other
/// allowance gets the same address.
#[derive(Debug)]
struct Share {
    allowance: Arc<Allowance>,
    left: Cell<u64>,
}

impl Shares {
    fn of(&mut self, allowance: &Arc<Allowance>) -> &Share {
        if self.0.len() >= SHARES && !self.0.contains_key(&Arc::as_ptr(allowance)) {
            self.0
                .retain(|_, share| Arc::strong_count(&share.allowance) > 1);
        }
        self.0.entry(Arc::as_ptr(allowance)).or_insert_with(|| {
            let allowance = Arc::clone(allowance);
            let left = Cell::new(0);
            Share { allowance, left }
        })
    }
}

/// What the requests of one read may use.
#[derive(Debug)]
pub(crate) struct Meter<'a> {
    now: u64,
    /// The rate of the connection, and its bucket; `None` if it is not limited.
    connection: Option<(u32, Bucket)>,
    /// How many requests the connection may make.
    room: u64,
    share: Option<&'a Share>,
    used: Cell<u64>,
    over_connection: Cell<u64>,
    over_token: Cell<u64>,
}

impl<'a> Meter<'a> {
    /// Begins a read at `now`. `connection` has the rate and the bucket of the connection, `token` the
    /// allowance of its token, each if it is limited.
    pub(crate) fn new(
        now: u64,
        connection: Option<(u32, Bucket)>,
        token: Option<&Arc<Allowance>>,
        shares: &'a mut Shares,
    ) -> Self {
        Self {
            now,
            connection,
            room: connection.map_or(u64::MAX, |(rate, bucket)| bucket.left(now, rate)),
            share: token.map(|allowance| shares.of(allowance)),
            used: Cell::new(0),
            over_connection: Cell::new(0),
            over_token: Cell::new(0),
        }
    }

    /// Takes room for `requests` more. Returns false, and takes none, if there is no room for all of
    /// them. Over its connection's limit, a request costs its token nothing.
    pub(crate) fn take(&self, requests: u64) -> bool {
        let used = self.used.get() + requests;
        if used > self.room {
            add(&self.over_connection, requests);
            return false;
        }
        if let Some(share) = self.share
            && !share.take(requests, self.now)
        {
            add(&self.over_token, requests);
            return false;
        }
        self.used.set(used);
        true
    }

    /// Returns the connection's bucket after the read.
    pub(crate) fn bucket(&self) -> Bucket {
        match self.connection {
            Some((rate, bucket)) => bucket.without(self.used.get(), self.now, rate),
            None => Bucket::default(),
        }
    }

    /// Returns how many requests were over the rate of the connection.
    pub(crate) fn over_connection(&self) -> u64 {
        self.over_connection.get()
    }

    /// Returns how many requests were over the rate of the token.
    pub(crate) fn over_token(&self) -> u64 {
        self.over_token.get()
    }
}

impl Share {
    fn take(&self, requests: u64, now: u64) -> bool {
        let left = self.left.get();
        if left < requests {
            match self.allowance.take_share(requests - left, now) {
                0 => return false,
                more => add(&self.left, more),
            }
        }
        self.left.set(self.left.get() - requests);
        true
    }
}

fn add(count: &Cell<u64>, n: u64) {
    count.set(count.get() + n);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::TokenLimits;

    const NOW: u64 = 5_000_000_000;

    fn allowance(rate: u32) -> Arc<Allowance> {
        let allowance = Arc::<Allowance>::default();
        allowance.set_limits(TokenLimits {
            rate: Some(rate),
            max_topics: None,
        });
        allowance
    }

    #[test]
    fn a_connection_has_its_rate_over_several_reads() {
        let mut shares = Shares::default();
        let mut bucket = Bucket::default();
        for (now, requests, allowed) in [(NOW, 60, 60), (NOW, 60, 40), (NOW + 500_000_000, 60, 50)]
        {
            let meter = Meter::new(now, Some((100, bucket)), None, &mut shares);
            let taken = (0..requests).filter(|_| meter.take(1)).count() as u64;
            assert_eq!(taken, allowed);
            assert_eq!(meter.over_connection(), requests - allowed);
            bucket = meter.bucket();
        }
    }

    #[test]
    fn a_command_of_several_topics_is_taken_as_a_whole_or_not_at_all() {
        let mut shares = Shares::default();
        let meter = Meter::new(NOW, Some((10, Bucket::default())), None, &mut shares);
        assert!(meter.take(9) && !meter.take(2) && meter.take(1) && !meter.take(1));
        assert_eq!(meter.over_connection(), 3);
    }

    /// The bound that docs/security.md states: what the workers hold of a token's rate is taken from it.
    #[test]
    fn workers_share_the_rate_of_a_token() {
        let (allowance, other) = (allowance(1_000), allowance(50));
        let mut workers = [Shares::default(), Shares::default()];
        let mut taken = 0;
        for turn in 0..400 {
            let shares = &mut workers[turn % 2];
            let meter = Meter::new(NOW, None, Some(&allowance), shares);
            taken += (0..5).filter(|_| meter.take(1)).count();
            assert_eq!(meter.over_connection(), 0);
        }
        assert_eq!(taken, 1_000);
        let meter = Meter::new(NOW, None, Some(&other), &mut workers[0]);
        assert_eq!((0..60).filter(|_| meter.take(1)).count(), 50);
        assert_eq!(meter.over_token(), 10);
    }

    #[test]
    fn shares_of_tokens_that_are_gone_are_dropped() {
        let mut shares = Shares::default();
        let kept = allowance(10);
        for _ in 0..3 * SHARES {
            assert!(Meter::new(NOW, None, Some(&allowance(10)), &mut shares).take(1));
            assert!(shares.0.len() <= SHARES);
        }
        let meter = Meter::new(NOW, None, Some(&kept), &mut shares);
        assert!((0..10).all(|_| meter.take(1)) && !meter.take(1));
    }
}
