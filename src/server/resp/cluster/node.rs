//! A node as Redis Cluster clients see it.

use std::fmt::Write;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use sha2::{Digest, Sha256};

use crate::server::cluster::NodeSlots;

/// How many bytes of a digest make an id: ids of Redis have 40 hexadecimal digits.
const ID_BYTES: usize = 20;

/// A node, with the slots that it owns.
#[derive(Debug)]
pub(super) struct Node {
    /// Its id: the same on every node, and again after a restart.
    pub(super) id: String,
    /// An IP address without brackets, or a host name.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) slots: Vec<RangeInclusive<u16>>,
}

impl Node {
    /// Creates the node of an entry in the map of owners.
    pub(super) fn of(entry: NodeSlots) -> Self {
        let (host, port) = endpoint(&entry.node.address);
        Self {
            id: id_of(entry.node.name.as_str()),
            host: host.to_owned(),
            port,
            slots: entry.slots,
        }
    }

    /// Returns whether the host is a name, not an address.
    pub(super) fn has_host_name(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }

    /// Returns the number of slots.
    pub(super) fn slot_count(&self) -> usize {
        self.slots.iter().map(ExactSizeIterator::len).sum()
    }
}

/// Returns the host and the port of `host:port`. An IPv6 address loses its brackets: Redis writes none,
/// and clients split at the last colon.
pub(super) fn endpoint(address: &str) -> (&str, u16) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let unbracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    // Without a port, an address is of no use to a client, which will say so.
    (unbracketed.unwrap_or(host), port.parse().unwrap_or(0))
}

/// Returns the id of the node with this name.
pub(super) fn id_of(name: &str) -> String {
    hexadecimal(&Sha256::digest(name))
}

/// Returns the id of the shard, in Redis's sense, of the node with this name.
pub(super) fn shard_id_of(name: &str) -> String {
    hexadecimal(&Sha256::digest(format!("shard of {name}")))
}

fn hexadecimal(digest: &[u8]) -> String {
    digest[..ID_BYTES]
        .iter()
        .fold(String::new(), |mut id, byte| {
            // Writing to a string cannot fail.
            let _ = write!(id, "{byte:02x}");
            id
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_at_the_last_colon() {
        assert_eq!(endpoint("10.0.0.1:9999"), ("10.0.0.1", 9999));
        assert_eq!(endpoint("[2001:db8::1]:9999"), ("2001:db8::1", 9999));
        assert_eq!(
            endpoint("counter-1.example.org:1"),
            ("counter-1.example.org", 1)
        );
        assert_eq!(endpoint("no port"), ("no port", 0));
    }

    /// Clients remember ids, so they must not change between versions.
    #[test]
    fn ids_are_fixed() {
        // The first 20 bytes of the SHA-256 of "abc", which FIPS 180-4 has as an example.
        assert_eq!(id_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a3");
        assert_ne!(id_of("abd"), id_of("abc"));
        assert_eq!(shard_id_of("abc").len(), 40);
        assert_ne!(shard_id_of("abc"), id_of("abc"));
    }
}
