//! State that the TCP connections of one worker share, and its other tasks do not use.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::moved::Moved;
use super::stream::Stream;
use crate::access::{Access, Shares};
use crate::protocol::{classic, framed};
use crate::server::exchange::Requests;
use crate::server::net::{CIPHERTEXT_LEN, PLAINTEXT_LEN};
use crate::server::worker::Worker;
use crate::topic::Shards;

/// The most bytes that one read returns: the longest classic message.
pub(super) const READ_LEN: usize = classic::MAX_MESSAGE;

// A read of a TLS connection decrypts into the same buffer.
const _: () = assert!(READ_LEN >= PLAINTEXT_LEN);

/// See the [module](self).
pub(crate) struct TcpContext {
    pub(super) worker: Rc<Worker>,
    pub(super) scratch: RefCell<Scratch>,
    /// What the worker has taken of the rates of tokens.
    pub(super) shares: RefCell<Shares>,
    /// The channel of each worker for connections that move to it. Not more of them can be in
    /// transit than may be open.
    departures: Arc<[mpsc::UnboundedSender<Moved>]>,
    /// Turns true when the server is to stop.
    stop: watch::Receiver<bool>,
}

/// Buffers that a worker's connections share. Each use is within one poll of one connection.
pub(super) struct Scratch {
    pub(super) input: Box<[u8]>,
    /// What TLS connections read from their sockets; empty without TLS.
    pub(super) ciphertext: Box<[u8]>,
    pub(super) output: Vec<u8>,
    pub(super) requests: Requests,
}

impl Scratch {
    fn new(shards: Shards, tls: bool) -> Self {
        let ciphertext_len = if tls { CIPHERTEXT_LEN } else { 0 };
        Self {
            input: vec![0; framed::MAX_FRAME + READ_LEN].into(),
            ciphertext: vec![0; ciphertext_len].into(),
            output: Vec::new(),
            requests: Requests::new(shards),
        }
    }
}

impl TcpContext {
    /// Creates the context of `worker`. `departures` has a channel to each worker, in their order.
    /// `stop` turns true when the server is to stop.
    pub(crate) fn new(
        worker: Rc<Worker>,
        departures: Arc<[mpsc::UnboundedSender<Moved>]>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let tls = worker.status.tls.is_some();
        let scratch = RefCell::new(Scratch::new(worker.shared().shards(), tls));
        Self {
            worker,
            scratch,
            shares: RefCell::default(),
            departures,
            stop,
        }
    }

    /// Waits until the server is to stop.
    pub(super) async fn stopping(&self) {
        let mut stop = self.stop.clone();
        // The result has a lock that holds up whoever stops the server again, so nobody may keep it. An
        // error means that the sender is gone, and the server with it.
        let _ = stop.wait_for(|&stop| stop).await;
    }

    /// Returns what the peer of a new connection may do, whose handshake is complete; `None` if every
    /// peer may do everything.
    pub(super) fn access_of(&self, stream: &Stream) -> Option<Box<Access>> {
        let guard = self.worker.status.config.access.as_ref()?;
        let [peer, _] = stream.addresses();
        // A peer without an address is gone already.
        let address = peer.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.ip());
        let access = Access::new(Arc::clone(guard), address);
        Some(Box::new(match stream.client_name() {
            Some(name) => access.with_certificate(name),
            None => access,
        }))
    }

    /// Hands a connection to the worker that it moves to.
    pub(super) fn move_away(&self, moved: Moved) {
        // If that worker is gone, the connection is dropped here, which closes it.
        let _ = self.departures[usize::from(moved.to().0)].send(moved);
    }
}
