//! Datagrams: receives them in batches, has their requests counted, packs the replies. One task and
//! one socket a worker; all workers' sockets share the address.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tracing::{debug, warn};

use super::port::UdpPort;
use crate::protocol::framed::{self, Answer, HelloReply, RequestId};
use crate::protocol::{Dialect, ErrorCode, Reply};
use crate::server::exchange::{
    Datagram, FramesEnd, Outcome as Submitted, Requests, Source, refusal,
};
use crate::server::net::sys::{DATAGRAMS, Peer, Received};
use crate::server::worker::{Worker, give_way};

/// The most bytes of replies in one datagram, unless the request's was larger: what fits an
/// Ethernet frame with room for tunnels.
const REPLY_DATAGRAM: usize = 1_400;

/// The most receive calls in one turn of the task, so that a flood of datagrams does not keep
/// connections waiting.
const RECEIVES_PER_TURN: usize = 4;

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

/// The task that receives a worker's datagrams; it never ends.
pub(crate) async fn serve_datagrams(worker: Rc<Worker>, port: Rc<UdpPort>) {
    let mut received = Received::new();
    let mut exchange = Exchange {
        datagrams: Vec::with_capacity(DATAGRAMS),
        requests: Requests::new(worker.shared().shards()),
        outcomes: Vec::new(),
        pings: Vec::new(),
    };
    std::future::poll_fn(|context| {
        *port.waker.borrow_mut() = Some(context.waker().clone());
        for _ in 0..RECEIVES_PER_TURN {
            match receive(&worker, &port, &mut received, context) {
                Poll::Ready(()) => exchange.serve(&worker, &port, &received),
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
    worker: &Worker,
    port: &UdpPort,
    received: &mut Received,
    context: &mut Context<'_>,
) -> Poll<()> {
    while !port.is_flushed() {
        if port.socket.poll_send_ready(context).is_pending() {
            return Poll::Pending;
        }
        worker.after_routing(); // flushes, and gives back what is answered
    }
    if worker.stopping() || worker.congested(context.waker()) {
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
        let mut packer = port.packer();
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
