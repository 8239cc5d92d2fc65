//! The connections to other nodes: framed connections that are made when they are needed, and made anew
//! after they were lost. The [`Forwarder`] decides what is sent.

mod connect;

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::measure::LogLimit;
use crate::protocol::framed::{self, Answer};
use crate::server::worker::{Forwarder, PeerLink, Worker, yield_turn};
use connect::{Connected, connect};

/// How long connecting may take, with the reply to HELLO.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long to wait after an attempt to connect failed.
const RECONNECT_DELAY: Duration = Duration::from_millis(50);

/// The room for a read, in bytes.
const READ_LEN: usize = 64 * 1024;

/// After this many reads in one turn, other tasks get theirs.
const READS_PER_TURN: usize = 8;

static LOST: LogLimit = LogLimit::new();
static UNREACHABLE: LogLimit = LogLimit::new();

/// The task that forwards requests to other nodes, if there are any. It never ends.
pub(crate) async fn forward_requests(worker: Rc<Worker>) {
    let Some(forwarder) = worker.forwarder() else {
        return;
    };
    loop {
        for link in forwarder.take_new_links() {
            worker.spawn(serve_link(Rc::clone(&worker), link));
        }
        forwarder.due().await;
        forwarder.look_at_waiting();
        worker.finish_routing();
    }
}

/// The task of a link. It never ends.
async fn serve_link(worker: Rc<Worker>, link: Rc<PeerLink>) {
    let Some(forwarder) = worker.forwarder() else {
        return;
    };
    loop {
        std::future::poll_fn(|cx| {
            link.register(cx);
            match link.has_requests() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        let name = link.peer().name.as_str();
        match timeout(
            CONNECT_TIMEOUT,
            connect(forwarder.membership(), link.peer()),
        )
        .await
        {
            Ok(Ok(connected)) => {
                link.set_connected(true);
                forwarder.counts().connected.add(1);
                forwarder.counts().connections.add(1);
                let error = serve(&worker, forwarder, &link, connected).await;
                link.set_connected(false);
                forwarder.counts().connections.sub(1);
                debug!(node = name, %error, "the connection to another node ended");
                let unanswered = link.take_unanswered();
                if !unanswered.is_empty()
                    && let Some(times) = LOST.count()
                {
                    let unanswered = unanswered.len();
                    warn!(node = name, %error, unanswered, times, "lost requests that were forwarded to another node");
                }
                forwarder.lost(unanswered);
            }
            failed => {
                forwarder.counts().failed.add(1);
                let error = match failed {
                    Ok(Err(error)) => error,
                    _ => io::ErrorKind::TimedOut.into(),
                };
                if let Some(times) = UNREACHABLE.count() {
                    let address = &*link.peer().address;
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
            if link.take_overdue() {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            link.register(cx);
            link.encode(&mut output, forwarder.counts());
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
                Poll::Pending if !link.has_requests() || !output.is_empty() => {
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
    input.reserve(READ_LEN);
    pin!(stream.read_buf(input)).poll(cx)
}

/// Takes the whole replies at the start of `input`.
fn take_replies(forwarder: &Forwarder, link: &PeerLink, input: &mut Vec<u8>) -> io::Result<()> {
    let nonsense = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "a reply that belongs to no request",
        )
    };
    let mut at = 0;
    loop {
        let frame = framed::decode_reply(&input[at..])
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let Some(frame) = frame else { break };
        at += frame.len;
        // In this order: a request is only taken if it gets a reply.
        let Answer::Reply(reply) = frame.answer else {
            return Err(nonsense());
        };
        let (range, request) = link.take_answered(frame.id).ok_or_else(nonsense)?;
        forwarder.replied(range, request, reply);
    }
    input.drain(..at);
    Ok(())
}
