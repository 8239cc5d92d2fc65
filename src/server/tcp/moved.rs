//! A connection in transit to another worker, with everything that belongs to it.

use std::io;

use super::stream::{Detached, Stream};
use crate::access::{Access, Bucket};
use crate::protocol::framed::RequestId;
use crate::server::exchange::WorkerId;
use crate::server::resp::Session;
use crate::server::status::OpenConnection;
use crate::server::worker::ReplyEncoder;

/// A connection in transit to another worker. None of its requests is in flight.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(super) stream: Detached,
    /// See [`Connection`](super::connection::Connection).
    pub(super) partial: Vec<u8>,
    pub(super) unserved: bool,
    pub(super) encoder: ReplyEncoder,
    pub(super) unsent: Vec<u8>,
    pub(super) resume: Resume,
    /// `None` if it gets that of a new connection.
    pub(super) access: Option<Box<Access>>,
    pub(super) bucket: Bucket,
    /// Counts it, at the worker that it moves to.
    pub(super) open: OpenConnection,
}

/// The phase in which a moved connection resumes.
#[derive(Debug)]
pub(super) enum Resume {
    /// Before its first byte, which decides the dialect.
    Opening,
    /// The answer to a HELLO that named the new worker's shard.
    Hello(RequestId),
    /// The framed dialect.
    Framed,
    /// The Redis protocol.
    Resp(Box<Session>),
}

/// A HELLO that is not answered yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingHello {
    pub(super) id: RequestId,
    /// The worker of the shard that it names, if it names one.
    pub(super) to: Option<WorkerId>,
    /// Whether the connection is to be one of another node.
    pub(super) node: bool,
}

impl Moved {
    /// Puts a connection in transit that was just accepted.
    ///
    /// # Errors
    ///
    /// The runtime could not release its socket.
    pub(super) fn accepted(stream: Stream, open: OpenConnection) -> io::Result<Self> {
        Ok(Self {
            stream: stream.detach()?,
            partial: Vec::new(),
            unserved: false,
            encoder: ReplyEncoder::Framed,
            unsent: Vec::new(),
            resume: Resume::Opening,
            access: None,
            bucket: Bucket::default(),
            open,
        })
    }

    /// Returns the worker that it moves to.
    pub(crate) fn to(&self) -> WorkerId {
        self.open.worker()
    }
}
