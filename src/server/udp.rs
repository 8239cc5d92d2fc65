//! Datagrams: receives them in batches, has their requests counted, packs the replies. One task and
//! one socket a worker; all workers' sockets share the address.

use std::cell::{RefCell, RefMut};
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use socket2::Socket;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tracing::{debug, warn};

use super::exchange::{
    Asker, Batch, Datagram, FramesEnd, LateReply, Outcome as Submitted, Requests, Source, refusal,
};
use super::net::sys::{self, DATAGRAMS, Outgoing, Peer, Received};
use super::worker::{Worker, give_way};
use crate::protocol::framed::{self, Answer, HelloReply, RequestId};
use crate::protocol::{Dialect, ErrorCode, Reply, classic};

/// The most bytes of replies in one datagram, unless the request's was larger: what fits an
/// Ethernet frame with room for tunnels.
const REPLY_DATAGRAM: usize = 1_400;

/// The most receive calls in one turn of the task, so that a flood of datagrams does not keep
/// connections waiting.
const RECEIVES_PER_TURN: usize = 4;

/// A worker's UDP socket and what waits to be sent from it.
pub(super) struct UdpPort {
    socket: UdpSocket,
    outgoing: RefCell<Outgoing>,
    /// Batches whose replies are in `outgoing`.
    answered: RefCell<Vec<Box<Batch>>>,
    /// The task that serves the socket; it also sends what could not be sent at once.
    waker: RefCell<Option<Waker>>,
    flushed: tokio::sync::Notify,
}

/// What a request came to, until all of its datagram's are there.
enum Outcome {
    Reply(Reply),
    Hello(HelloReply),
    /// To PING: where its body lies among those of the exchange.
    Pong(Range<usize>),
}

/// What becomes of one receive call's datagrams.
struct Exchange {
    datagrams: Vec<Datagram>,
    requests: Requests,
    /// Which datagram, which request, what became of it.
    outcomes: Vec<(u32, RequestId, Outcome)>,
    /// The bodies of PINGs, one after another.
    pings: Vec<u8>,
}

impl UdpPort {
    pub(super) fn new(socket: Socket) -> io::Result<Self> {
        // An older kernel hands over datagrams one by one, and is given them one by one.
        if let Err(error) = sys::enable_gro(socket.as_fd()) {
            debug!(%error, "no UDP_GRO");
        }
        let mut outgoing = Outgoing::new();
        outgoing.set_segmentation(sys::knows_segmentation(socket.as_fd()));
        Ok(Self {
            socket: UdpSocket::from_std(socket.into())?,
            outgoing: RefCell::new(outgoing),
            answered: RefCell::default(),
            waker: RefCell::new(None),
            flushed: tokio::sync::Notify::new(),
        })
    }

    /// Packs the replies of a batch of datagrams that ran here; [`flush`](Self::flush) sends them.
    pub(super) fn answer(&self, batch: Box<Batch>) {
        let mut packer = Packer::new(self);
        for (request, reply) in batch.replies() {
            let datagram = &batch.datagrams[request.datagram as usize];
            let answer = Answer::Reply(reply);
            packer.add(request.datagram, datagram, request.id, &answer);
        }
        drop(packer);
        self.answered.borrow_mut().push(batch);
    }

    /// Packs those of these replies that go to datagrams; [`flush`](Self::flush) sends them. Frames
    /// to one peer go together, as many as fit.
    pub(super) fn answer_late(&self, replies: &[LateReply]) {
        let mut packer = Packer::new(self);
        let mut index = 0;
        let mut last: Option<Datagram> = None;
        for &(origin, reply) in replies {
            let Asker::Datagram(datagram) = origin.asker else {
                continue;
            };
            if !last.is_some_and(|last| last.peer == datagram.peer && !datagram.classic) {
                index += 1;
            }
            last = Some(datagram);
            packer.add(index, &datagram, origin.id, &Answer::Reply(reply));
        }
    }

    /// Sends what waits. What the socket does not take now is sent when it does; until then the
    /// task receives nothing. Returns the batches whose replies are all sent: not before, so that
    /// the other workers' credit bounds what waits here.
    pub(super) fn flush(&self) -> Vec<Box<Batch>> {
        let mut outgoing = self.outgoing.borrow_mut();
        if !outgoing.is_empty() {
            let sent = self
                .socket
                .try_io(Interest::WRITABLE, || outgoing.send(self.socket.as_fd()));
            match sent {
                Ok(0) => {}
                Ok(refused) => debug!(refused, "replies that the kernel would not send"),
                Err(_) => {
                    self.wake();
                    return Vec::new();
                }
            }
            self.flushed.notify_waiters();
        }
        self.answered.take()
    }

    /// Has the task look again.
    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Returns when all replies are sent.
    pub(super) async fn flushed(&self) {
        while !self.outgoing.borrow().is_empty() {
            self.flushed.notified().await;
        }
    }
}

impl Worker {
    /// The task that receives datagrams; it never ends.
    pub(super) async fn serve_datagrams(self: Rc<Self>) {
        let Some(port) = &self.udp else { return };
        let mut received = Received::new();
        let mut exchange = Exchange {
            datagrams: Vec::with_capacity(DATAGRAMS),
            requests: Requests::new(self.shared().shards()),
            outcomes: Vec::new(),
            pings: Vec::new(),
        };
        std::future::poll_fn(|context| {
            *port.waker.borrow_mut() = Some(context.waker().clone());
            for _ in 0..RECEIVES_PER_TURN {
                match self.receive(port, &mut received, context) {
                    Poll::Ready(()) => exchange.serve(&self, port, &received),
                    Poll::Pending => return Poll::<()>::Pending,
                }
            }
            give_way(context);
            Poll::Pending
        })
        .await;
    }

    /// Receives once. Pending where nothing is to be received, or may be: then the task is woken
    /// when that changes.
    fn receive(
        &self,
        port: &UdpPort,
        received: &mut Received,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        while !port.outgoing.borrow().is_empty() {
            if port.socket.poll_send_ready(context).is_pending() {
                return Poll::Pending;
            }
            self.after_routing(); // flushes, and gives back what is answered
        }
        if self.stopping() || self.congested(context.waker()) {
            return Poll::Pending;
        }
        loop {
            if let Err(error) = ready!(port.socket.poll_recv_ready(context)) {
                warn!(%error, "can't wait for datagrams any more");
                return Poll::Pending;
            }
            let mut count = 0;
            let result = port.socket.try_io(Interest::READABLE, || {
                count = received.receive(port.socket.as_fd())?;
                if count < DATAGRAMS {
                    // Nothing more waits, and what comes later is told anew (edge-triggered).
                    // Saying so saves the next call, which would only find out.
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(())
            });
            if count > 0 {
                return Poll::Ready(());
            }
            if let Err(error) = result
                && error.kind() != io::ErrorKind::WouldBlock
            {
                // A datagram of our own that could not be delivered, say; not the next one's fault.
                debug!(%error, "receiving datagrams");
            }
        }
    }
}

impl Exchange {
    /// Serves all that one call received.
    fn serve(&mut self, worker: &Worker, port: &UdpPort, received: &Received) {
        for i in 0..received.count() {
            let peer = received.peer(i);
            for span in received.datagrams(i) {
                self.take(worker, received.bytes(), span, peer);
            }
        }
        let Self {
            datagrams,
            requests,
            outcomes,
            pings,
        } = self;
        let at_owner = requests.count_for(worker.shard());
        let counters = worker.counters();
        counters.datagram_requests(at_owner, requests.count() - at_owner);
        worker.submit(
            requests,
            received.bytes(),
            Source::Datagrams(datagrams),
            |outcome| {
                if let Submitted::Reply(request, reply) = outcome {
                    outcomes.push((request.datagram, request.id, Outcome::Reply(*reply)));
                }
            },
        );
        // Replies came shard by shard, and errors first; a datagram's go out together.
        if !outcomes.is_sorted_by_key(|&(datagram, ..)| datagram) {
            outcomes.sort_by_key(|&(datagram, ..)| datagram);
        }
        let mut packer = Packer::new(port);
        for (index, id, outcome) in outcomes.drain(..) {
            let answer = match outcome {
                Outcome::Reply(reply) => Answer::Reply(reply),
                Outcome::Hello(hello) => Answer::Hello(hello),
                Outcome::Pong(body) => Answer::Pong(&pings[body]),
            };
            packer.add(index, &datagrams[index as usize], id, &answer);
        }
        drop(packer);
        datagrams.clear();
        pings.clear();
        worker.after_routing(); // sends them
    }

    /// Takes in the requests of the datagram `bytes[span]`.
    fn take(&mut self, worker: &Worker, bytes: &[u8], span: Range<usize>, peer: Peer) {
        let message = &bytes[span.clone()];
        // An empty datagram has no op code: that is one that nobody knows.
        let dialect = message
            .first()
            .map_or(Dialect::Unknown, |&first| Dialect::of(first));
        if dialect == Dialect::Reply {
            return;
        }
        let index = self.datagrams.len() as u32;
        self.datagrams.push(Datagram {
            peer,
            classic: dialect != Dialect::Framed,
            reply_limit: REPLY_DATAGRAM.max(message.len()),
        });
        let Self {
            requests,
            outcomes,
            pings,
            ..
        } = self;
        if dialect != Dialect::Framed {
            if let Err(error) = worker.intake.take_message(bytes, span, index, requests) {
                let outcome = Outcome::Reply(Reply::Error(error));
                outcomes.push((index, RequestId::NONE, outcome));
            }
            return;
        }
        let len = message.len();
        let mut answer = |id, answer: Answer<'_>| {
            let outcome = match answer {
                Answer::Reply(reply) => Outcome::Reply(reply),
                Answer::Hello(hello) => Outcome::Hello(hello),
                Answer::Pong(body) => {
                    let start = pings.len();
                    pings.extend_from_slice(body);
                    Outcome::Pong(start..pings.len())
                }
            };
            outcomes.push((index, id, outcome));
        };
        let end = worker
            .intake
            .take_frames(bytes, span, Some(index), requests, &mut answer);
        if let FramesEnd::At(end) = end
            && end < len
        {
            let id = framed::broken_id(&message[end..]);
            answer(id, refusal(ErrorCode::BadFrame));
        }
    }
}

/// Packs replies into datagrams: those to one datagram together, as many as fit.
struct Packer<'a> {
    outgoing: RefMut<'a, Outgoing>,
    /// The datagram that is being answered, and its index.
    current: Option<(u32, Datagram)>,
}

impl<'a> Packer<'a> {
    fn new(port: &'a UdpPort) -> Self {
        Self {
            outgoing: port.outgoing.borrow_mut(),
            current: None,
        }
    }

    /// Adds one reply to `datagram`, whose other replies come with the same `index`, all in a row.
    fn add(&mut self, index: u32, datagram: &Datagram, id: RequestId, answer: &Answer<'_>) {
        if self.current.is_none_or(|(current, _)| current != index) {
            self.close();
            self.current = Some((index, *datagram));
        }
        if datagram.classic {
            if let Answer::Reply(reply) = *answer {
                classic::encode_reply(reply, self.outgoing.open());
            }
            return;
        }
        let len = self.outgoing.open_len();
        if len > 0 && len + framed::answer_len(answer) > datagram.reply_limit {
            self.outgoing.close(datagram.peer);
        }
        framed::encode_answer(id, answer, self.outgoing.open());
    }

    fn close(&mut self) {
        if let Some((_, datagram)) = self.current.take() {
            self.outgoing.close(datagram.peer);
        }
    }
}

impl Drop for Packer<'_> {
    fn drop(&mut self) {
        self.close();
    }
}
