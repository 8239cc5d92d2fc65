//! Redirects: why a connection that has the map has to send a command elsewhere.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::node::endpoint;
use crate::cluster::Slot;
use crate::server::cluster::{Owners, Peer, RangeOwner};
use crate::topic::Topic;

/// Why a command is not served here. Its `Display` is the error text of Redis Cluster.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::server::resp) enum Redirect {
    /// The keys have different slots.
    CrossSlot,
    /// The slot belongs to another node.
    Moved(Slot, Arc<Peer>),
    /// The slot belongs to nobody.
    NotServed,
}

/// Returns why a command with these keys is not served here; `None` if it is. It is for a range that this
/// node has just handed over: the new owner may not know yet, and would send the client back, to and
/// fro; clients give up after a few redirects. Such a command is forwarded.
pub(in crate::server::resp) fn redirect<'a>(
    owners: &Owners,
    keys: impl IntoIterator<Item = Topic<'a>>,
) -> Option<Redirect> {
    let mut slots = keys.into_iter().map(Slot::of);
    let slot = slots.next()?;
    if slots.any(|other| other != slot) {
        return Some(Redirect::CrossSlot);
    }
    match owners.owner_of_slot(slot) {
        RangeOwner::ThisNode => None,
        RangeOwner::Other(_)
            if owners.has_just_left(slot.range(owners.ranges()), Instant::now()) =>
        {
            None
        }
        RangeOwner::Other(peer) => Some(Redirect::Moved(slot, owners.peer(peer))),
        // The node has just started, and waits for the map.
        RangeOwner::Nobody if owners.number() == 0 => None,
        RangeOwner::Nobody => Some(Redirect::NotServed),
    }
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CrossSlot => f.write_str("CROSSSLOT Keys in request don't hash to the same slot"),
            Self::Moved(slot, peer) => {
                let (host, port) = endpoint(&peer.address);
                write!(f, "MOVED {} {host}:{port}", slot.number())
            }
            Self::NotServed => f.write_str("CLUSTERDOWN Hash slot not served"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{NodeName, Owner, RANGES};

    /// The slots of foo, bar and hello are 12182, 5061 and 866.
    fn owners() -> Owners {
        let owners = Owners::new(RANGES, NodeName::new("a"), "10.0.0.1:9999".into());
        owners.update(|range| match range.slots(RANGES) {
            slots if slots.contains(&12_182) => Owner::ThisNode,
            slots if slots.contains(&5_061) => {
                Owner::Other(NodeName::new("b"), "[2001:db8::2]:9999".into())
            }
            _ => Owner::Nobody,
        });
        owners
    }

    fn redirected(keys: &[&str]) -> Option<String> {
        redirected_by(&owners(), keys)
    }

    fn redirected_by(owners: &Owners, keys: &[&str]) -> Option<String> {
        let keys = keys
            .iter()
            .map(|key| Topic::new(key.as_bytes(), 100).unwrap());
        redirect(owners, keys).map(|redirect| redirect.to_string())
    }

    #[test]
    fn only_what_this_node_owns_is_served() {
        assert_eq!(redirected(&["foo"]), None);
        assert_eq!(redirected(&["foo", "x{foo}", "foo"]), None);
        assert_eq!(redirected(&[]), None);
        let moved = "MOVED 5061 2001:db8::2:9999";
        assert_eq!(redirected(&["bar"]).as_deref(), Some(moved));
        assert_eq!(redirected(&["{bar}1", "{bar}2"]).as_deref(), Some(moved));
        let down = "CLUSTERDOWN Hash slot not served";
        assert_eq!(redirected(&["hello"]).as_deref(), Some(down));
    }

    #[test]
    fn what_was_just_handed_over_is_forwarded() {
        let owners = owners();
        owners.update(|_| Owner::Other(NodeName::new("b"), "b:1".into()));
        assert_eq!(redirected_by(&owners, &["foo"]), None);
        let moved = Some("MOVED 866 b:1");
        assert_eq!(redirected_by(&owners, &["hello"]).as_deref(), moved);
    }

    #[test]
    fn nothing_is_refused_before_the_first_map() {
        let owners = Owners::new(RANGES, NodeName::new("a"), "10.0.0.1:9999".into());
        assert_eq!(redirected_by(&owners, &["foo"]), None);
    }

    #[test]
    fn keys_of_different_slots_are_refused_whoever_owns_them() {
        let refused = "CROSSSLOT Keys in request don't hash to the same slot";
        for keys in [["foo", "bar"], ["bar", "foo"], ["hello", "foo"]] {
            assert_eq!(redirected(&keys).as_deref(), Some(refused), "{keys:?}");
        }
    }
}
