//! Requests that were sent to another node and have no reply yet.

use std::time::Instant;

use slab::Slab;

use super::request::Request;
use crate::cluster::RangeId;
use crate::protocol::framed::RequestId;

/// The requests that were sent over one connection.
#[derive(Debug, Default)]
pub(super) struct Pending {
    requests: Slab<(RangeId, Request)>,
}

impl Pending {
    /// Returns the id that the next request is sent with.
    pub(super) fn next_id(&self) -> RequestId {
        RequestId(self.requests.vacant_key() as u32) // far fewer are pending
    }

    /// Adds a request, which was sent with [`next_id`](Self::next_id).
    pub(super) fn add(&mut self, range: RangeId, request: Request) {
        self.requests.insert((range, request));
    }

    /// Takes the request that a reply belongs to; `None` if there is none.
    pub(super) fn take(&mut self, id: RequestId) -> Option<(RangeId, Request)> {
        self.requests.try_remove(id.0 as usize)
    }

    /// Takes all requests.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = (RangeId, Request)> {
        std::mem::take(&mut self.requests)
            .into_iter()
            .map(|(_, request)| request)
    }

    /// Returns whether a request was parked first before `before`.
    pub(super) fn has_older(&self, before: Instant) -> bool {
        self.requests
            .iter()
            .any(|(_, (_, request))| request.since() < before)
    }
}
