//! The task that receives a worker's datagrams: a batch per system call, its requests to their
//! shards, and the replies that are known at once back to the peers.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tracing::{debug, warn};

use super::errors::ErrorLimit;
use super::senders::Senders;
use super::socket::DatagramSocket;
use crate::access::{Gate, Open, Topics};
use crate::protocol::framed::{self, Answer, HelloReply, RequestId};
use crate::protocol::{Dialect, ErrorCode, Reply};
use crate::server::exchange::{
    Datagrams, Entry, FramesEnd, Intake, Outcome, Queued, ReplyFormat, Requests, Source,
    count_waiting, with_replies,
};
use crate::server::net::coarse_nanoseconds;
use crate::server::net::sys::{DATAGRAMS, Received};
use crate::server::worker::{Worker, yield_turn};

/// The longest datagram of replies, in bytes, unless the request's datagram was longer. It fits an
/// Ethernet frame, with room for tunnels.
const REPLY_DATAGRAM: usize = 1_400;

/// The list of received datagrams keeps room for this many: those of a receive call whose messages all
/// have as many as the kernel coalesces.
const KEEP_DATAGRAMS: usize = 64 * DATAGRAMS;

/// The response to a request, until the responses to all requests of its datagram are known.
enum Response {
    Reply(Reply),
    Hello(HelloReply),
    /// The reply to PING: the range of its body in [`ReceivedBatch::bodies`].
    Pong(Range<usize>),
    /// The reply to NODES, likewise.
    Nodes(Range<usize>),
}

/// The datagrams of one receive call while they are served. Its buffers are used for every call.
struct ReceivedBatch {
    /// `None` if everybody may do everything.
    senders: Option<Senders>,
    error_limit: ErrorLimit,
    datagrams: Datagrams,
    requests: Requests,
    /// The index of the datagram, the id of the request, and its response.
    responses: Vec<(u32, RequestId, Response)>,
    /// The bodies of replies to PING and NODES, one after another.
    bodies: Vec<u8>,
}

/// Receives a worker's datagrams and serves them, for ever.
pub(crate) async fn serve_datagrams(worker: Rc<Worker>, socket: Rc<DatagramSocket>) {
    let mut received = Received::new();
    let access = worker.status.config.access.as_ref();
    let mut batch = ReceivedBatch {
        senders: access.map(|guard| Senders::new(Arc::clone(guard))),
        error_limit: ErrorLimit::default(),
        datagrams: Datagrams::default(),
        requests: Requests::new(worker.shared().shards()),
        responses: Vec::new(),
        bodies: Vec::new(),
    };
    std::future::poll_fn(|cx| {
        *socket.waker.borrow_mut() = Some(cx.waker().clone());
        // So that a flood of datagrams does not keep the worker's connections waiting.
        let max = worker.status.request_limits.datagrams_per_turn();
        let mut count = 0;
        while count < max {
            match receive(&worker, &socket, &mut received, cx) {
                Poll::Ready(()) => batch.serve(&worker, &socket, &received),
                Poll::Pending => return Poll::<()>::Pending,
            }
            count += received.count();
        }
        worker.counters().reached.count_datagram_turn();
        yield_turn(cx);
        Poll::Pending
    })
    .await;
}

/// Makes receive calls until one returns datagrams. Pending if no datagram is available, or if the
/// worker must not receive now (it is congested, or replies are unsent); the task is woken when
/// that changes. A stopping worker receives nothing more.
fn receive(
    worker: &Worker,
    socket: &DatagramSocket,
    received: &mut Received,
    cx: &mut Context<'_>,
) -> Poll<()> {
    while !socket.is_flushed() {
        if socket.inner.poll_send_ready(cx).is_pending() {
            return Poll::Pending;
        }
        worker.finish_routing(); // sends, and returns the batches that are answered
    }
    if worker.stopping() || worker.congested(cx.waker()) {
        return Poll::Pending;
    }
    loop {
        if let Err(error) = ready!(socket.inner.poll_recv_ready(cx)) {
            warn!(%error, "cannot wait for datagrams; this worker has stopped receiving them");
            return Poll::Pending;
        }
        let mut count = 0;
        let result = socket.inner.try_io(Interest::READABLE, || {
            count = received.receive(socket.inner.as_fd())?;
            if count < DATAGRAMS {
                // The socket is empty, and epoll (edge-triggered) reports later datagrams.
                // Returning `WouldBlock` tells tokio so, and saves a call that would only return
                // `WouldBlock`.
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
            // For example, an earlier reply of ours could not be delivered.
            debug!(%error, "cannot receive datagrams");
        }
    }
}

impl ReceivedBatch {
    /// Serves the datagrams of one receive call.
    fn serve(&mut self, worker: &Worker, socket: &DatagramSocket, received: &Received) {
        let counters = worker.counters();
        let measured = counters.sample_read();
        let mut bytes = 0;
        let intake = &worker.intake;
        if let Some(mut senders) = self.senders.take() {
            for i in 0..received.count() {
                bytes += received.span(i).len();
                let grant = senders.grant(&received.peer(i));
                let gate = Topics::of_datagram(&grant);
                self.decode_all(&gate, intake, received, i);
            }
            self.senders = Some(senders);
        } else {
            for i in 0..received.count() {
                bytes += received.span(i).len();
                self.decode_all(&Open, intake, received, i);
            }
        }
        if !self.responses.is_empty() {
            self.limit_errors(worker);
        }
        counters.udp_received(bytes);
        counters.datagrams_dropped(received.dropped());
        let answered = self.submit(worker, socket, received.bytes());
        self.pack(socket);
        worker.finish_routing(); // sends the replies
        if let (Some(start), Some(requests)) = (measured, answered) {
            counters.answered(start, requests);
        }
    }

    /// Takes the requests to their shards. Packs the replies that are known at once, or collects them
    /// if they may have to be sorted. Returns the number of requests if all replies are known.
    fn submit(&mut self, worker: &Worker, socket: &DatagramSocket, bytes: &[u8]) -> Option<usize> {
        let Self {
            datagrams,
            requests,
            responses,
            ..
        } = self;
        // The replies then come in the order of their datagrams, with no others among them.
        let in_order = responses.is_empty() && requests.for_one_shard();
        let at_owner = requests.count_for(worker.shard());
        let count = requests.count();
        let counters = worker.counters();
        counters.datagram_requests(at_owner, count - at_owner);
        counters.batch(requests, bytes);
        let mut answered = 0;
        let source = Source::Datagrams(datagrams);
        worker.submit(requests, bytes, source, |outcome| {
            let Outcome::Applied(requests, replies) = outcome else {
                return;
            };
            answered += requests.len() - count_waiting(replies);
            if in_order {
                socket.pack_replies(datagrams, requests, replies);
            } else {
                let replies = with_replies(requests, replies);
                let response = |(request, reply): (&Queued, _)| {
                    (request.datagram, request.id, Response::Reply(reply))
                };
                responses.extend(replies.map(response));
            }
        });
        (count > 0 && answered == count).then_some(count)
    }

    /// Packs the responses and clears the buffers.
    fn pack(&mut self, socket: &DatagramSocket) {
        let Self {
            datagrams,
            responses,
            bodies,
            ..
        } = self;
        // Errors came first and replies shard by shard, but a datagram's replies are sent together.
        if !responses.is_sorted_by_key(|&(datagram, ..)| datagram) {
            responses.sort_by_key(|&(datagram, ..)| datagram);
        }
        for responses in responses.chunk_by(|(one, ..), (next, ..)| one == next) {
            let Entry { peer, format } = datagrams.entry(responses[0].0);
            let answers = responses.iter().map(|(_, id, response)| {
                let answer = match response {
                    Response::Reply(reply) => Answer::Reply(*reply),
                    Response::Hello(hello) => Answer::Hello(*hello),
                    Response::Pong(body) => Answer::Pong(&bodies[body.clone()]),
                    Response::Nodes(map) => Answer::Nodes(&bodies[map.clone()]),
                };
                (*id, answer)
            });
            socket.pack_answers(datagrams.peer(peer), format, answers);
        }
        responses.clear();
        datagrams.empty(KEEP_DATAGRAMS);
        bodies.clear();
    }

    /// Decodes the datagrams of message `i`.
    #[inline(always)] // it is the body of a loop
    fn decode_all<G: Gate>(&mut self, gate: &G, intake: &Intake, received: &Received, i: usize) {
        self.datagrams.begin_message(received.peer(i));
        for span in received.datagrams(i) {
            self.decode(gate, intake, received.bytes(), span);
        }
    }

    /// Removes the errors that must not be sent. So far the responses are those that need no shard: the
    /// errors among them are of requests that cannot be decoded, or that are denied.
    #[cold]
    fn limit_errors(&mut self, worker: &Worker) {
        let rate = worker.status.request_limits.errors_per_source();
        let Self {
            senders,
            error_limit,
            datagrams,
            responses,
            ..
        } = self;
        let (before, now) = (responses.len(), coarse_nanoseconds());
        responses.retain(|(datagram, _, response)| {
            let Response::Reply(Reply::Error(error)) = response else {
                return true;
            };
            let peer = datagrams.peer(datagrams.entry(*datagram).peer);
            let denied = *error == ErrorCode::Denied;
            error_limit.admits(peer, rate, now)
                && !(denied && senders.as_mut().is_some_and(|senders| !senders.may_deny()))
        });
        let unsent = before - responses.len();
        worker.counters().reached.count_unsent_errors(unsent);
    }

    /// Decodes the datagram `bytes[span]`: its requests are queued, and what needs no shard is
    /// answered.
    #[inline]
    fn decode<G: Gate>(&mut self, gate: &G, intake: &Intake, bytes: &[u8], span: Range<usize>) {
        let message = &bytes[span.clone()];
        // An empty datagram has no op code, so its dialect is unknown.
        let dialect = message
            .first()
            .map_or(Dialect::Unknown, |&first| Dialect::of(first));
        match dialect {
            Dialect::Reply => {}
            Dialect::Framed => self.decode_frames(gate, intake, bytes, span),
            Dialect::Classic | Dialect::Resp | Dialect::Unknown => {
                let index = self.datagrams.push(ReplyFormat::Classic);
                let requests = &mut self.requests;
                if let Err(reply) = intake.decode_message(gate, bytes, span, index, requests) {
                    let response = Response::Reply(reply);
                    self.responses.push((index, RequestId::NONE, response));
                }
            }
        }
    }

    // Apart from the classic dialect, whose datagrams have one request each, so that their loop stays
    // small.
    #[inline(never)]
    fn decode_frames<G: Gate>(
        &mut self,
        gate: &G,
        intake: &Intake,
        bytes: &[u8],
        span: Range<usize>,
    ) {
        let message = &bytes[span.clone()];
        // A datagram is shorter than 64 KiB.
        let limit = REPLY_DATAGRAM.max(message.len()) as u16;
        let index = self.datagrams.push(ReplyFormat::Framed { limit });
        let Self {
            requests,
            responses,
            bodies,
            ..
        } = self;
        let mut keep = |body: &[u8]| {
            let start = bodies.len();
            bodies.extend_from_slice(body);
            start..bodies.len()
        };
        let mut answer = |id, answer: Answer<'_>| {
            let response = match answer {
                Answer::Reply(reply) => Response::Reply(reply),
                Answer::Hello(hello) => Response::Hello(hello),
                Answer::Pong(body) => Response::Pong(keep(body)),
                Answer::Nodes(map) => Response::Nodes(keep(map)),
            };
            responses.push((index, id, response));
        };
        let end = intake.decode_frames(gate, bytes, span, Some(index), requests, &mut answer);
        if let FramesEnd::At(end) = end
            && end < message.len()
        {
            let id = framed::broken_id(&message[end..]);
            answer(id, Answer::Reply(intake.refuse(ErrorCode::BadFrame)));
        }
    }
}
