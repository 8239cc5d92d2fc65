//! State that the TCP connections of one worker share, and its other tasks do not use.

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

/// See the [module](self).
pub(crate) struct TcpContext {
    pub(super) worker: Rc<Worker>,
    pub(super) scratch: RefCell<Scratch>,
    /// The channel of each worker for connections that move to it. Not more of them can be in
    /// transit than may be open.
    departures: Arc<[mpsc::UnboundedSender<Moved>]>,
}

/// Buffers that a worker's connections share. Each use is within one poll of one connection.
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

impl TcpContext {
    /// Creates the context of `worker`. `departures` has a channel to each worker, in their order.
    pub(crate) fn new(worker: Rc<Worker>, departures: Arc<[mpsc::UnboundedSender<Moved>]>) -> Self {
        let scratch = RefCell::new(Scratch::new(worker.shared().shards()));
        Self {
            worker,
            scratch,
            departures,
        }
    }

    /// Hands a connection to the worker that it moves to.
    pub(super) fn move_away(&self, moved: Moved) {
        // If that worker is gone, the connection is dropped here, which closes it.
        let _ = self.departures[usize::from(moved.to().0)].send(moved);
    }
}
