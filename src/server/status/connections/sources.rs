//! The connections of each address, for the limit on them.

use std::collections::HashMap;
use std::net::IpAddr;

use parking_lot::Mutex;

/// Where connections are counted together: an IPv4 address, or the part of an IPv6 address that its owner
/// does not choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Source {
    V4(u32),
    V6Network(u64),
}

impl Source {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6Network((address.to_bits() >> 64) as u64),
        }
    }
}

/// The open connections of each address; an address without any has no entry. Locked when a connection is
/// accepted and when it ends.
#[derive(Debug)]
pub(super) struct Sources {
    max: usize,
    open: Mutex<HashMap<Source, usize>>,
}

impl Sources {
    /// Allows at most `max` connections from one address.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            open: Mutex::default(),
        }
    }

    /// Counts a connection. Returns false, and counts nothing, if its address has too many.
    pub(super) fn open(&self, source: Source) -> bool {
        let mut open = self.open.lock();
        let count = open.entry(source).or_default();
        let admitted = *count < self.max;
        *count += usize::from(admitted);
        if *count == 0 {
            open.remove(&source); // the limit is 0
        }
        admitted
    }

    /// Subtracts a connection that has ended.
    pub(super) fn close(&self, source: Source) {
        let mut open = self.open.lock();
        if let Some(count) = open.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                open.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> Source {
        Source::of(address.parse().unwrap())
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:0:0:2"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
        assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
    }

    #[test]
    fn an_address_has_room_again_when_a_connection_ends() {
        let sources = Sources::new(2);
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(source);
        assert!(sources.open(one) && sources.open(one) && !sources.open(one));
        assert!(sources.open(other));
        sources.close(one);
        assert!(sources.open(one) && !sources.open(one));
        for source in [one, one, other] {
            sources.close(source);
        }
        assert!(sources.open.lock().is_empty());
    }
}
