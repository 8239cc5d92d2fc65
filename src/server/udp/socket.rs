//! A worker's UDP socket and the replies that wait to be sent from it.

use std::cell::RefCell;
use std::io;
use std::os::fd::AsFd;
use std::task::Waker;

use socket2::Socket;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tracing::debug;

use super::pack::{pack_answers, pack_replies};
use crate::protocol::Reply;
use crate::protocol::framed::{Answer, RequestId};
use crate::server::exchange::{
    Batch, Datagram, Datagrams, LateReply, Queued, ReplyFormat, Requester,
};
use crate::server::net::sys::{self, Outgoing, Peer};
use crate::server::status::Counters;
use crate::server::worker::DatagramReplies;

/// A worker's UDP socket and the replies that wait to be sent from it.
pub(crate) struct DatagramSocket {
    pub(super) inner: UdpSocket,
    outgoing: RefCell<Outgoing>,
    /// Batches whose replies are in `outgoing`.
    answered: RefCell<Vec<Box<Batch>>>,
    /// Wakes the task that receives. It also sends what the socket did not take at once.
    pub(super) waker: RefCell<Option<Waker>>,
    /// Notified whenever all replies are sent.
    flushed: tokio::sync::Notify,
}

impl DatagramSocket {
    /// Registers the socket with the worker's runtime.
    ///
    /// # Errors
    ///
    /// The runtime cannot register it.
    pub(crate) fn new(socket: Socket) -> io::Result<Self> {
        // An older kernel receives and sends datagrams one by one.
        if let Err(error) = sys::enable_gro(socket.as_fd()) {
            debug!(%error, "cannot enable UDP_GRO; datagrams are received one by one");
        }
        if let Err(error) = sys::enable_drop_count(socket.as_fd()) {
            debug!(%error, "cannot enable SO_RXQ_OVFL; dropped datagrams are not counted");
        }
        let mut outgoing = Outgoing::new();
        outgoing.set_segmentation(sys::knows_segmentation(socket.as_fd()));
        Ok(Self {
            inner: UdpSocket::from_std(socket.into())?,
            outgoing: RefCell::new(outgoing),
            answered: RefCell::default(),
            waker: RefCell::new(None),
            flushed: tokio::sync::Notify::new(),
        })
    }

    /// Wakes the task that receives.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Waits until all replies are sent.
    pub(crate) async fn flushed(&self) {
        while !self.is_flushed() {
            self.flushed.notified().await;
        }
    }

    /// Returns whether all replies are sent.
    pub(super) fn is_flushed(&self) -> bool {
        self.outgoing.borrow().is_empty()
    }

    /// Packs replies to requests that came in `datagrams`: see [`pack_replies`].
    pub(super) fn pack_replies(
        &self,
        datagrams: &Datagrams,
        requests: &[Queued],
        replies: &[Option<Reply>],
    ) {
        let outgoing = &mut self.outgoing.borrow_mut();
        pack_replies(outgoing, datagrams, requests, replies);
    }

    /// Packs answers to a peer: see [`pack_answers`].
    pub(super) fn pack_answers<'a>(
        &self,
        peer: &Peer,
        format: ReplyFormat,
        answers: impl Iterator<Item = (RequestId, Answer<'a>)>,
    ) {
        let outgoing = &mut self.outgoing.borrow_mut();
        let to = outgoing.recipient(peer);
        pack_answers(outgoing, to, format, answers);
    }
}

impl DatagramReplies for DatagramSocket {
    fn answer(&self, batch: Box<Batch>) {
        let (requests, replies) = batch.outcomes();
        self.pack_replies(&batch.datagrams, requests, replies);
        self.answered.borrow_mut().push(batch);
    }

    fn answer_late(&self, replies: &[LateReply]) {
        fn datagram_of((origin, _): &LateReply) -> Option<&Datagram> {
            match &origin.requester {
                Requester::Datagram(datagram) => Some(datagram),
                Requester::Connection(_) | Requester::Node(_) => None,
            }
        }
        for replies in replies.chunk_by(|one, next| datagram_of(one) == datagram_of(next)) {
            if let Some(datagram) = datagram_of(&replies[0]) {
                let answers = replies
                    .iter()
                    .map(|(origin, reply)| (origin.id, Answer::Reply(*reply)));
                self.pack_answers(&datagram.peer, datagram.format, answers);
            }
        }
    }

    fn flush(&self, counters: &Counters) -> Vec<Box<Batch>> {
        let mut outgoing = self.outgoing.borrow_mut();
        if !outgoing.is_empty() {
            let bytes = outgoing.bytes();
            let sent = self
                .inner
                .try_io(Interest::WRITABLE, || outgoing.send(self.inner.as_fd()));
            match sent {
                Ok(0) => counters.udp_sent(bytes),
                Ok(refused) => debug!(refused, "the kernel refused to send replies"),
                Err(_) => {
                    self.wake();
                    return Vec::new();
                }
            }
            self.flushed.notify_waiters();
        }
        self.answered.take()
    }
}
