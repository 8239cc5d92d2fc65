//! What a node knows of its cluster at one time.

use super::forwards::ForwardsSnapshot;
use crate::cluster::RangeId;
use crate::server::cluster::{Membership, MovesSnapshot, RangeOwner, RangeState};

/// A node of a cluster at one time, with what it knows of the others; docs/cluster.md explains the terms.
/// Counts are since the start of this process.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ClusterSnapshot {
    /// The name of this node.
    pub node: String,
    /// The address at which clients and other nodes reach it, `host:port`.
    pub address: String,
    /// Whether it has a session: a lease in etcd that has not ended as far as it knows.
    pub in_session: bool,
    /// For how many seconds it may answer unless its lease is renewed; 0 if it may not.
    pub lease_seconds_left: f64,
    /// The number of its map of owners, which grows with each change; 0 as long as it knows none.
    pub map: u64,
    /// The nodes that own ranges as far as this one knows, and this one, which comes first.
    pub nodes: Vec<NodeSnapshot>,
    /// How many ranges are in which state.
    pub ranges: RangesSnapshot,
    /// What it forwards to other nodes, and takes from them.
    pub forwards: ForwardsSnapshot,
    /// Which ranges it took and gave up.
    pub moves: MovesSnapshot,
}

/// A node of a cluster, as another one knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NodeSnapshot {
    /// Its name.
    pub name: String,
    /// Its address, `host:port`.
    pub address: String,
    /// How many ranges it owns.
    pub ranges: u64,
}

/// How many ranges are in which state, as a node knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RangesSnapshot {
    /// This node serves them.
    pub serving: u64,
    /// This node owns them, and loads them or is about to.
    pub loading: u64,
    /// This node hands them over: their requests wait.
    pub leaving: u64,
    /// Other nodes own them.
    pub others: u64,
    /// No live node owns them: their requests wait.
    pub without_owner: u64,
}

/// Which node owns each range, as a node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ClusterMap {
    /// The number of the map; the owners are not older.
    pub map: u64,
    /// The nodes, this one first.
    pub nodes: Vec<NodeSnapshot>,
    /// For each range the index of its owner in `nodes`; `None` if it has none.
    pub owners: Vec<Option<usize>>,
}

impl ClusterMap {
    pub(in crate::server::status) fn read(membership: &Membership) -> Self {
        let all = &membership.owners;
        let map = all.number();
        let own = all.own();
        let node = |name: &str, address: &str| NodeSnapshot {
            name: name.to_owned(),
            address: address.to_owned(),
            ranges: 0,
        };
        let mut nodes = vec![node(own.name.as_str(), &own.address)];
        let mut peers = Vec::new();
        let mut owners = Vec::with_capacity(all.ranges().into());
        for range in RangeId::all(all.ranges()) {
            let owner = match all.owner(range) {
                RangeOwner::ThisNode => Some(0),
                RangeOwner::Nobody => None,
                RangeOwner::Other(id) => {
                    let known = peers.iter().position(|&peer| peer == id);
                    let index = known.unwrap_or_else(|| {
                        let peer = all.peer(id);
                        nodes.push(node(peer.name.as_str(), &peer.address));
                        peers.push(id);
                        peers.len() - 1
                    });
                    Some(index + 1)
                }
            };
            if let Some(owner) = owner {
                nodes[owner].ranges += 1;
            }
            owners.push(owner);
        }
        Self { map, nodes, owners }
    }
}

impl ClusterSnapshot {
    pub(in crate::server::status) fn read(
        membership: &Membership,
        forwards: ForwardsSnapshot,
    ) -> Self {
        let ClusterMap { map, nodes, owners } = ClusterMap::read(membership);
        let states = RangeId::all(membership.owners.ranges()).zip(owners);
        let mut ranges = RangesSnapshot::default();
        for (range, owner) in states {
            let count = match (membership.ranges.state(range), owner) {
                (RangeState::Serving, _) => &mut ranges.serving,
                (RangeState::Loading, _) | (RangeState::Elsewhere, Some(0)) => &mut ranges.loading,
                (RangeState::Freezing | RangeState::Frozen, _) => &mut ranges.leaving,
                (RangeState::Elsewhere, Some(_)) => &mut ranges.others,
                (RangeState::Elsewhere, None) => &mut ranges.without_owner,
            };
            *count += 1;
        }
        let own = membership.owners.own();
        Self {
            node: own.name.as_str().to_owned(),
            address: own.address.to_string(),
            in_session: membership.ranges.in_session(),
            lease_seconds_left: membership.deadline.left().as_secs_f64(),
            map,
            nodes,
            ranges,
            forwards,
            moves: membership.ranges.read(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::{Epoch, NodeName, Owner};
    use crate::measure::boot_time;
    use crate::topic::Shards;

    fn snapshot(membership: &Membership) -> ClusterSnapshot {
        ClusterSnapshot::read(membership, ForwardsSnapshot::default())
    }

    #[test]
    fn a_node_that_has_just_started_knows_nothing() {
        let snapshot = snapshot(&Membership::for_tests(Shards::ONE, 8));
        assert_eq!((&*snapshot.node, snapshot.nodes.len()), ("a", 1));
        assert!(!snapshot.in_session && snapshot.lease_seconds_left == 0.0);
        assert_eq!((snapshot.map, snapshot.ranges.without_owner), (0, 8));
    }

    #[test]
    fn each_range_is_in_one_state() {
        let membership = Membership::for_tests(Shards::ONE, 8);
        let other = |name: &str| Owner::Other(NodeName::new(name), format!("{name}:1").into());
        membership.owners.update(|range| match range.number() {
            0..4 => Owner::ThisNode,
            4 => other("b"),
            5 | 6 => other("c"),
            _ => Owner::Nobody,
        });
        let epoch = Epoch::default();
        let range = |number| RangeId::new(number, 8).expect("a range");
        for number in 0..3 {
            membership.ranges.load(range(number), epoch);
        }
        for number in 0..2 {
            membership
                .ranges
                .loaded(range(number), epoch, Duration::ZERO);
        }
        membership.ranges.freeze(range(1), epoch);
        membership
            .deadline
            .set(boot_time() + Duration::from_secs(3_600));
        membership.ranges.session_lives();

        let found = snapshot(&membership);
        let expected = RangesSnapshot {
            serving: 1,
            loading: 2,
            leaving: 1,
            others: 3,
            without_owner: 1,
        };
        assert_eq!((found.map, found.ranges), (1, expected));
        let left = found.lease_seconds_left;
        assert!(
            found.in_session && (3_000.0..=3_600.0).contains(&left),
            "{left}"
        );
        let nodes = found.nodes.iter();
        let nodes: Vec<_> = nodes.map(|node| (&*node.name, node.ranges)).collect();
        assert_eq!(nodes, [("a", 4), ("b", 1), ("c", 2)]);
        let owners = ClusterMap::read(&membership).owners;
        let some = |index| Some(index);
        assert_eq!(owners[3..], [some(0), some(1), some(2), some(2), None]);
    }
}
