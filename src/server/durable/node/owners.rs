//! Publishes the owners of ranges to the workers.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::cluster::{Node, Owner, RangeId};
use crate::server::cluster::Membership;
use crate::server::exchange::Shared;
use crate::shard::LoadId;

/// Tells the workers who owns what. This node is shown as an owner only when all its shards know that a
/// range is coming: a request that a worker submits to them must find the range, or it would be overtaken
/// by a later one.
#[derive(Clone)]
pub(super) struct Publisher {
    shared: Arc<Shared>,
    membership: Arc<Membership>,
    state: Arc<Mutex<State>>,
}

struct State {
    /// The owners that the node knows of.
    owners: Vec<Owner>,
    /// The load of each range that is coming or here, and whether all shards know of it.
    loads: Vec<(LoadId, bool)>,
}

impl Publisher {
    pub(super) fn new(shared: Arc<Shared>, membership: Arc<Membership>) -> Self {
        let ranges = usize::from(membership.owners.ranges());
        let state = State {
            owners: vec![Owner::Nobody; ranges],
            loads: vec![(LoadId::NONE, false); ranges],
        };
        Self {
            shared,
            membership,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Notes the load that a range comes with.
    pub(super) fn begin_load(&self, range: RangeId, load: LoadId) {
        self.state.lock().loads[range.index()] = (load, false);
    }

    /// Notes that all shards know of a load.
    pub(super) fn load_begun(&self, range: RangeId, load: LoadId) {
        let mut state = self.state.lock();
        let (current, begun) = &mut state.loads[range.index()];
        if *current == load {
            *begun = true;
            self.publish(&state);
        }
    }

    /// Takes the owners from the node.
    pub(super) fn update(&self, node: &Node) {
        let mut state = self.state.lock();
        for (range, owner) in RangeId::all(self.membership.owners.ranges()).zip(&mut state.owners) {
            *owner = node.owner(range);
        }
        self.publish(&state);
    }

    /// The state is locked, so nobody else updates the map at the same time.
    fn publish(&self, state: &State) {
        let owner = |range: RangeId| match &state.owners[range.index()] {
            Owner::ThisNode if !state.loads[range.index()].1 => Owner::Nobody,
            owner => owner.clone(),
        };
        if self.membership.owners.update(owner) {
            self.shared.wake_workers();
        }
    }
}
