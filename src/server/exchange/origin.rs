//! Where a request came from and where its reply goes: a connection of a worker, or the peer that
//! sent a datagram.

use crate::protocol::framed::RequestId;
use crate::protocol::{Method, Reply};
use crate::server::net::sys::Peer;
use crate::shard;
use crate::topic::ShardId;

/// A shard in which each waiting request has its origin, so that its reply can be sent.
pub(crate) type Shard = shard::Shard<Origin>;

/// The number of a worker, counted from 0. Each worker serves the shard of the same number without
/// hops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WorkerId(pub(crate) u16);

impl WorkerId {
    /// Returns the worker that serves `shard` without hops.
    pub(crate) fn of(shard: ShardId) -> Self {
        Self(shard.number())
    }

    /// Returns the shard that this worker serves without hops.
    pub(crate) fn shard(self) -> ShardId {
        ShardId::new(self.0)
    }
}

/// Identifies a TCP connection of a worker. A key is never used for a second connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionKey {
    /// Index in the worker's table of connections. A later connection may get the same index.
    pub(crate) index: u32,
    /// Number of the connection among all that the worker ever had.
    pub(crate) serial: u64,
}

/// A datagram that contained requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Datagram {
    /// The peer that sent it.
    pub(crate) peer: Peer,
    pub(crate) format: ReplyFormat,
}

/// The form of the replies to the requests of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyFormat {
    /// One classic message.
    Classic,
    /// Frames, at most `limit` bytes of them in one datagram.
    Framed { limit: u16 },
}

/// The origin of a request that waits for the store, to which its reply goes.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The worker that has the connection, or that received the datagram.
    pub(crate) worker: WorkerId,
    pub(crate) requester: Requester,
    pub(crate) method: Method,
    /// The id that the reply carries.
    pub(crate) id: RequestId,
}

// There is one for each waiting request, and it is moved several times.
const _: () = assert!(size_of::<Origin>() <= 32);

/// The connection or the datagram that a request came from.
#[derive(Debug)]
pub(crate) enum Requester {
    /// A connection of a client.
    Connection(ConnectionKey),
    /// A connection of another node, which forwards requests.
    Node(ConnectionKey),
    Datagram(Box<Datagram>),
}

impl Requester {
    /// Returns the connection, if it is one.
    pub(crate) fn connection(&self) -> Option<ConnectionKey> {
        match self {
            Self::Connection(key) | Self::Node(key) => Some(*key),
            Self::Datagram(_) => None,
        }
    }

    /// Returns whether the request was forwarded by another node.
    pub(crate) fn is_node(&self) -> bool {
        matches!(self, Self::Node(_))
    }

    /// Returns whether both are the same connection. Datagrams are not compared.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let connection = self.connection();
        connection.is_some() && connection == other.connection()
    }
}

/// A reply that had to wait for the store, and its destination.
pub(crate) type LateReply = (Origin, Reply);
