//! Which node a range is assigned to. Every node computes the same from the same sessions.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use super::fault::{Fault, planted};
use super::slot::RangeId;
use super::view::{NodeName, Session, View};

/// Returns the node that each range is assigned to while these sessions are live, as all nodes compute it:
/// see docs/cluster.md, "Placement". `None` if no session is live.
#[must_use]
pub fn assignments(sessions: &BTreeMap<NodeName, Session>, ranges: u16) -> Vec<Option<NodeName>> {
    assign(sessions, ranges, &NodeName::new(""))
}

/// Returns the node that each range is assigned to according to a view.
pub(super) fn place(view: &View, ranges: u16, computed_by: &NodeName) -> Vec<Option<NodeName>> {
    assign(view.sessions(), ranges, computed_by)
}

/// Among the nodes that do not drain, or among all if all do, a range is assigned to the one with the
/// highest hash of range and name (rendezvous hashing). So if a node appears or disappears, only its
/// share of the ranges moves.
fn assign(
    sessions: &BTreeMap<NodeName, Session>,
    ranges: u16,
    computed_by: &NodeName,
) -> Vec<Option<NodeName>> {
    let all_drain = sessions.values().all(|session| session.draining);
    let nodes: Vec<&NodeName> = sessions
        .iter()
        .filter(|(_, session)| all_drain || !session.draining)
        .map(|(node, _)| node)
        .collect();
    RangeId::all(ranges)
        .map(|range| {
            nodes
                .iter()
                .max_by_key(|node| (weight(range, node, computed_by), **node))
                .map(|&node| node.clone())
        })
        .collect()
}

/// The hash of a range's number (two bytes, big-endian) and a node's name. It is part of the format:
/// nodes of all versions compute it alike.
fn weight(range: RangeId, node: &NodeName, computed_by: &NodeName) -> u64 {
    let mut bytes = range.number().to_be_bytes().to_vec();
    bytes.extend_from_slice(node.as_str().as_bytes());
    if planted(Fault::PlacementDiffers) {
        bytes.extend_from_slice(computed_by.as_str().as_bytes());
    }
    xxh3_64(&bytes)
}
