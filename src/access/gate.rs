//! The check of each request, for decoders that are compiled once with it and once without.

use super::grant::Grant;
use super::meter::Meter;
use super::right::Right;
use crate::protocol::Request;

/// Decides whether a request is allowed. A decoder takes it as a type parameter, so that a server
/// without access control runs no check at all.
pub(crate) trait Gate {
    /// Whether access is controlled: HELLO and AUTH are checked then.
    const CHECKS: bool;

    /// Whether the requests come from another node of the cluster.
    const BETWEEN_NODES: bool = false;

    /// Takes room for one more request or other call. Returns false if that would be over the rate of
    /// the peer.
    fn admits(&self) -> bool;

    /// Returns whether `request` is allowed.
    fn allows(&self, request: &Request<'_>) -> bool;

    /// Returns whether the peer may do anything at all.
    fn allows_any(&self) -> bool;
}

/// Allows everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Open;

impl Gate for Open {
    const CHECKS: bool = false;

    #[inline(always)]
    fn admits(&self) -> bool {
        true
    }

    #[inline(always)]
    fn allows(&self, _: &Request<'_>) -> bool {
        true
    }

    fn allows_any(&self) -> bool {
        true
    }
}

/// Allows everything that another node forwards: it has checked the requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Forwarded;

impl Gate for Forwarded {
    const CHECKS: bool = true;
    const BETWEEN_NODES: bool = true;

    fn admits(&self) -> bool {
        true
    }

    fn allows(&self, _: &Request<'_>) -> bool {
        true
    }

    fn allows_any(&self) -> bool {
        true
    }
}

/// Allows what a grant allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Topics<'a> {
    grant: &'a Grant,
    /// The right that RESET and DELETE need.
    reset: Right,
}

impl<'a> Topics<'a> {
    /// Returns the gate for requests of a connection.
    pub(crate) fn of_connection(grant: &'a Grant) -> Self {
        let reset = Right::Reset;
        Self { grant, reset }
    }

    /// Returns the gate for requests in datagrams.
    pub(crate) fn of_datagram(grant: &'a Grant) -> Self {
        let reset = Right::UdpReset;
        Self { grant, reset }
    }
}

impl Gate for Topics<'_> {
    const CHECKS: bool = true;

    #[inline(always)]
    fn admits(&self) -> bool {
        true
    }

    #[inline]
    fn allows(&self, request: &Request<'_>) -> bool {
        let right = match Right::for_op(request.op) {
            Right::Reset => self.reset,
            right => right,
        };
        self.grant.allows(right, request.topic.as_bytes())
    }

    fn allows_any(&self) -> bool {
        !self.grant.is_empty()
    }
}

/// Allows what a grant allows, as long as the rate of a connection and of its token permits.
#[derive(Debug)]
pub(crate) struct Limited<'a> {
    /// `None` if every peer may do everything.
    topics: Option<Topics<'a>>,
    meter: &'a Meter<'a>,
}

impl<'a> Limited<'a> {
    /// Returns the gate for requests of a connection with this grant.
    pub(crate) fn of_connection(grant: Option<&'a Grant>, meter: &'a Meter<'a>) -> Self {
        let topics = grant.map(Topics::of_connection);
        Self { topics, meter }
    }
}

impl Gate for Limited<'_> {
    const CHECKS: bool = true;

    fn admits(&self) -> bool {
        self.meter.take(1)
    }

    fn allows(&self, request: &Request<'_>) -> bool {
        let topics = self.topics.as_ref();
        topics.is_none_or(|topics| topics.allows(request))
    }

    fn allows_any(&self) -> bool {
        let topics = self.topics.as_ref();
        topics.is_none_or(Topics::allows_any)
    }
}
