//! A call on its way to the connection.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::oneshot;

use crate::client::outcome::Outcome;
use crate::protocol::framed::{self, Call, RequestId};
use crate::protocol::{Op, Request};

/// A call on its way to the connection.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: RequestId,
    pub(super) frame: Vec<u8>,
    /// Where in its frame its topic begins, and whether it counts it; `None`: it is for no topic.
    topic: Option<(usize, bool)>,
    /// Who comes first, sets it: the task before it writes the frame, or the caller when it gives
    /// up. So the frame of a call that has failed as certainly not applied is never written.
    pub(super) claimed: Arc<AtomicBool>,
    pub(super) reply: oneshot::Sender<Outcome>,
}

impl Job {
    /// A call that nobody has claimed yet.
    pub(super) fn new(id: RequestId, call: &Call<'_>, reply: oneshot::Sender<Outcome>) -> Self {
        let mut frame = Vec::new();
        framed::encode_request(id, call, &mut frame);
        let topic = match call {
            Call::Topic(Request { op, topic }) => {
                // A frame ends with its topic.
                let start = frame.len() - topic.as_bytes().len();
                Some((start, matches!(op, Op::Count)))
            }
            Call::Hello(_) | Call::Ping(_) => None,
        };
        Self {
            id,
            frame,
            topic,
            claimed: Arc::default(),
            reply,
        }
    }

    /// Its topic, where it has one, and whether it counts it.
    pub(super) fn topic(&self) -> Option<(&[u8], bool)> {
        let (start, is_count) = self.topic?;
        Some((&self.frame[start..], is_count))
    }
}
