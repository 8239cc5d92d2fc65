//! The ways of a worker to other nodes.

use std::cell::RefCell;
use std::rc::Rc;

use super::link::PeerLink;
use crate::server::cluster::{Owners, PeerId};

/// The links that were needed so far.
#[derive(Default)]
pub(super) struct Links {
    /// By [`PeerId::index`].
    by_peer: RefCell<Vec<Option<Rc<PeerLink>>>>,
    /// Those whose tasks are not started yet.
    new: RefCell<Vec<Rc<PeerLink>>>,
}

impl Links {
    /// Returns the link to a node, one of `owners`. Calls `created` if it is needed for the first time.
    pub(super) fn to(&self, peer: PeerId, owners: &Owners, created: impl FnOnce()) -> Rc<PeerLink> {
        let mut links = self.by_peer.borrow_mut();
        if links.len() <= peer.index() {
            links.resize(peer.index() + 1, None);
        }
        let link = links[peer.index()].get_or_insert_with(|| {
            let link = Rc::new(PeerLink::new(owners.peer(peer)));
            self.new.borrow_mut().push(Rc::clone(&link));
            created();
            link
        });
        Rc::clone(link)
    }

    /// Returns all links.
    pub(super) fn all(&self) -> Vec<Rc<PeerLink>> {
        self.by_peer.borrow().iter().flatten().cloned().collect()
    }

    /// Takes the links whose tasks are not started yet.
    pub(super) fn take_new(&self) -> Vec<Rc<PeerLink>> {
        self.new.take()
    }
}
