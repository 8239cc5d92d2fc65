//! The way to another node: a framed connection that is made when it is needed, and made anew after it
//! was lost.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::super::state::{Worker, yield_turn};
use super::connect::{Connected, connect};
use super::pending::Pending;
use super::{Forwarder, Request};
use crate::measure::LogLimit;
use crate::protocol::framed::{self, Answer};
use crate::protocol::{ErrorCode, Reply};
use crate::server::cluster::Peer;

/// How long connecting may take, with the reply to HELLO.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long to wait after an attempt to connect failed.
const RECONNECT_DELAY: Duration = Duration::from_millis(50);

/// While this many bytes wait to be written, no further requests are encoded.
const UNWRITTEN_LIMIT: usize = 256 * 1024;

/// The room for a read, in bytes.
const READ_LEN: usize = 64 * 1024;

/// After this many reads in one turn, other tasks get theirs.
const READS_PER_TURN: usize = 8;

static LOST: LogLimit = LogLimit::new();
static UNREACHABLE: LogLimit = LogLimit::new();

/// See the [module](self).
pub(super) struct PeerLink {
    peer: Arc<Peer>,
    /// Requests that are not sent.
    queue: RefCell<VecDeque<Request>>,
    pending: RefCell<Pending>,
    connected: Cell<bool>,
    /// Whether the reply to a request is overdue, so that the connection is given up.
    overdue: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl PeerLink {
    pub(super) fn new(peer: Arc<Peer>) -> Self {
        Self {
            peer,
            queue: RefCell::default(),
            pending: RefCell::default(),
            connected: Cell::new(false),
            overdue: Cell::new(false),
            waker: RefCell::default(),
        }
    }

    /// Queues a request. It is sent with all that are queued in this turn of the worker.
    pub(super) fn push(&self, request: Request) {
        let mut queue = self.queue.borrow_mut();
        queue.push_back(request);
        if queue.len() == 1 {
            self.wake();
        }
    }

    /// Takes back what is queued while there is no connection.
    pub(super) fn take_unsent(&self) -> VecDeque<Request> {
        match self.connected.get() {
            true => VecDeque::new(),
            false => self.queue.take(),
        }
    }

    /// Gives the connection up if a request that was parked before `before` has no reply.
    pub(super) fn expire(&self, before: Instant) {
        if self.pending.borrow().has_older(before) {
            self.overdue.set(true);
            self.wake();
        }
    }

    /// Takes the requests that were parked before `before` out of the queue.
    pub(super) fn take_older(&self, before: Instant) -> VecDeque<Request> {
        let mut queue = self.queue.borrow_mut();
        let (older, kept) = std::mem::take(&mut *queue)
            .into_iter()
            .partition(|request| request.since() < before);
        *queue = kept;
        older
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn register(&self, cx: &Context<'_>) {
        self.waker.replace(Some(cx.waker().clone()));
    }

    /// Appends the frames of queued requests to `output`, as many as have room.
    fn encode(&self, output: &mut Vec<u8>) {
        let mut queue = self.queue.borrow_mut();
        let mut pending = self.pending.borrow_mut();
        while output.len() < UNWRITTEN_LIMIT
            && let Some(request) = queue.pop_front()
        {
            framed::encode_node_request(pending.next_id(), &request.request(), output);
            pending.add(request);
        }
    }
}

/// The task of a link. It never ends.
pub(super) async fn run(worker: Rc<Worker>, link: Rc<PeerLink>) {
    let Some(forwarder) = worker.forwarder() else {
        return;
    };
    loop {
        std::future::poll_fn(|cx| {
            link.register(cx);
            match link.queue.borrow().is_empty() {
                true => Poll::Pending,
                false => Poll::Ready(()),
            }
        })
        .await;
        let name = link.peer.name.as_str();
        match timeout(CONNECT_TIMEOUT, connect(&forwarder.membership, &link.peer)).await {
            Ok(Ok(connected)) => {
                link.connected.set(true);
                let error = serve(&worker, forwarder, &link, connected).await;
                link.connected.set(false);
                debug!(node = name, %error, "the connection to another node ended");
                let unanswered: Vec<_> = link.pending.borrow_mut().take_all().collect();
                if !unanswered.is_empty()
                    && let Some(times) = LOST.count()
                {
                    let unanswered = unanswered.len();
                    warn!(node = name, %error, unanswered, times, "lost requests that were forwarded to another node");
                }
                for request in unanswered {
                    forwarder.answered(request, Reply::Error(ErrorCode::Unknown));
                }
            }
            failed => {
                let error = match failed {
                    Ok(Err(error)) => error,
                    _ => io::ErrorKind::TimedOut.into(),
                };
                if let Some(times) = UNREACHABLE.count() {
                    let address = &*link.peer.address;
                    warn!(node = name, address, %error, times, "cannot connect to another node of the cluster");
                }
                forwarder.take_back(&link);
                worker.finish_routing();
                sleep(RECONNECT_DELAY).await;
            }
        }
        forwarder.take_back(&link);
        worker.finish_routing();
    }
}

/// Forwards requests and takes replies until the connection fails.
async fn serve(
    worker: &Worker,
    forwarder: &Forwarder,
    link: &PeerLink,
    connected: Connected,
) -> io::Error {
    let Connected {
        mut stream,
        mut input,
    } = connected;
    let mut output = Vec::new();
    let mut written = 0;
    std::future::poll_fn(|cx| {
        for _ in 0..READS_PER_TURN {
            if link.overdue.take() {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            link.register(cx);
            link.encode(&mut output);
            while written < output.len() {
                match Pin::new(&mut stream).poll_write(cx, &output[written..]) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(Ok(len)) => written += len,
                    Poll::Ready(Err(error)) => return Poll::Ready(error),
                    Poll::Pending => break,
                }
            }
            output.drain(..std::mem::take(&mut written));
            match poll_read(&mut stream, &mut input, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(io::ErrorKind::UnexpectedEof.into()),
                Poll::Ready(Ok(_)) => {
                    let taken = take_replies(forwarder, link, &mut input);
                    worker.finish_routing();
                    if let Err(error) = taken {
                        return Poll::Ready(error);
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(error),
                Poll::Pending if link.queue.borrow().is_empty() || !output.is_empty() => {
                    return Poll::Pending;
                }
                Poll::Pending => {}
            }
        }
        yield_turn(cx);
        Poll::Pending
    })
    .await
}

/// Reads what is there, and appends it to `input`.
fn poll_read(
    stream: &mut (impl AsyncRead + Unpin),
    input: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let before = input.len();
    input.resize(before + READ_LEN, 0);
    let mut buffer = ReadBuf::new(&mut input[before..]);
    let read = Pin::new(stream).poll_read(cx, &mut buffer);
    let len = buffer.filled().len();
    input.truncate(before + len);
    read.map_ok(|()| len)
}

/// Takes the whole replies at the start of `input`.
fn take_replies(forwarder: &Forwarder, link: &PeerLink, input: &mut Vec<u8>) -> io::Result<()> {
    let mut at = 0;
    let mut pending = link.pending.borrow_mut();
    loop {
        let frame = framed::decode_reply(&input[at..])
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let Some(frame) = frame else { break };
        at += frame.len;
        let (Some(request), Answer::Reply(reply)) = (pending.take(frame.id), frame.answer) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a reply that belongs to no request",
            ));
        };
        match reply {
            // It was not applied.
            Reply::Error(ErrorCode::NotOwner | ErrorCode::Unavailable) => {
                forwarder.not_applied(request);
            }
            reply => forwarder.answered(request, reply),
        }
    }
    input.drain(..at);
    Ok(())
}
