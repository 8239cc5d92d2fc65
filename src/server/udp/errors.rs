//! Limits the errors that a source of datagrams gets. Its address may be forged, and the owner of that
//! address must not get a flood from this server.

use std::net::{IpAddr, Ipv6Addr};

use crate::access::{AddressSlots, Bucket, SLOTS};
use crate::server::net::sys::Peer;

/// The errors that a worker may send to each source. Sources share [`SLOTS`] buckets by a hash that nobody
/// outside can compute.
#[derive(Debug)]
pub(super) struct ErrorLimit {
    slots: AddressSlots,
    buckets: Box<[Bucket]>,
}

impl Default for ErrorLimit {
    fn default() -> Self {
        Self {
            slots: AddressSlots::default(),
            buckets: vec![Bucket::default(); SLOTS].into(),
        }
    }
}

impl ErrorLimit {
    /// Returns whether one more error may be sent to `peer` at `now`, in nanoseconds, if it may get `rate`
    /// a second.
    pub(super) fn admits(&mut self, peer: &Peer, rate: u32, now: u64) -> bool {
        let address = peer.address().unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        self.admits_address(address, rate, now)
    }

    fn admits_address(&mut self, address: IpAddr, rate: u32, now: u64) -> bool {
        let bucket = &mut self.buckets[self.slots.slot(address)];
        let admitted = bucket.left(now, rate) > 0;
        if admitted {
            *bucket = bucket.without(1, now, rate);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 5_000_000_000;

    #[test]
    fn a_source_gets_its_rate_and_others_get_theirs() {
        let mut limit = ErrorLimit::default();
        let address = IpAddr::from([10, 0, 0, 1]);
        let flood = (0..100).filter(|_| limit.admits_address(address, 10, NOW));
        assert_eq!(flood.count(), 10);
        assert!(limit.admits_address(address, 10, NOW + 100_000_000));
        assert!(!limit.admits_address(address, 10, NOW + 100_000_000));
        let others = (1..=20).map(|n| IpAddr::from([192, 168, 0, n]));
        let admitted = others.filter(|&other| limit.admits_address(other, 10, NOW));
        assert!(admitted.count() >= 19, "hardly any share its slot");
    }

    #[test]
    fn a_rate_of_zero_is_silence() {
        let mut limit = ErrorLimit::default();
        assert!(!limit.admits_address(IpAddr::from([10, 0, 0, 1]), 0, NOW));
    }
}
