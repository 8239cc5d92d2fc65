//! What all connections of one worker share, beside what all its tasks do.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::moved::Moved;
use crate::protocol::{classic, framed};
use crate::server::exchange::Requests;
use crate::server::worker::Worker;
use crate::topic::Shards;

/// The most bytes that one read returns: the longest classic message.
pub(super) const READ_LEN: usize = classic::MAX_MESSAGE;

/// The TCP half of a worker.
pub(crate) struct TcpPort {
    pub(super) worker: Rc<Worker>,
    pub(super) scratch: RefCell<Scratch>,
    /// Where every worker gets the connections that move to it. No more can be on their way than may
    /// be open.
    departures: Arc<[mpsc::UnboundedSender<Moved>]>,
}

/// Buffers that a worker's connections share: each is used within one poll of one connection.
pub(super) struct Scratch {
    pub(super) input: Box<[u8]>,
    pub(super) output: Vec<u8>,
    pub(super) requests: Requests,
}

impl Scratch {
    fn new(shards: Shards) -> Self {
        Self {
            input: vec![0; framed::MAX_FRAME + READ_LEN].into(),
            output: Vec::new(),
            requests: Requests::new(shards),
        }
    }
}

impl TcpPort {
    /// The TCP half of `worker`; each other worker is reached through its one of `departures`.
    pub(crate) fn new(worker: Rc<Worker>, departures: Arc<[mpsc::UnboundedSender<Moved>]>) -> Self {
        let scratch = RefCell::new(Scratch::new(worker.shared().shards()));
        Self {
            worker,
            scratch,
            departures,
        }
    }

    /// Has the worker that a connection moves to serve it from now on.
    pub(super) fn move_away(&self, moved: Moved) {
        // Where that worker is gone, the connection is dropped here, which closes it.
        let _ = self.departures[usize::from(moved.to().0)].send(moved);
    }
}
