//! A connection on its way to another worker, with all that is its own.

use std::io;

use tokio::net::TcpStream;

use crate::protocol::framed::RequestId;
use crate::server::exchange::WorkerId;
use crate::server::resp::Session;
use crate::server::status::OpenConnection;
use crate::server::worker::ReplyEncoder;

/// A connection on its way to another worker. Nothing of it is in flight.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(super) stream: std::net::TcpStream,
    /// As the connection had them.
    pub(super) partial: Vec<u8>,
    pub(super) unserved: bool,
    pub(super) spoken: ReplyEncoder,
    pub(super) unsent: Vec<u8>,
    pub(super) onward: Onward,
    /// Which says where to.
    pub(super) open: OpenConnection,
}

/// What a connection that moves goes on with.
#[derive(Debug)]
pub(super) enum Onward {
    /// Its first byte.
    Opening,
    /// A HELLO that named the shard of the worker it moves to, who answers it.
    Hello(RequestId),
    /// Frames.
    Framed,
    /// Commands of the Redis protocol.
    Resp(Box<Session>),
}

impl Moved {
    /// A connection that was just accepted.
    ///
    /// # Errors
    ///
    /// Where the runtime can't let go of its socket.
    pub(crate) fn accepted(stream: TcpStream, open: OpenConnection) -> io::Result<Self> {
        Ok(Self {
            stream: stream.into_std()?,
            partial: Vec::new(),
            unserved: false,
            spoken: ReplyEncoder::Framed,
            unsent: Vec::new(),
            onward: Onward::Opening,
            open,
        })
    }

    /// The worker that it moves to.
    pub(crate) fn to(&self) -> WorkerId {
        self.open.worker()
    }
}
