//! One TCP connection: reads, has its requests counted, writes the replies. Which dialect it speaks
//! is told by its first byte. Costs little while idle: the buffers are the worker's, a connection
//! keeps only what is left over between two reads or two writes.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::batch::{Batch, ConnectionKey, Source};
use super::intake::{self, FramesEnd};
use super::router::Requests;
use super::worker::Worker;
use crate::protocol::framed::{self, Answer, RequestId};
use crate::protocol::{Dialect, ErrorCode, Reply, classic};
use crate::topic::Shards;

/// The most bytes that one read returns: the longest classic message.
const READ_LEN: usize = classic::MAX_MESSAGE;

/// The most reads of a connection in one turn of its task, so that one that always has more does
/// not keep the others waiting.
const READS_PER_TURN: usize = 4;

/// A connection with this many bytes of replies that its peer does not take is not read from.
/// A client may well write 100,000 requests before it reads a reply; those replies are 1.5 MB.
const UNSENT_LIMIT: usize = 4 * 1024 * 1024;

/// When a worker's connections have this many bytes of unsent replies together, each is held to
/// [`TIGHT_UNSENT_LIMIT`].
const WORKER_UNSENT_LIMIT: usize = 256 * 1024 * 1024;

/// What a connection may leave unsent where the worker has too much of it.
const TIGHT_UNSENT_LIMIT: usize = 64 * 1024;

/// A connection with this many handed-over requests is not read from: about one full read's.
const IN_FLIGHT_LIMIT: usize = 8 * 1024;

/// What an emptied buffer of a connection keeps.
const KEEP_LEN: usize = 4 * 1024;

/// How long, and over how many bytes, a connection that is being closed still takes what its peer
/// sends. Closing over unread bytes would reset it, and the peer might lose the last reply.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_LEN: usize = 1024 * 1024;

/// Buffers that a worker's connections share: each is used within one poll of one connection.
pub(super) struct Scratch {
    input: Box<[u8]>,
    output: Vec<u8>,
    requests: Requests,
}

impl Scratch {
    pub(super) fn new(shards: Shards) -> Self {
        Self {
            input: vec![0; framed::MAX_FRAME + READ_LEN].into(),
            output: Vec::new(),
            requests: Requests::new(shards),
        }
    }
}

/// What is known of a connection outside its task: where returned replies go.
pub(super) struct Link {
    serial: u64,
    classic: Cell<bool>,
    /// Requests that were handed over and have not come back.
    in_flight: Cell<usize>,
    unsent: RefCell<Unsent>,
    waker: RefCell<Option<Waker>>,
}

/// Replies that the peer has not taken yet, in order.
#[derive(Default)]
struct Unsent {
    bytes: Vec<u8>,
    /// How many of `bytes` are written already.
    written: usize,
}

impl Link {
    pub(super) fn new(serial: u64) -> Self {
        Self {
            serial,
            classic: Cell::new(false),
            in_flight: Cell::new(0),
            unsent: RefCell::default(),
            waker: RefCell::new(None),
        }
    }

    /// [`ConnectionKey::serial`].
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// Takes the replies of a batch that came back, and wakes the task to write them.
    pub(super) fn returned(&self, batch: &Batch) {
        let mut unsent = self.unsent.borrow_mut();
        let mut count = 0;
        for (request, reply) in batch.replies() {
            encode(self.classic.get(), request.id, reply, &mut unsent.bytes);
            count += 1;
        }
        self.in_flight.set(self.in_flight.get() - count);
        drop(unsent);
        self.wake();
    }

    fn set_waker(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    /// Has the connection's task look again.
    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Bytes of replies that are not written yet.
    pub(super) fn unsent(&self) -> usize {
        let unsent = self.unsent.borrow();
        unsent.bytes.len() - unsent.written
    }
}

fn encode(is_classic: bool, id: RequestId, reply: Reply, out: &mut Vec<u8>) {
    if is_classic {
        classic::encode_reply(reply, out);
    } else {
        framed::encode_reply(id, reply, out);
    }
}

/// The task of one connection; it ends when the connection does.
pub(super) struct Connection {
    worker: Rc<Worker>,
    key: ConnectionKey,
    link: Rc<Link>,
    stream: TcpStream,
    /// The beginning of a frame that the last read broke off in.
    partial: Vec<u8>,
    phase: Phase,
}

enum Phase {
    /// Nothing was read yet.
    Opening,
    /// Frames, any number of them.
    Framed,
    /// Nothing more is read. Once all is answered and written the connection ends, at once or
    /// after lingering.
    Closing { linger: bool },
    /// All is written, our side is shut; what the peer still sends is thrown away.
    Lingering { until: Pin<Box<Sleep>>, left: usize },
}

/// What one step of a connection came to.
enum Step {
    /// Something was done; there may be more.
    Again,
    /// Nothing to do until the task is woken, which is arranged.
    Wait,
    /// The connection is over.
    Over,
}

impl Connection {
    /// Enters a connection that was counted as open.
    pub(super) fn new(worker: Rc<Worker>, stream: TcpStream) -> Self {
        let (key, link) = worker.connect();
        Self {
            worker,
            key,
            link,
            stream,
            partial: Vec::new(),
            phase: Phase::Opening,
        }
    }

    fn step(&mut self, context: &mut Context<'_>) -> io::Result<Step> {
        let all_written = self.write(context)?;
        match self.phase {
            Phase::Opening | Phase::Framed if self.worker.stopping() => {
                self.phase = Phase::Closing { linger: true };
                Ok(Step::Again)
            }
            Phase::Opening | Phase::Framed => self.read(context),
            Phase::Closing { .. } if self.link.in_flight.get() > 0 || !all_written => {
                Ok(Step::Wait)
            }
            Phase::Closing { linger: false } => Ok(Step::Over),
            Phase::Closing { linger: true } => {
                let Poll::Ready(shut) = Pin::new(&mut self.stream).poll_shutdown(context) else {
                    return Ok(Step::Wait);
                };
                shut?;
                self.phase = Phase::Lingering {
                    until: Box::pin(tokio::time::sleep(LINGER)),
                    left: LINGER_LEN,
                };
                Ok(Step::Again)
            }
            Phase::Lingering { .. } => self.linger(context),
        }
    }

    /// Writes what is unsent, as far as the peer takes it; false where some is left. Then the task
    /// is woken when the peer takes more.
    fn write(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let mut unsent = self.link.unsent.borrow_mut();
        while unsent.written < unsent.bytes.len() {
            let rest = &unsent.bytes[unsent.written..];
            let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(context, rest) else {
                unsent.compact();
                return Ok(false);
            };
            let written = written?;
            unsent.written += written;
            self.worker.unsent.update(|all| all - written);
        }
        unsent.clear();
        Ok(true)
    }

    /// Writes `output` after all that is unsent; what the peer does not take becomes unsent.
    fn send(&mut self, context: &mut Context<'_>, mut output: &[u8]) -> io::Result<()> {
        if self.link.unsent() == 0 {
            while !output.is_empty() {
                match Pin::new(&mut self.stream).poll_write(context, output) {
                    Poll::Ready(written) => output = &output[written?..],
                    Poll::Pending => break,
                }
            }
        }
        if !output.is_empty() {
            self.worker.unsent.update(|all| all + output.len());
            self.link
                .unsent
                .borrow_mut()
                .bytes
                .extend_from_slice(output);
        }
        Ok(())
    }

    /// Whether the peer may ask more before it takes its replies. Where not, the task is woken when
    /// it takes some (by the write that left them unsent) or when some come back.
    fn may_read(&self) -> bool {
        let limit = match self.worker.unsent.get() {
            WORKER_UNSENT_LIMIT.. => TIGHT_UNSENT_LIMIT,
            _ => UNSENT_LIMIT,
        };
        self.link.in_flight.get() < IN_FLIGHT_LIMIT && self.link.unsent() < limit
    }

    /// One read, all its requests, one write.
    fn read(&mut self, context: &mut Context<'_>) -> io::Result<Step> {
        if !self.may_read() || self.worker.congested(context.waker()) {
            return Ok(Step::Wait);
        }
        let worker = Rc::clone(&self.worker);
        let scratch = &mut *worker.scratch.borrow_mut();
        let start = self.partial.len();
        scratch.input[..start].copy_from_slice(&self.partial);
        let mut buffer = ReadBuf::new(&mut scratch.input[start..start + READ_LEN]);
        let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, &mut buffer) else {
            return Ok(Step::Wait);
        };
        read?;
        let len = buffer.filled().len();
        if len == 0 {
            self.end(&mut scratch.output);
        } else {
            self.serve(scratch, start + len);
        }
        self.send(context, &scratch.output)?;
        scratch.output.clear();
        if scratch.output.capacity() > UNSENT_LIMIT {
            scratch.output = Vec::new();
        }
        Ok(Step::Again)
    }

    /// The peer shut its side down: it may still wait for replies.
    fn end(&mut self, output: &mut Vec<u8>) {
        if !self.partial.is_empty() {
            let broken = Reply::Error(ErrorCode::BadFrame);
            framed::encode_reply(framed::broken_id(&self.partial), broken, output);
        }
        self.phase = Phase::Closing { linger: false };
    }

    /// Serves the first `len` bytes of the input: all that came since the last whole frame.
    fn serve(&mut self, scratch: &mut Scratch, len: usize) {
        let Scratch {
            input,
            output,
            requests,
        } = scratch;
        let input = &input[..len];
        if let Phase::Opening = self.phase {
            match Dialect::of(input[0]) {
                Dialect::Framed => self.phase = Phase::Framed,
                Dialect::Classic => self.take_message(input, requests, output),
                Dialect::Reply => self.phase = Phase::Closing { linger: false },
                Dialect::Unknown => {
                    classic::encode_reply(Reply::Error(ErrorCode::BadOpcode), output);
                    self.phase = Phase::Closing { linger: true };
                }
            }
        }
        if let Phase::Framed = self.phase {
            self.take_frames(input, requests, output);
        }

        let is_classic = self.link.classic.get();
        let in_flight = &self.link.in_flight;
        in_flight.update(|count| count + requests.count());
        let source = Source::Connection(self.key);
        self.worker
            .submit(requests, input, source, |request, reply| {
                in_flight.update(|count| count - 1);
                encode(is_classic, request.id, reply, output);
            });
    }

    /// The one message of a classic connection.
    fn take_message(&mut self, input: &[u8], requests: &mut Requests, output: &mut Vec<u8>) {
        self.link.classic.set(true);
        let taken = intake::take_message(&self.worker, input, 0..input.len(), 0, requests);
        if let Err(error) = taken {
            classic::encode_reply(Reply::Error(error), output);
        }
        self.phase = Phase::Closing {
            linger: taken.is_err(),
        };
    }

    /// All whole frames; the beginning of one more stays for the next read.
    fn take_frames(&mut self, input: &[u8], requests: &mut Requests, output: &mut Vec<u8>) {
        let whole = 0..input.len();
        let answer = |id, answer: Answer<'_>| framed::encode_answer(id, &answer, output);
        self.partial.clear();
        if self.partial.capacity() > KEEP_LEN {
            self.partial = Vec::new();
        }
        match intake::take_frames(&self.worker, input, whole, 0, requests, answer) {
            FramesEnd::At(end) => self.partial.extend_from_slice(&input[end..]),
            FramesEnd::Lost => self.phase = Phase::Closing { linger: true },
        }
    }

    /// Throws away what the peer still sends, until it has read all and closes, or has had its
    /// time. A server that stops waits only for what is there already.
    fn linger(&mut self, context: &mut Context<'_>) -> io::Result<Step> {
        let Phase::Lingering { until, left } = &mut self.phase else {
            return Ok(Step::Over);
        };
        if *left == 0 || until.as_mut().poll(context).is_ready() {
            return Ok(Step::Over);
        }
        let mut scratch = self.worker.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch.input[..READ_LEN]);
        match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
            Poll::Ready(read) => {
                read?;
                match buffer.filled().len() {
                    0 => Ok(Step::Over),
                    len => {
                        *left = left.saturating_sub(len);
                        Ok(Step::Again)
                    }
                }
            }
            Poll::Pending if self.worker.stopping() => Ok(Step::Over),
            Poll::Pending => Ok(Step::Wait),
        }
    }
}

impl Unsent {
    /// Forgets what is written, where that is most of it.
    fn compact(&mut self) {
        if self.written > self.bytes.len() / 2 {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }

    /// Forgets all.
    fn clear(&mut self) {
        self.bytes.clear();
        self.written = 0;
        if self.bytes.capacity() > KEEP_LEN {
            self.bytes = Vec::new();
        }
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let connection = self.get_mut();
        connection.link.set_waker(context.waker());
        for _ in 0..READS_PER_TURN {
            match connection.step(context) {
                Ok(Step::Again) => {}
                Ok(Step::Wait) => return Poll::Pending,
                // A peer that is gone has nobody to tell.
                Ok(Step::Over) | Err(_) => return Poll::Ready(()),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.worker.unsent.update(|all| all - self.link.unsent());
        self.worker.disconnect(self.key);
        self.worker.open.fetch_sub(1, Ordering::Relaxed);
    }
}
