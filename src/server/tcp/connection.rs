//! The task of one TCP connection: its phases and its writes. [`reading`](super::reading) serves
//! its input, and [`moving`](super::moving) moves it to another worker. An idle connection costs
//! little memory: the read buffers belong to the worker, and a connection keeps only incomplete
//! requests and unsent replies.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::Sleep;

use super::context::{READ_LEN, TcpContext};
use super::move_detector::MoveDetector;
use super::moved::{PendingHello, Resume};
use super::stream::Stream;
use crate::access::{Access, Bucket, Pending};
use crate::server::exchange::{ConnectionKey, WorkerId};
use crate::server::resp::Session;
use crate::server::status::OpenConnection;
use crate::server::worker::{Link, ReplySocket, Worker, yield_turn};

/// The most steps of a connection in one turn of its task, so that a connection that always has more
/// to read does not keep the others waiting.
const STEPS_PER_TURN: usize = 4;

/// When the server stops, a connection that has not sent anything yet has this long to send its
/// first request. The kernel has completed its handshake, so the peer expects to be served; its
/// first request arrives within a round trip.
const OPENING_GRACE: Duration = Duration::from_millis(100);

/// A closing connection reads and discards input for at most this time and this many bytes. Closing
/// a socket with unread input would reset the connection, and the peer could lose the last reply.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_LEN: usize = 1024 * 1024;

/// The task of one connection. It ends when the connection closes or moves to another worker.
pub(super) struct Connection {
    pub(super) registered: Registered,
    /// Shared with the link.
    pub(super) stream: Rc<RefCell<Stream>>,
    /// Bytes that were read but not served yet: an incomplete request, or whole requests that have
    /// to wait.
    pub(super) partial: Vec<u8>,
    /// Whether `partial` may hold whole requests. They are served before more is read.
    pub(super) unserved: bool,
    /// Whether the input that the task waits for next is another than that it waited for last: a
    /// request was served since, or the connection was not read for a while.
    pub(super) awaits_new: bool,
    pub(super) phase: Phase,
    /// Detects that most requests belong to another worker's shard, so that the connection should
    /// move there. `None` if it never moves: its client has chosen a shard, or there is only one
    /// worker.
    pub(super) move_detector: Option<MoveDetector>,
    /// What the peer may do; `None` if every peer may do everything.
    pub(super) access: Option<Box<Access>>,
    /// What is left of the requests that the connection may make in a second, if they are limited.
    pub(super) bucket: Bucket,
    pub(super) open: OpenConnection,
}

/// The registration of a connection at its worker; dropping it removes the connection there.
pub(super) struct Registered {
    pub(super) context: Rc<TcpContext>,
    pub(super) key: ConnectionKey,
    pub(super) link: Rc<Link>,
}

impl Registered {
    pub(super) fn worker(&self) -> &Worker {
        &self.context.worker
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.link.set_socket(None);
        self.worker().disconnect(self.key);
    }
}

impl ReplySocket for RefCell<Stream> {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.borrow_mut().try_write(bytes)
    }
}

pub(super) enum Phase {
    /// Nothing was read yet. The first byte will decide the dialect.
    Opening,
    /// The server is stopping, and nothing was read yet. Input that arrives before `until` is still
    /// served.
    LateOpening { until: Pin<Box<Sleep>> },
    /// The connection speaks the framed dialect.
    Framed,
    /// The connection speaks the Redis protocol.
    Resp(Box<Session>),
    /// The connection speaks the framed dialect, and the password of a HELLO is being checked.
    CheckingHello { hello: PendingHello, check: Pending },
    /// The connection moves to another worker once nothing is in flight.
    Moving { to: WorkerId, resume: Resume },
    /// Nothing more is read. When every reply is written, the connection is closed, or lingers
    /// first (`linger`).
    Closing { linger: bool },
    /// Every reply is written and our side is shut down. Input is discarded until the peer closes,
    /// or until a limit.
    Lingering { until: Pin<Box<Sleep>>, left: usize },
}

/// The result of one step of a connection.
pub(super) enum Step {
    /// Progress was made; there may be more to do.
    Again,
    /// There is nothing to do now. The task will be woken when there is.
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
    /// Creates the task of a new connection, whose handshake is complete.
    pub(super) fn new(context: Rc<TcpContext>, stream: Stream, open: OpenConnection) -> Self {
        let access = context.access_of(&stream);
        Self::with_access(context, stream, access, open)
    }

    /// Creates the task of a connection whose peer has this access.
    pub(super) fn with_access(
        context: Rc<TcpContext>,
        stream: Stream,
        access: Option<Box<Access>>,
        open: OpenConnection,
    ) -> Self {
        let (key, link) = context.worker.connect();
        let stream = Rc::new(RefCell::new(stream));
        link.set_socket(Some(Rc::clone(&stream) as Rc<dyn ReplySocket>));
        Self {
            move_detector: context.worker.has_others().then(MoveDetector::default),
            registered: Registered { context, key, link },
            stream,
            partial: Vec::new(),
            unserved: false,
            awaits_new: true,
            phase: Phase::Opening,
            access,
            bucket: Bucket::default(),
            open,
        }
    }

    /// Adds bytes that the peer sent before the connection was created.
    pub(super) fn set_received(&mut self, input: Vec<u8>) {
        self.unserved = !input.is_empty();
        self.registered.link.set_unserved(input.len());
        self.partial = input;
    }

    /// Serves the connection until it ends or another worker takes over.
    pub(super) async fn serve(mut self) {
        if let End::Move { to, resume } = poll_fn(|cx| self.poll(cx)).await {
            // An error means that the socket is no longer usable; the connection is closed then.
            let _ = self.move_to(to, resume);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.registered.link.set_waker(cx.waker());
        self.registered.link.set_idle(false);
        if let Some(reason) = self.registered.link.take_reached()
            && let Step::End(end) = self.close_at_limit(reason)
        {
            return Poll::Ready(end);
        }
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
                if self.registered.worker().stopping() {
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
            Phase::CheckingHello { .. } => Ok(self.finish_hello()),
            Phase::Moving { .. } => Ok(self.leave()),
            Phase::Closing { .. } if self.registered.link.in_flight() > 0 || !all_written => {
                Ok(Step::Wait)
            }
            Phase::Closing { linger: false } => self.say_goodbye(cx),
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

    /// Writes unsent replies until the socket accepts no more. Returns false if some are left; the
    /// task is then woken when the socket is writable again.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut stream = self.stream.borrow_mut();
        let Registered { link, context, .. } = &self.registered;
        let unsent = link.unsent();
        let result = link.write_to(|replies| stream.poll_write(cx, replies));
        context.worker.counters().tcp_sent(unsent - link.unsent());
        result
    }

    /// Writes `output` after the unsent replies. Bytes that the socket does not accept are queued.
    /// Replies that came back from other workers are already among the unsent ones and are older
    /// than `output`, so the replies of each topic keep their order.
    pub(super) fn send(&mut self, cx: &mut Context<'_>, mut output: &[u8]) -> io::Result<()> {
        if self.registered.link.unsent() == 0 {
            let counters = self.registered.worker().counters();
            while !output.is_empty() {
                match self.stream.borrow_mut().poll_write(cx, output) {
                    Poll::Ready(written) => {
                        let written = written?;
                        counters.tcp_sent(written);
                        output = &output[written..];
                    }
                    Poll::Pending => break,
                }
            }
        }
        self.registered.link.append(output);
        Ok(())
    }

    /// Ends a connection whose peer has shut down its side.
    fn say_goodbye(&mut self, cx: &mut Context<'_>) -> io::Result<Step> {
        let Poll::Ready(said) = self.stream.borrow_mut().poll_close_notify(cx) else {
            self.registered.link.block(false);
            return Ok(Step::Wait);
        };
        said?;
        Ok(Step::End(End::Close))
    }

    /// Shuts down our side of the connection. The peer sees the end after the last reply.
    fn shut_down(&mut self, cx: &mut Context<'_>) -> io::Result<Step> {
        let shut_down = self.stream.borrow_mut().poll_shutdown(cx);
        let Poll::Ready(shut_down) = shut_down else {
            self.registered.link.block(false);
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
        let scratch = &mut *self.registered.context.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch.input[..READ_LEN]);
        let mut stream = self.stream.borrow_mut();
        let read = stream.poll_read(cx, &mut buffer, &mut scratch.ciphertext);
        drop(stream);
        match read {
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
            Poll::Pending if self.registered.worker().stopping() => Ok(Step::End(End::Close)),
            Poll::Pending => Ok(Step::Wait),
        }
    }
}
