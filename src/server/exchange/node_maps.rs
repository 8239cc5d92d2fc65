//! The map of the cluster that NODES is answered with.

use std::fmt;

use crate::protocol::framed::NodeMap;
use crate::server::cluster::Membership;

/// Knows which node of the cluster owns which slots. It is asked for each NODES, since that changes.
pub(crate) trait NodeMaps: fmt::Debug + Send + Sync {
    /// Returns the current map, with this node first.
    fn node_map(&self) -> NodeMap;
}

/// A server that belongs to no cluster.
#[derive(Debug)]
pub(crate) struct Alone;

impl NodeMaps for Alone {
    fn node_map(&self) -> NodeMap {
        NodeMap::alone()
    }
}

impl NodeMaps for Membership {
    fn node_map(&self) -> NodeMap {
        self.node_map()
    }
}
