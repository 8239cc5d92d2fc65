//! Where the requests for each range were sent, so that those that come later do not overtake them.
//!
//! A node that refuses a request may serve the next one: it learns of its ranges at its own time. So only
//! one request is sent at first, until the node has served one. A request for a range whose earlier
//! requests are at another place waits until these are answered.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::cluster::RangeId;
use crate::server::cluster::{Owners, PeerId, RangeOwner};

/// Where requests for a range are.
#[derive(Debug, Clone, Copy, Default)]
struct Route {
    /// Where they were sent last.
    peer: Option<PeerId>,
    /// Whether this node has served one of them.
    confirmed: bool,
    /// How many have no answer.
    outstanding: u32,
    /// Since when the node is not the owner any more although requests for the range are there.
    stale_since: Option<Instant>,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Routes {
    routes: Box<[Route]>,
    /// Ranges with requests that wait here, or are at a node that does not own the range any more.
    unsettled: BTreeSet<RangeId>,
}

impl Routes {
    pub(super) fn new(ranges: u16) -> Self {
        Self {
            routes: vec![Route::default(); ranges.into()].into(),
            unsettled: BTreeSet::new(),
        }
    }

    /// Returns whether a request for a range may be sent to a node now, and counts it if so.
    pub(super) fn send(&mut self, range: RangeId, to: PeerId) -> bool {
        let route = &mut self.routes[range.index()];
        if route.peer != Some(to) && route.outstanding == 0 {
            (route.peer, route.confirmed, route.stale_since) = (Some(to), false, None);
        }
        let may = route.peer == Some(to) && (route.confirmed || route.outstanding == 0);
        route.outstanding += u32::from(may);
        may
    }

    /// Notes the answer to a request that was sent; `served`: that its receiver serves the range.
    pub(super) fn answered(&mut self, range: RangeId, served: bool) {
        let route = &mut self.routes[range.index()];
        route.outstanding -= 1;
        route.confirmed = served;
    }

    /// Returns whether no request for a range is at another node.
    pub(super) fn is_idle(&self, range: RangeId) -> bool {
        self.routes[range.index()].outstanding == 0
    }

    /// Marks a range as one for which later requests must not be applied at once.
    pub(super) fn unsettle(&mut self, range: RangeId) {
        self.unsettled.insert(range);
    }

    /// Marks the ranges that have changed hands by `now` while requests for them are at another node.
    pub(super) fn unsettle_stale(&mut self, owners: &Owners, now: Instant) {
        for range in RangeId::all(owners.ranges()) {
            let is_stale = !self.is_idle(range) && !self.is_at(range, owners.owner(range));
            let stale_since = &mut self.routes[range.index()].stale_since;
            if is_stale {
                stale_since.get_or_insert(now);
                self.unsettled.insert(range);
            } else {
                *stale_since = None;
            }
        }
    }

    /// Returns the nodes that still have requests for ranges which they lost before `before`.
    pub(super) fn silent(&self, before: Instant) -> BTreeSet<PeerId> {
        let routes = self
            .unsettled
            .iter()
            .map(|range| &self.routes[range.index()]);
        let silent = routes.filter(|route| {
            route.outstanding > 0 && route.stale_since.is_some_and(|since| since < before)
        });
        silent.filter_map(|route| route.peer).collect()
    }

    /// Removes the mark of a range for which nothing waits here, if nothing is at another node than its
    /// owner.
    pub(super) fn settle(&mut self, range: RangeId, owner: RangeOwner) {
        if self.is_idle(range) || self.is_at(range, owner) {
            self.unsettled.remove(&range);
        }
    }

    /// Returns whether the requests for a range were sent to this owner.
    fn is_at(&self, range: RangeId, owner: RangeOwner) -> bool {
        match (owner, self.routes[range.index()].peer) {
            (RangeOwner::Other(owner), Some(peer)) => owner == peer,
            _ => false,
        }
    }

    pub(super) fn is_unsettled(&self, range: RangeId) -> bool {
        self.unsettled.contains(&range)
    }

    /// Returns whether no range is marked.
    pub(super) fn all_settled(&self) -> bool {
        self.unsettled.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::{NodeName, Owner};

    /// Two other nodes of a cluster with two ranges, and the ranges.
    fn peers() -> (Owners, [PeerId; 2], [RangeId; 2]) {
        let owners = Owners::new(2, NodeName::new("a"), "a:1".into());
        owners.update(|range| {
            let name = ["b", "c"][range.index()];
            Owner::Other(NodeName::new(name), name.into())
        });
        let ranges: Vec<_> = RangeId::all(2).collect();
        let peer = |range| match owners.owner(range) {
            RangeOwner::Other(peer) => peer,
            owner => panic!("{owner:?}"),
        };
        let peers = [peer(ranges[0]), peer(ranges[1])];
        (owners, peers, [ranges[0], ranges[1]])
    }

    #[test]
    fn one_request_is_sent_until_its_receiver_has_served_one() {
        let (_, [b, _], [range, other]) = peers();
        let mut routes = Routes::new(2);
        assert!(routes.send(range, b));
        assert!(!routes.send(range, b));
        assert!(routes.send(other, b), "each range for itself");
        routes.answered(range, false);
        assert!(routes.send(range, b));
        assert!(!routes.send(range, b));
        routes.answered(range, true);
        assert!(routes.send(range, b) && routes.send(range, b));
        routes.answered(range, false);
        assert!(!routes.send(range, b), "it has lost the range");
    }

    #[test]
    fn later_requests_wait_until_those_at_another_node_are_answered() {
        let (owners, [b, c], [range, _]) = peers();
        let mut routes = Routes::new(2);
        let now = Instant::now();
        assert!(routes.send(range, b));
        routes.unsettle_stale(&owners, now);
        assert!(routes.all_settled());
        owners.update(|_| Owner::ThisNode);
        routes.unsettle_stale(&owners, now);
        assert!(routes.is_unsettled(range) && !routes.is_idle(range));
        assert!(!routes.send(range, c));
        routes.settle(range, RangeOwner::ThisNode);
        assert!(routes.is_unsettled(range));
        routes.answered(range, false);
        routes.settle(range, RangeOwner::ThisNode);
        assert!(routes.all_settled());
        assert!(routes.send(range, c));
    }

    #[test]
    fn a_node_is_silent_if_it_keeps_requests_for_a_range_that_it_lost() {
        let (owners, [b, c], [range, other]) = peers();
        let mut routes = Routes::new(2);
        let begin = Instant::now();
        let [lost, later] = [1, 2].map(|seconds| begin + Duration::from_secs(seconds));
        assert!(routes.send(range, b) && routes.send(other, c));
        routes.unsettle_stale(&owners, begin);
        assert!(routes.silent(later).is_empty(), "it owns the range");
        owners.update(|_| Owner::ThisNode);
        routes.unsettle_stale(&owners, lost);
        assert!(routes.silent(lost).is_empty(), "not longer than that");
        assert_eq!(routes.silent(later), BTreeSet::from([b, c]));
        routes.answered(other, false);
        assert_eq!(routes.silent(later), BTreeSet::from([b]));
        owners.update(|_| Owner::Other(NodeName::new("b"), "b".into()));
        routes.unsettle_stale(&owners, later);
        assert!(routes.silent(later).is_empty(), "it has the range again");
    }
}
