//! Where a request came from, and so where its reply goes: a worker's connection, or the peer of a
//! datagram.

use crate::protocol::Reply;
use crate::protocol::framed::RequestId;
use crate::server::net::sys::Peer;
use crate::shard;
use crate::topic::ShardId;

/// A shard whose requests know the way of their replies.
pub(crate) type Shard = shard::Shard<Origin>;

/// One worker of the server, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WorkerId(pub(crate) u16);

/// Each worker serves the shard of its number without hops.
impl WorkerId {
    /// The worker of that shard.
    pub(crate) fn of(shard: ShardId) -> Self {
        Self(shard.number())
    }

    /// The shard of this worker.
    pub(crate) fn shard(self) -> ShardId {
        ShardId::new(self.0)
    }
}

/// One TCP connection of a worker. Never the same for two connections, however many come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionKey {
    /// Its place in the worker's table, which a later connection may take.
    pub(crate) index: usize,
    /// Counts the worker's connections.
    pub(crate) serial: u64,
}

/// A datagram that asked something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Datagram {
    /// Who sent it.
    pub(crate) peer: Peer,
    /// Whether its replies are classic messages, or frames.
    pub(crate) classic: bool,
    /// The most bytes of frames that a datagram of its replies may have.
    pub(crate) reply_limit: usize,
}

/// Where a request came from that waits for the store, and where its reply goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// The worker that has its connection, or received its datagram.
    pub(crate) worker: WorkerId,
    pub(crate) requester: Requester,
    /// What its reply carries.
    pub(crate) id: RequestId,
}

/// Who asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Requester {
    Connection(ConnectionKey),
    Datagram(Datagram),
}

/// A reply that waited for the store.
pub(crate) type LateReply = (Origin, Reply);
