//! A worker's UDP socket and the replies that wait to be sent from it.

use std::cell::RefCell;
use std::io;
use std::os::fd::AsFd;
use std::task::Waker;

use socket2::Socket;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tracing::debug;

use super::pack::Packer;
use crate::protocol::framed::Answer;
use crate::server::exchange::{Batch, Datagram, LateReply, Requester};
use crate::server::net::sys::{self, Outgoing};
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

    /// Returns a packer whose datagrams [`flush`](DatagramReplies::flush) sends.
    pub(super) fn packer(&self) -> Packer<'_> {
        Packer::new(self.outgoing.borrow_mut())
    }
}

impl DatagramReplies for DatagramSocket {
    fn answer(&self, batch: Box<Batch>) {
        let mut packer = self.packer();
        for (request, reply) in batch.replies() {
            let datagram = &batch.datagrams[request.datagram as usize];
            let answer = Answer::Reply(reply);
            packer.add(request.datagram, datagram, request.id, &answer);
        }
        drop(packer);
        self.answered.borrow_mut().push(batch);
    }

    fn answer_late(&self, replies: &[LateReply]) {
        let mut packer = self.packer();
        let mut index = 0;
        let mut last: Option<Datagram> = None;
        for (origin, reply) in replies {
            let Requester::Datagram(datagram) = &origin.requester else {
                continue;
            };
            if !last.is_some_and(|last| last.peer == datagram.peer && !datagram.classic) {
                index += 1;
            }
            last = Some(**datagram);
            packer.add(index, datagram, origin.id, &Answer::Reply(*reply));
        }
    }

    fn flush(&self) -> Vec<Box<Batch>> {
        let mut outgoing = self.outgoing.borrow_mut();
        if !outgoing.is_empty() {
            let sent = self
                .inner
                .try_io(Interest::WRITABLE, || outgoing.send(self.inner.as_fd()));
            match sent {
                Ok(0) => {}
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
