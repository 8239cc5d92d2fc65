//! Which shard owns which topic, as the server says in its HELLO replies.

use std::sync::{Arc, Mutex, PoisonError};

use crate::protocol::framed::HelloReply;
use crate::topic::{self, Topic};

/// Who owns which topic, as the server last told one of the connections. It is a hint: whoever gets a
/// request takes it to its owner, so one that is out of date costs no more than a hop.
#[derive(Debug, Clone)]
pub(super) struct Owners(Arc<Mutex<HelloReply>>);

impl Owners {
    pub(super) fn new(hello: HelloReply) -> Self {
        Self(Arc::new(Mutex::new(hello)))
    }

    pub(super) fn owner(&self, topic: Topic<'_>) -> u16 {
        let HelloReply {
            shards,
            key,
            multiplier,
            ..
        } = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        topic::owner(topic.as_bytes(), key, multiplier, shards)
    }

    /// The server, which may be another one by now, says so.
    pub(super) fn learn(&self, hello: HelloReply) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = hello;
    }
}
