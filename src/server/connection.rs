//! One TCP connection: reads, has its requests counted, writes the replies. Which dialect it speaks
//! is told by its first byte. Costs little while idle: the buffers are the worker's, a connection
//! keeps only what is left over between two reads or two writes.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::batch::{ConnectionKey, Source, WorkerId, empty};
use super::intake::{self, FramesEnd};
use super::link::{KEEP_LEN, Link, OpenConnection};
use super::router::Requests;
use super::worker::{Worker, give_way};
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

/// The task of one connection; it ends when the connection does, or moves to another worker.
pub(super) struct Connection {
    entry: Entry,
    stream: TcpStream,
    /// The beginning of a frame that the last read broke off in.
    partial: Vec<u8>,
    phase: Phase,
    open: OpenConnection,
}

/// A connection's place among those of its worker.
struct Entry {
    worker: Rc<Worker>,
    key: ConnectionKey,
    link: Rc<Link>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.worker.disconnect(self.key);
    }
}

/// A connection on its way to another worker. Nothing of it is in flight.
#[derive(Debug)]
pub(super) struct Moved {
    stream: std::net::TcpStream,
    /// Read, but not served: what came after the HELLO.
    unserved: Vec<u8>,
    unsent: Vec<u8>,
    /// The HELLO that the new worker answers.
    hello: RequestId,
    open: OpenConnection,
}

enum Phase {
    /// Nothing was read yet.
    Opening,
    /// Has moved: there may be bytes that are read, but not served.
    Arrived,
    /// Frames, any number of them.
    Framed,
    /// A HELLO named another worker's shard. Once nothing is in flight it takes over, and answers.
    Moving { to: WorkerId, hello: RequestId },
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
    /// The task ends.
    End(End),
}

/// How a connection's task ends.
enum End {
    /// With the connection.
    Over,
    /// The connection moves to another worker.
    Move { to: WorkerId, hello: RequestId },
}

impl Connection {
    /// A connection that was just accepted.
    pub(super) fn new(worker: Rc<Worker>, stream: TcpStream, open: OpenConnection) -> Self {
        let (key, link) = worker.connect();
        Self {
            entry: Entry { worker, key, link },
            stream,
            partial: Vec::new(),
            phase: Phase::Opening,
            open,
        }
    }

    /// A connection that another worker moved here.
    ///
    /// # Errors
    ///
    /// Where the runtime can't watch its socket.
    pub(super) fn arrive(worker: Rc<Worker>, moved: Moved) -> io::Result<Self> {
        let stream = TcpStream::from_std(moved.stream)?;
        let mut connection = Self {
            partial: moved.unserved,
            ..Self::new(worker, stream, moved.open)
        };
        connection.entry.link.append(&moved.unsent);
        connection.settle(moved.hello);
        Ok(connection)
    }

    /// Answers the HELLO that a connection moved for, and goes on behind it.
    fn settle(&mut self, hello: RequestId) {
        let mut reply = Vec::new();
        let answer = Answer::Hello(self.entry.worker.hello());
        framed::encode_answer(hello, &answer, &mut reply);
        self.entry.link.append(&reply);
        self.phase = Phase::Arrived;
    }

    /// Serves it to its end, or until another worker takes over.
    pub(super) async fn serve(mut self) {
        if let End::Move { to, hello } = poll_fn(|context| self.poll(context)).await {
            // A peer that is gone has nobody to tell.
            let _ = self.depart(to, hello);
        }
    }

    fn depart(self, to: WorkerId, hello: RequestId) -> io::Result<()> {
        let moved = Moved {
            stream: self.stream.into_std()?,
            unserved: self.partial,
            unsent: self.entry.link.take_unsent(),
            hello,
            open: self.open,
        };
        self.entry.worker.move_to(to, moved);
        Ok(())
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        self.entry.link.set_waker(context.waker());
        for _ in 0..READS_PER_TURN {
            match self.step(context) {
                Ok(Step::Again) => {}
                Ok(Step::Wait) => return Poll::Pending,
                Ok(Step::End(end)) => return Poll::Ready(end),
                // A peer that is gone has nobody to tell.
                Err(_) => return Poll::Ready(End::Over),
            }
        }
        give_way(context);
        Poll::Pending
    }

    fn step(&mut self, context: &mut Context<'_>) -> io::Result<Step> {
        let all_written = self.write(context)?;
        match self.phase {
            Phase::Opening | Phase::Framed if self.entry.worker.stopping() => {
                self.phase = Phase::Closing { linger: true };
                Ok(Step::Again)
            }
            Phase::Opening | Phase::Framed => self.read(context),
            Phase::Arrived => self.serve_unserved(context),
            Phase::Moving { hello, .. } if self.entry.worker.stopping() => {
                self.settle(hello); // the other worker may have stopped already
                Ok(Step::Again)
            }
            Phase::Moving { .. } if self.entry.link.in_flight() > 0 => Ok(Step::Wait),
            Phase::Moving { to, hello } => Ok(Step::End(End::Move { to, hello })),
            Phase::Closing { .. } if self.entry.link.in_flight() > 0 || !all_written => {
                Ok(Step::Wait)
            }
            Phase::Closing { linger: false } => Ok(Step::End(End::Over)),
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
        let stream = &mut self.stream;
        let link = &self.entry.link;
        link.write_to(|replies| Pin::new(&mut *stream).poll_write(context, replies))
    }

    /// Writes `output` after all that is unsent; what the peer does not take becomes unsent. What
    /// came back from other workers is among the unsent by now, and older than `output`: so the
    /// replies to a topic keep their order.
    fn send(&mut self, context: &mut Context<'_>, mut output: &[u8]) -> io::Result<()> {
        if self.entry.link.unsent() == 0 {
            while !output.is_empty() {
                match Pin::new(&mut self.stream).poll_write(context, output) {
                    Poll::Ready(written) => output = &output[written?..],
                    Poll::Pending => break,
                }
            }
        }
        self.entry.link.append(output);
        Ok(())
    }

    /// Whether the peer may ask more before it takes its replies. Where not, the task is woken when
    /// it takes some (by the write that left them unsent) or when some come back.
    fn may_read(&self) -> bool {
        let limit = match self.entry.worker.unsent.get() {
            WORKER_UNSENT_LIMIT.. => TIGHT_UNSENT_LIMIT,
            _ => UNSENT_LIMIT,
        };
        self.entry.link.in_flight() < IN_FLIGHT_LIMIT && self.entry.link.unsent() < limit
    }

    /// One read, all its requests, one write.
    fn read(&mut self, context: &mut Context<'_>) -> io::Result<Step> {
        if !self.may_read() || self.entry.worker.congested(context.waker()) {
            return Ok(Step::Wait);
        }
        let worker = Rc::clone(&self.entry.worker);
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
            self.take(scratch, start + len);
        }
        self.finish(context, scratch)
    }

    /// Serves what was read before the move.
    fn serve_unserved(&mut self, context: &mut Context<'_>) -> io::Result<Step> {
        if self.entry.worker.congested(context.waker()) {
            return Ok(Step::Wait);
        }
        self.phase = Phase::Framed;
        let worker = Rc::clone(&self.entry.worker);
        let scratch = &mut *worker.scratch.borrow_mut();
        let len = self.partial.len();
        scratch.input[..len].copy_from_slice(&self.partial);
        self.take(scratch, len);
        self.finish(context, scratch)
    }

    /// Writes the replies that are there already.
    fn finish(&mut self, context: &mut Context<'_>, scratch: &mut Scratch) -> io::Result<Step> {
        let sent = self.send(context, &scratch.output);
        // Also after an error: the next connection must find nothing of this one's.
        empty(&mut scratch.output, UNSENT_LIMIT);
        sent.map(|()| Step::Again)
    }

    /// The peer shut its side down: it may still wait for replies.
    fn end(&mut self, output: &mut Vec<u8>) {
        if !self.partial.is_empty() {
            let broken = Reply::Error(ErrorCode::BadFrame);
            framed::encode_reply(framed::broken_id(&self.partial), broken, output);
        }
        self.phase = Phase::Closing { linger: false };
    }

    /// Takes in the first `len` bytes of the input: all that came since the last whole frame.
    fn take(&mut self, scratch: &mut Scratch, len: usize) {
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
                Dialect::Resp | Dialect::Unknown => {
                    classic::encode_reply(Reply::Error(ErrorCode::BadOpcode), output);
                    self.phase = Phase::Closing { linger: true };
                }
            }
        }
        if let Phase::Framed = self.phase {
            self.take_frames(input, requests, output);
        }

        let Entry { worker, key, link } = &self.entry;
        link.departed(requests.count());
        let source = Source::Connection(*key);
        worker.submit(requests, input, source, |request, reply| {
            link.arrived(1);
            link.encode(request.id, reply, output);
        });
    }

    /// The one message of a classic connection.
    fn take_message(&mut self, input: &[u8], requests: &mut Requests, output: &mut Vec<u8>) {
        self.entry.link.set_classic();
        let taken = intake::take_message(&self.entry.worker, input, 0..input.len(), 0, requests);
        if let Err(error) = taken {
            classic::encode_reply(Reply::Error(error), output);
        }
        self.phase = Phase::Closing {
            linger: taken.is_err(),
        };
    }

    /// All whole frames; the beginning of one more stays for the next read.
    fn take_frames(&mut self, input: &[u8], requests: &mut Requests, output: &mut Vec<u8>) {
        let worker = &*self.entry.worker;
        let whole = 0..input.len();
        let answer = |id, answer: Answer<'_>| framed::encode_answer(id, &answer, output);
        empty(&mut self.partial, KEEP_LEN);
        match intake::take_frames(worker, input, whole, None, requests, answer) {
            FramesEnd::At(end) => self.partial.extend_from_slice(&input[end..]),
            FramesEnd::Lost => self.phase = Phase::Closing { linger: true },
            FramesEnd::Move { at, hello, to } => {
                self.partial.extend_from_slice(&input[at..]);
                self.phase = Phase::Moving { to, hello };
            }
        }
    }

    /// Throws away what the peer still sends, until it has read all and closes, or has had its
    /// time. A server that stops waits only for what is there already.
    fn linger(&mut self, context: &mut Context<'_>) -> io::Result<Step> {
        let Phase::Lingering { until, left } = &mut self.phase else {
            return Ok(Step::End(End::Over));
        };
        if *left == 0 || until.as_mut().poll(context).is_ready() {
            return Ok(Step::End(End::Over));
        }
        let mut scratch = self.entry.worker.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch.input[..READ_LEN]);
        match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
            Poll::Ready(read) => {
                read?;
                match buffer.filled().len() {
                    0 => Ok(Step::End(End::Over)),
                    len => {
                        *left = left.saturating_sub(len);
                        Ok(Step::Again)
                    }
                }
            }
            Poll::Pending if self.entry.worker.stopping() => Ok(Step::End(End::Over)),
            Poll::Pending => Ok(Step::Wait),
        }
    }
}
