//! The task of one TCP connection: its phases from the first byte to the end, and its writes. What it
//! reads is served in [`reading`](super::reading), and how it changes workers is in
//! [`moving`](super::moving). An idle connection costs little memory: the read buffers belong to the
//! worker, and a connection keeps only what is left over between two reads or two writes.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::context::{READ_LEN, TcpContext};
use super::drift::Drift;
use super::moved::Resume;
use crate::server::exchange::{ConnectionKey, WorkerId};
use crate::server::resp::Session;
use crate::server::status::OpenConnection;
use crate::server::worker::{Link, Worker, yield_turn};

/// The most steps of a connection in one turn of its task, so that a connection that always has more
/// to read does not keep the others waiting.
const STEPS_PER_TURN: usize = 4;

/// How long a connection that has not sent anything may still do so once the server stops. The kernel
/// has accepted it, so its peer expects a reply, and its first request follows the handshake within a
/// round trip.
const OPENING_GRACE: Duration = Duration::from_millis(100);

/// How long, and for how many bytes, a closing connection still reads and discards what its peer
/// sends. Closing a socket with unread bytes resets the connection, and the peer might lose the last
/// reply.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_LEN: usize = 1024 * 1024;

/// The task of one connection. It ends when the connection closes or moves to another worker.
pub(super) struct Connection {
    pub(super) entry: Entry,
    pub(super) stream: TcpStream,
    /// Bytes that were read and not served yet: the beginning of a request, or more.
    pub(super) partial: Vec<u8>,
    /// Whether `partial` may hold whole requests. They are served before more is read.
    pub(super) unserved: bool,
    pub(super) phase: Phase,
    /// Detects that another worker would serve it without hops. `None` if it stays: its client has
    /// chosen a shard, or there is only one worker.
    pub(super) drift: Option<Drift>,
    pub(super) open: OpenConnection,
}

/// A connection's place in its worker; gives it up when dropped.
pub(super) struct Entry {
    pub(super) context: Rc<TcpContext>,
    pub(super) key: ConnectionKey,
    pub(super) link: Rc<Link>,
}

impl Entry {
    pub(super) fn worker(&self) -> &Worker {
        &self.context.worker
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.worker().disconnect(self.key);
    }
}

pub(super) enum Phase {
    /// Nothing was read yet; the first byte will tell the dialect.
    Opening,
    /// Nothing was read yet and the server stops. What arrives until then is still served.
    LateOpening { until: Pin<Box<Sleep>> },
    /// The connection speaks the framed dialect.
    Framed,
    /// The connection speaks the Redis protocol.
    Resp(Box<Session>),
    /// The connection moves to another worker once nothing is in flight.
    Moving { to: WorkerId, resume: Resume },
    /// Nothing more is read. Once every reply is written the connection ends, at once or after
    /// lingering.
    Closing { linger: bool },
    /// Every reply is written and our side is shut down. What the peer still sends is discarded.
    Lingering { until: Pin<Box<Sleep>>, left: usize },
}

/// The result of one step of a connection.
pub(super) enum Step {
    /// Progress was made; there may be more to do.
    Again,
    /// There is nothing to do until the task is woken; that is arranged.
    Wait,
    /// The task ends.
    End(End),
}

/// How a connection's task ends.
pub(super) enum End {
    /// The connection is closed.
    Close,
    /// The connection moves to another worker.
    Move { to: WorkerId, resume: Resume },
}

impl Connection {
    /// Creates the task of a connection that was just accepted.
    pub(super) fn new(context: Rc<TcpContext>, stream: TcpStream, open: OpenConnection) -> Self {
        let (key, link) = context.worker.connect();
        Self {
            drift: context.worker.has_others().then(Drift::default),
            entry: Entry { context, key, link },
            stream,
            partial: Vec::new(),
            unserved: false,
            phase: Phase::Opening,
            open,
        }
    }

    /// Serves the connection until it ends or another worker takes over.
    pub(super) async fn serve(mut self) {
        if let End::Move { to, resume } = poll_fn(|cx| self.poll(cx)).await {
            // It fails only if the socket is of no more use; then the connection is closed.
            let _ = self.move_to(to, resume);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.entry.link.set_waker(cx.waker());
        for _ in 0..STEPS_PER_TURN {
            match self.step(cx) {
                Ok(Step::Again) => {}
                Ok(Step::Wait) => return Poll::Pending,
                Ok(Step::End(end)) => return Poll::Ready(end),
                // The peer is gone.
                Err(_) => return Poll::Ready(End::Close),
            }
        }
        yield_turn(cx);
        Poll::Pending
    }

    fn step(&mut self, cx: &mut Context<'_>) -> io::Result<Step> {
        let all_written = self.write(cx)?;
        match self.phase {
            Phase::Resp(ref session) if session.is_killed() => Ok(Step::End(End::Close)),
            Phase::Opening | Phase::Framed | Phase::Resp(_) => {
                if self.unserved {
                    return self.serve_unserved(cx);
                }
                if self.entry.worker().stopping() {
                    self.phase = self.phase_when_stopping();
                    return Ok(Step::Again);
                }
                self.read(cx)
            }
            Phase::LateOpening { ref mut until } => {
                if until.as_mut().poll(cx).is_ready() {
                    self.phase = Phase::Closing { linger: true };
                    return Ok(Step::Again);
                }
                self.read(cx)
            }
            Phase::Moving { .. } => Ok(self.leave()),
            Phase::Closing { .. } if self.entry.link.in_flight() > 0 || !all_written => {
                Ok(Step::Wait)
            }
            Phase::Closing { linger: false } => Ok(Step::End(End::Close)),
            Phase::Closing { linger: true } => self.shut_down(cx),
            Phase::Lingering { .. } => self.linger(cx),
        }
    }

    fn phase_when_stopping(&self) -> Phase {
        match self.phase {
            Phase::Opening => Phase::LateOpening {
                until: Box::pin(tokio::time::sleep(OPENING_GRACE)),
            },
            _ => Phase::Closing { linger: true },
        }
    }

    /// Writes the unsent replies as far as the peer takes them. Returns false if some are left; then
    /// the task is woken when the peer takes more.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let stream = &mut self.stream;
        let link = &self.entry.link;
        link.write_to(|replies| Pin::new(&mut *stream).poll_write(cx, replies))
    }

    /// Writes `output` behind the unsent replies. What the peer does not take becomes unsent. Replies
    /// that came back from other workers are among the unsent by now and are older than `output`, so
    /// the replies to a topic keep their order.
    pub(super) fn send(&mut self, cx: &mut Context<'_>, mut output: &[u8]) -> io::Result<()> {
        if self.entry.link.unsent() == 0 {
            while !output.is_empty() {
                match Pin::new(&mut self.stream).poll_write(cx, output) {
                    Poll::Ready(written) => output = &output[written?..],
                    Poll::Pending => break,
                }
            }
        }
        self.entry.link.append(output);
        Ok(())
    }

    /// Shuts our side down, so that the peer sees the end once it has read every reply.
    fn shut_down(&mut self, cx: &mut Context<'_>) -> io::Result<Step> {
        let Poll::Ready(shut_down) = Pin::new(&mut self.stream).poll_shutdown(cx) else {
            return Ok(Step::Wait);
        };
        shut_down?;
        self.phase = Phase::Lingering {
            until: Box::pin(tokio::time::sleep(LINGER)),
            left: LINGER_LEN,
        };
        Ok(Step::Again)
    }

    /// Discards what the peer still sends, until the peer closes or a limit is reached. A stopping
    /// server discards only what has arrived already.
    fn linger(&mut self, cx: &mut Context<'_>) -> io::Result<Step> {
        let Phase::Lingering { until, left } = &mut self.phase else {
            return Ok(Step::End(End::Close));
        };
        if *left == 0 || until.as_mut().poll(cx).is_ready() {
            return Ok(Step::End(End::Close));
        }
        let mut scratch = self.entry.context.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch.input[..READ_LEN]);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Ready(read) => {
                read?;
                match buffer.filled().len() {
                    0 => Ok(Step::End(End::Close)),
                    len => {
                        *left = left.saturating_sub(len);
                        Ok(Step::Again)
                    }
                }
            }
            Poll::Pending if self.entry.worker().stopping() => Ok(Step::End(End::Close)),
            Poll::Pending => Ok(Step::Wait),
        }
    }
}
