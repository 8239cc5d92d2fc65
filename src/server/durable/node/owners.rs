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
    /// What the workers were told last.
    published: Vec<Owner>,
    /// The load of each range that is coming or here, and whether all shards know of it.
    loads: Vec<(LoadId, bool)>,
}

impl Publisher {
    pub(super) fn new(shared: Arc<Shared>, membership: Arc<Membership>) -> Self {
        let ranges = usize::from(membership.owners.ranges());
        let state = State {
            owners: vec![Owner::Nobody; ranges],
            published: vec![Owner::Nobody; ranges],
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
        if state.loads[range.index()].0 == load {
            state.loads[range.index()].1 = true;
            self.publish(&mut state);
        }
    }

    /// Takes the owners from the node.
    pub(super) fn update(&self, node: &Node) {
        let mut state = self.state.lock();
        for (range, owner) in RangeId::all(self.membership.owners.ranges()).zip(&mut state.owners) {
            *owner = node.owner(range);
        }
        self.publish(&mut state);
    }

    /// The state is locked, so nobody else updates the map at the same time.
    fn publish(&self, state: &mut State) {
        let State {
            owners,
            published,
            loads,
        } = state;
        for ((published, owner), &(_, begun)) in
            published.iter_mut().zip(owners.iter()).zip(loads.iter())
        {
            if *owner != Owner::ThisNode || begun {
                published.clone_from(owner);
            }
        }
        let owner = |range: RangeId| published[range.index()].clone();
        if self.membership.owners.update(owner) {
            self.shared.wake_workers();
        }
    }
}
