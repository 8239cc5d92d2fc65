//! Failed attempts to authenticate: counted, logged, and limited for each address.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::warn;

use super::slots::{AddressSlots, SLOTS};
use crate::measure::{LogLimit, coarse_seconds};

/// How many attempts of an address may fail at once. Then one may each second.
const BURST: u64 = 5;

static FAILED: LogLimit = LogLimit::new();

/// The failed attempts of a server.
#[derive(Debug)]
pub(super) struct Attempts {
    slots: AddressSlots,
    /// For the addresses of each slot: when all their failures are forgotten, in seconds. Each failure
    /// moves it one second ahead.
    forgotten_at: Box<[AtomicU64]>,
    failed: AtomicU64,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            slots: AddressSlots::default(),
            forgotten_at: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            failed: AtomicU64::new(0),
        }
    }
}

impl Attempts {
    /// Returns whether too many attempts of this address have failed lately.
    pub(super) fn too_many(&self, address: IpAddr) -> bool {
        self.too_many_at(address, coarse_seconds())
    }

    /// Counts a failed attempt, and logs it within a limit. Nothing that the peer sent is logged.
    pub(super) fn failed(&self, address: IpAddr) {
        self.failed_at(address, coarse_seconds());
        if let Some(failed) = FAILED.count() {
            warn!(failed, last = %address, "refused wrong tokens or passwords");
        }
    }

    /// Returns how many attempts have failed.
    pub(super) fn count(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    fn too_many_at(&self, address: IpAddr, now: u64) -> bool {
        self.slot(address).load(Ordering::Relaxed) >= now + BURST
    }

    fn failed_at(&self, address: IpAddr, now: u64) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let later = |at: u64| (at.max(now) + 1).min(now + BURST);
        self.slot(address)
            .update(Ordering::Relaxed, Ordering::Relaxed, later);
    }

    fn slot(&self, address: IpAddr) -> &AtomicU64 {
        &self.forgotten_at[self.slots.slot(address)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_limited_after_some_failures_and_another_is_not() {
        let attempts = Attempts::default();
        let address = "10.0.0.1".parse().unwrap();
        for _ in 0..BURST {
            assert!(!attempts.too_many_at(address, 100));
            attempts.failed_at(address, 100);
        }
        assert!(attempts.too_many_at(address, 100));
        assert!(
            !attempts.too_many_at(address, 101),
            "one more a second later"
        );
        attempts.failed_at(address, 101);
        assert!(attempts.too_many_at(address, 101));
        assert_eq!(attempts.count(), BURST + 1);
        let others = (1..=20).map(|n| IpAddr::from([192, 168, 0, n]));
        let limited = others
            .filter(|&other| attempts.too_many_at(other, 101))
            .count();
        assert!(limited <= 1, "hardly any share its slot");
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let attempts = Attempts::default();
        for _ in 0..BURST {
            attempts.failed_at("2001:db8::1".parse().unwrap(), 7);
        }
        assert!(attempts.too_many_at("2001:db8::2".parse().unwrap(), 7));
    }

    /// However many attempts a flood makes, the owner of the address waits a second.
    #[test]
    fn a_flood_is_forgotten_as_fast_as_a_few_failures() {
        let attempts = Attempts::default();
        let address = "10.0.0.1".parse().unwrap();
        for _ in 0..10_000 {
            attempts.failed_at(address, 50);
        }
        assert!(!attempts.too_many_at(address, 51));
    }
}
