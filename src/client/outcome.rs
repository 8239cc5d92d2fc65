//! The outcome of a call, the same for every transport.

use std::sync::Arc;

use super::error::Failure;
use crate::protocol::Reply;
use crate::protocol::framed::{Answer, NodeMap};

/// A call's response, or why there is none.
pub(super) type Outcome = Result<Response, Failure>;

/// What a client keeps of a reply frame.
#[derive(Debug, Clone)]
pub(super) enum Response {
    /// The reply to a request for a topic, or an error.
    Reply(Reply),
    /// The reply to PING.
    Pong,
    /// A reply to HELLO, which no call sends.
    Hello,
    /// The reply to NODES; `None` if it cannot be decoded.
    Nodes(Option<Arc<NodeMap>>),
}

impl From<Answer<'_>> for Response {
    fn from(answer: Answer<'_>) -> Self {
        match answer {
            Answer::Reply(reply) => Self::Reply(reply),
            Answer::Pong(_) => Self::Pong,
            Answer::Hello(_) => Self::Hello,
            Answer::Nodes(body) => Self::Nodes(NodeMap::decode(body).map(Arc::new)),
        }
    }
}
