//! A request that waits apart from its batch.

use std::time::Instant;

use crate::cluster::RangeId;
use crate::protocol::{Op, Request};
use crate::topic::Topic;

/// A request that has no reply yet, with all that is needed to apply it later, here or at another node.
/// `W` says where its reply goes.
#[derive(Debug)]
pub struct Parked<W> {
    op: Op,
    topic: Box<[u8]>,
    range: RangeId,
    /// When it was parked first.
    since: Instant,
    /// Where its reply goes.
    pub waiter: W,
}

impl<W> Parked<W> {
    /// Parks a request that was parked first at `since`.
    pub(super) fn new(request: Request<'_>, range: RangeId, since: Instant, waiter: W) -> Self {
        Self {
            op: request.op,
            topic: request.topic.as_bytes().into(),
            range,
            since,
            waiter,
        }
    }

    /// Parks a request now, whose topic is in this range.
    pub fn now(request: Request<'_>, range: RangeId, waiter: W) -> Self {
        Self::new(request, range, Instant::now(), waiter)
    }

    /// Returns the request.
    #[must_use]
    pub fn request(&self) -> Request<'_> {
        Request {
            op: self.op,
            topic: Topic::checked_before(&self.topic),
        }
    }

    /// Returns the range of the topic.
    #[must_use]
    pub fn range(&self) -> RangeId {
        self.range
    }

    /// Splits off where the reply goes.
    pub(super) fn split(self) -> (Parked<()>, W) {
        let Self {
            op,
            topic,
            range,
            since,
            waiter,
        } = self;
        let request = Parked {
            op,
            topic,
            range,
            since,
            waiter: (),
        };
        (request, waiter)
    }

    /// Returns when the request was parked first.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }
}
