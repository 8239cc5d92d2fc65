//! A call, as its caller hands it to the connection's task.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::oneshot;

use crate::client::outcome::Outcome;
use crate::protocol::framed::{self, Call, RequestId};
use crate::protocol::{Op, Request};

/// A call for the connection's task to send.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: RequestId,
    pub(super) frame: Vec<u8>,
    /// The offset of the topic in `frame`, and whether the call is a COUNT; `None` if the call is
    /// for no topic.
    topic: Option<(usize, bool)>,
    /// Set by the task before it queues the frame for writing, or by the caller when it gives up,
    /// whichever comes first. A call that failed as certainly not applied is therefore never sent.
    pub(super) claimed: Arc<AtomicBool>,
    pub(super) reply: oneshot::Sender<Outcome>,
}

impl Job {
    /// Encodes a call, not claimed yet.
    pub(super) fn new(id: RequestId, call: &Call<'_>, reply: oneshot::Sender<Outcome>) -> Self {
        let mut frame = Vec::new();
        framed::encode_request(id, call, &mut frame);
        let topic = match call {
            Call::Topic(Request { op, topic }) => {
                // The topic is the last part of a frame.
                let start = frame.len() - topic.as_bytes().len();
                Some((start, matches!(op, Op::Count)))
            }
            Call::Hello(_) | Call::Ping(_) | Call::Nodes(_) => None,
        };
        Self {
            id,
            frame,
            topic,
            claimed: Arc::default(),
            reply,
        }
    }

    /// Returns the topic, if the call has one, and whether the call is a COUNT.
    pub(super) fn topic(&self) -> Option<(&[u8], bool)> {
        let (start, is_count) = self.topic?;
        Some((&self.frame[start..], is_count))
    }
}
