//! Which shard owns which topic, according to the server's HELLO replies.

use std::sync::{Arc, Mutex, PoisonError};

use crate::protocol::framed::HelloReply;
use crate::topic::{self, Topic};

/// The latest HELLO reply on any connection of a client, which says who owns which topic. Clones
/// share it. It is a hint: any worker forwards a request to the topic's owner, so an outdated reply
/// costs no more than one hop.
#[derive(Debug, Clone)]
pub(super) struct Owners(Arc<Mutex<HelloReply>>);

impl Owners {
    pub(super) fn new(hello: HelloReply) -> Self {
        Self(Arc::new(Mutex::new(hello)))
    }

    /// Returns the number of the shard that owns a topic.
    pub(super) fn owner(&self, topic: Topic<'_>) -> u16 {
        let HelloReply {
            shards,
            key,
            multiplier,
            ..
        } = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        topic::owner(topic.as_bytes(), key, multiplier, shards)
    }

    /// Replaces the reply with that of a new connection; the server may have restarted meanwhile.
    pub(super) fn update(&self, hello: HelloReply) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = hello;
    }
}
