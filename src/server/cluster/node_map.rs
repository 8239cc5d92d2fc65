//! The map that NODES is answered with.

use super::membership::Membership;
use crate::protocol::framed::{MapNode, NodeMap};

impl Membership {
    /// Returns the map of the cluster, as this node knows it.
    pub(crate) fn node_map(&self) -> NodeMap {
        // First: the map is not older than its number says.
        let number = self.owners.number();
        let nodes = self.owners.map().into_iter().map(|node| MapNode {
            address: node.node.address.to_string(),
            slots: node
                .slots
                .iter()
                .map(|slots| (*slots.start(), *slots.end()))
                .collect(),
        });
        NodeMap {
            number,
            own: 0,
            nodes: nodes.collect(),
        }
    }
}
