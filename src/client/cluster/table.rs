//! The nodes that a client knows, and which of them owns each slot.

use std::sync::Arc;

use tokio::time::Instant;

use super::node::Node;
use crate::protocol::framed::NodeMap;
use crate::topic::{SLOTS, Slot};

/// The index of no node.
const NOBODY: u16 = u16::MAX;

/// See the [module](self). It never changes: a new map makes a new one.
#[derive(Debug)]
pub(super) struct Table {
    /// First those of the URL, which are kept when a map does not name them.
    nodes: Vec<Arc<Node>>,
    /// For each slot the index of its owner, or [`NOBODY`].
    owners: Box<[u16]>,
    /// When the map was told.
    since: Instant,
}

impl Table {
    /// Creates the table of a client that knows the nodes of its URL, and no map.
    pub(super) fn new(nodes: Vec<Arc<Node>>) -> Self {
        Self {
            nodes,
            owners: [NOBODY; SLOTS as usize].into(),
            since: Instant::now(),
        }
    }

    /// Returns the table after `teller` told a map. The first `fixed` nodes are kept in any case. `create`
    /// makes a node of an address, if that is possible.
    pub(super) fn with_map(
        &self,
        fixed: usize,
        teller: &Arc<Node>,
        map: &NodeMap,
        create: impl Fn(&str) -> Option<Node>,
    ) -> Self {
        let mut nodes = self.nodes[..fixed].to_vec();
        let mut owners: Box<[u16]> = [NOBODY; SLOTS as usize].into();
        for (place, told) in map.nodes.iter().enumerate() {
            let node = if place == usize::from(map.own) {
                Some(Arc::clone(teller))
            } else {
                self.find(&told.address)
                    .or_else(|| create(&told.address).map(Arc::new))
            };
            // Without an address, any other node has to forward its requests.
            let Some(node) = node else { continue };
            let index = position(&nodes, &node).unwrap_or_else(|| {
                nodes.push(node);
                nodes.len() - 1
            });
            for &(first, last) in &told.slots {
                // A map has fewer than 65,535 nodes.
                owners[usize::from(first)..=usize::from(last)].fill(index as u16);
            }
        }
        Self {
            nodes,
            owners,
            since: Instant::now(),
        }
    }

    /// Returns the nodes.
    pub(super) fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// Returns the owner of a slot, if it is known.
    pub(super) fn owner(&self, slot: Slot) -> Option<&Arc<Node>> {
        let index = self.owners[usize::from(slot.number())];
        self.nodes.get(usize::from(index))
    }

    /// Returns the node to send a request to: the owner if it is up, or else another one that is. None of
    /// `gone`, and `avoided` only if it is the only one.
    pub(super) fn choose(
        &self,
        slot: Option<Slot>,
        gone: &[Arc<Node>],
        avoided: Option<&Arc<Node>>,
    ) -> Option<Arc<Node>> {
        let is = |one: &Arc<Node>, other: &&Arc<Node>| Arc::ptr_eq(one, other);
        let usable = |node: &&Arc<Node>| node.is_up() && !gone.iter().any(|gone| is(gone, node));
        let mut others = self.by_preference(slot).filter(usable);
        let found = others.find(|node| avoided.is_none_or(|avoided| !is(avoided, node)));
        found.or(avoided.filter(usable)).cloned()
    }

    /// Returns all nodes: the owner of the slot first, and the others from a place on that differs from slot
    /// to slot, so that they share the work of one that is gone.
    pub(super) fn by_preference(&self, slot: Option<Slot>) -> impl Iterator<Item = &Arc<Node>> {
        let owner = slot.and_then(|slot| self.owner(slot));
        let start = slot.map_or(0, |slot| usize::from(slot.number()) % self.nodes.len());
        let (before, after) = self.nodes.split_at(start);
        let others = after.iter().chain(before);
        let others = others.filter(move |node| owner.is_none_or(|owner| !Arc::ptr_eq(node, owner)));
        owner.into_iter().chain(others)
    }

    /// Returns when the map was told.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    fn find(&self, address: &str) -> Option<Arc<Node>> {
        let known = self.nodes.iter().find(|node| node.is_at(address));
        known.filter(|_| !address.is_empty()).cloned()
    }
}

fn position(nodes: &[Arc<Node>], node: &Arc<Node>) -> Option<usize> {
    nodes.iter().position(|known| Arc::ptr_eq(known, node))
}
