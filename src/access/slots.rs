//! A fixed number of slots for any number of addresses.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use super::range::masked;

/// How many slots there are. Addresses share them by a hash that nobody outside can compute, so the
/// memory is bounded, whoever sends.
pub(crate) const SLOTS: usize = 4096;

/// The part of an IPv6 address that its owner does not choose.
const IPV6_NETWORK: u32 = 64;

/// Assigns a slot to each address.
#[derive(Debug, Default)]
pub(crate) struct AddressSlots(RandomState);

impl AddressSlots {
    /// Returns the slot of an address, from 0 to [`SLOTS`] - 1.
    pub(crate) fn slot(&self, address: IpAddr) -> usize {
        let network = match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(_) => masked(address, IPV6_NETWORK),
        };
        self.0.hash_one(network) as usize % SLOTS
    }
}
