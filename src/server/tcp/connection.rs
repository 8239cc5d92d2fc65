//! One TCP connection: reads, has its requests counted, writes the replies. Which dialect it speaks
//! is told by its first byte. Costs little while idle: the buffers are the worker's, a connection
//! keeps only what is left over between two reads or two writes.

use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::drift::Drift;
use super::moved::Onward;
use super::port::{READ_LEN, Scratch, TcpPort};
use crate::protocol::framed::{self, Answer};
use crate::protocol::{Dialect, ErrorCode, Reply, classic};
use crate::server::exchange::{
    ConnectionKey, FramesEnd, Outcome, Requests, Source, WorkerId, empty, shrink,
};
use crate::server::resp::{Rest, Session};
use crate::server::status::OpenConnection;
use crate::server::worker::{KEEP_LEN, Link, UNSENT_LIMIT, Worker, give_way};

/// The most reads of a connection in one turn of its task, so that one that always has more does
/// not keep the others waiting.
const READS_PER_TURN: usize = 4;

/// How long a connection that has not sent anything yet may still do so once the server stops: its peer
/// was let in, and what it asks first follows its handshake within a round trip.
const OPENING_GRACE: Duration = Duration::from_millis(100);

/// How long, and over how many bytes, a connection that is being closed still takes what its peer
/// sends. Closing over unread bytes would reset it, and the peer might lose the last reply.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_LEN: usize = 1024 * 1024;

/// The task of one connection; it ends when the connection does, or moves to another worker.
pub(super) struct Connection {
    pub(super) entry: Entry,
    pub(super) stream: TcpStream,
    /// What was read and is not done with: the beginning of a request that the last read broke off
    /// in, or more.
    pub(super) partial: Vec<u8>,
    /// Whether there may be whole requests in it, which have to be served before more is read.
    pub(super) unserved: bool,
    pub(super) phase: Phase,
    /// What may draw it to another worker; `None` where it stays, since its client chose or there is
    /// no other.
    pub(super) drift: Option<Drift>,
    pub(super) open: OpenConnection,
}

/// A connection's place among those of its worker.
pub(super) struct Entry {
    pub(super) port: Rc<TcpPort>,
    key: ConnectionKey,
    pub(super) link: Rc<Link>,
}

impl Entry {
    pub(super) fn worker(&self) -> &Worker {
        &self.port.worker
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.worker().disconnect(self.key);
    }
}

pub(super) enum Phase {
    /// Nothing was read yet.
    Opening,
    /// Nothing was read yet, and the server stops: what comes first is still served.
    OpeningLate { until: Pin<Box<Sleep>> },
    /// Frames, any number of them.
    Framed,
    /// Commands of the Redis protocol.
    Resp(Box<Session>),
    /// Another worker takes over once nothing is in flight.
    Moving { to: WorkerId, onward: Onward },
    /// Nothing more is read. Once all is answered and written the connection ends, at once or
    /// after lingering.
    Closing { linger: bool },
    /// All is written, our side is shut; what the peer still sends is thrown away.
    Lingering { until: Pin<Box<Sleep>>, left: usize },
}

/// What one step of a connection came to.
pub(super) enum Step {
    /// Something was done; there may be more.
    Again,
    /// Nothing to do until the task is woken, which is arranged.
    Wait,
    /// The task ends.
    End(End),
}

/// How a connection's task ends.
pub(super) enum End {
    /// With the connection.
    Over,
    /// The connection moves to another worker.
    Move { to: WorkerId, onward: Onward },
}

impl Connection {
    /// A connection that was just accepted.
    pub(super) fn new(port: Rc<TcpPort>, stream: TcpStream, open: OpenConnection) -> Self {
        let (key, link) = port.worker.connect();
        Self {
            drift: port.worker.has_others().then(Drift::default),
            entry: Entry { port, key, link },
            stream,
            partial: Vec::new(),
            unserved: false,
            phase: Phase::Opening,
            open,
        }
    }

    /// Serves it to its end, or until another worker takes over.
    pub(super) async fn serve(mut self) {
        if let End::Move { to, onward } = poll_fn(|context| self.poll(context)).await {
            // A peer that is gone has nobody to tell.
            let _ = self.depart(to, onward);
        }
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
            Phase::Opening | Phase::Framed | Phase::Resp(_) => {
                if self.unserved {
                    return self.serve_unserved(context);
                }
                if self.entry.worker().stopping() {
                    self.phase = match self.phase {
                        Phase::Opening => Phase::OpeningLate {
                            until: Box::pin(tokio::time::sleep(OPENING_GRACE)),
                        },
                        _ => Phase::Closing { linger: true },
                    };
                    return Ok(Step::Again);
                }
                self.read(context)
            }
            Phase::OpeningLate { ref mut until } => {
                if until.as_mut().poll(context).is_ready() {
                    self.phase = Phase::Closing { linger: true };
                    return Ok(Step::Again);
                }
                self.read(context)
            }
            Phase::Moving { .. } => Ok(self.leave()),
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

    /// One read, all its requests, one write.
    fn read(&mut self, context: &mut Context<'_>) -> io::Result<Step> {
        if !self.entry.link.has_room() || self.entry.worker().congested(context.waker()) {
            return Ok(Step::Wait);
        }
        let port = Rc::clone(&self.entry.port);
        let scratch = &mut *port.scratch.borrow_mut();
        // What is left over is continued in the worker's buffer, unless it is a command so long that
        // it has to be collected where it is.
        let start = match self.partial.len() {
            len @ ..=framed::MAX_FRAME => len,
            _ => 0,
        };
        let mut buffer = ReadBuf::new(&mut scratch.input[start..start + READ_LEN]);
        let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, &mut buffer) else {
            return Ok(Step::Wait);
        };
        read?;
        let len = buffer.filled().len();
        let Scratch {
            input,
            output,
            requests,
        } = scratch;
        if len == 0 {
            self.end(output);
        } else if start < self.partial.len() {
            self.partial.extend_from_slice(&input[..len]);
            self.serve_partial(output, requests);
        } else {
            input[..start].copy_from_slice(&self.partial);
            empty(&mut self.partial, KEEP_LEN);
            let input = &mut input[..start + len];
            let done = self.take(input, output, requests);
            self.partial.extend_from_slice(&input[done..]);
            self.entry.link.set_unserved(self.partial.len());
        }
        self.finish(context, output)
    }

    /// Serves what was read before, as far as that can be done by now.
    fn serve_unserved(&mut self, context: &mut Context<'_>) -> io::Result<Step> {
        if let Phase::Resp(session) = &self.phase
            && !session.may_go_on(&self.entry.link)
        {
            return Ok(Step::Wait);
        }
        if self.entry.worker().congested(context.waker()) {
            return Ok(Step::Wait);
        }
        let port = Rc::clone(&self.entry.port);
        let Scratch {
            output, requests, ..
        } = &mut *port.scratch.borrow_mut();
        self.serve_partial(output, requests);
        self.finish(context, output)
    }

    /// Takes in what is left over from reads before.
    fn serve_partial(&mut self, output: &mut Vec<u8>, requests: &mut Requests) {
        let mut input = mem::take(&mut self.partial);
        let done = self.take(&mut input, output, requests);
        input.drain(..done);
        shrink(&mut input, KEEP_LEN);
        self.partial = input;
        self.entry.link.set_unserved(self.partial.len());
    }

    /// Writes the replies that are there already.
    fn finish(&mut self, context: &mut Context<'_>, output: &mut Vec<u8>) -> io::Result<Step> {
        let sent = self.send(context, output);
        // Also after an error: the next connection must find nothing of this one's.
        empty(output, UNSENT_LIMIT);
        sent.map(|()| Step::Again)
    }

    /// The peer shut its side down: it may still wait for replies.
    fn end(&mut self, output: &mut Vec<u8>) {
        if let Phase::Resp(session) = &self.phase {
            let link = &self.entry.link;
            session.end(&self.partial, link);
            self.entry
                .worker()
                .counters()
                .count_errors(link.drain(output));
        } else if !self.partial.is_empty() {
            let broken = Reply::Error(ErrorCode::BadFrame);
            framed::encode_reply(framed::broken_id(&self.partial), broken, output);
        }
        self.phase = Phase::Closing { linger: false };
    }

    /// Takes in `input`: all that came since the last whole request. Returns how many bytes of it
    /// are done with.
    fn take(&mut self, input: &mut [u8], output: &mut Vec<u8>, requests: &mut Requests) -> usize {
        self.unserved = false;
        if let Phase::Opening | Phase::OpeningLate { .. } = self.phase {
            match Dialect::of(input[0]) {
                Dialect::Framed => self.phase = Phase::Framed,
                Dialect::Classic => self.take_message(input, requests, output),
                Dialect::Resp => self.open_resp(),
                Dialect::Reply => self.phase = Phase::Closing { linger: false },
                Dialect::Unknown => {
                    classic::encode_reply(Reply::Error(ErrorCode::BadOpcode), output);
                    self.phase = Phase::Closing { linger: true };
                }
            }
        }
        match &self.phase {
            Phase::Framed => {
                let done = self.take_frames(input, requests, output);
                self.submit(input, output, requests);
                done
            }
            Phase::Resp(_) => self.take_commands(input, output, requests),
            _ => {
                self.submit(input, output, requests);
                input.len()
            }
        }
    }

    /// Has requests counted whose topics lie in `input`; what is known at once goes to `output`. They
    /// may draw the connection to another worker.
    fn submit(&mut self, input: &[u8], output: &mut Vec<u8>, requests: &mut Requests) {
        let Entry { port, key, link } = &self.entry;
        let worker = &port.worker;
        let drift = self.drift.as_mut();
        let drawn_to = drift.and_then(|drift| drift.note(requests, worker.shard()));
        link.add_in_flight(requests.count());
        let source = Source::Connection(*key);
        worker.submit(requests, input, source, |outcome| match outcome {
            Outcome::Reply(request, reply) => {
                link.sub_in_flight(1);
                link.encode(request.id, *reply, output);
            }
            // What is about to be unsent comes behind what there is already.
            Outcome::Returned(batch) if batch.is_of(*key) => {
                link.append(output);
                output.clear();
            }
            Outcome::Returned(_) => {}
        });
        if let Some(shard) = drawn_to {
            self.follow(shard);
        }
    }

    /// The one message of a classic connection.
    fn take_message(&mut self, input: &[u8], requests: &mut Requests, output: &mut Vec<u8>) {
        self.entry.link.set_classic();
        let taken = self
            .entry
            .worker()
            .intake
            .take_message(input, 0..input.len(), 0, requests);
        if let Err(error) = taken {
            classic::encode_reply(Reply::Error(error), output);
        }
        self.phase = Phase::Closing {
            linger: taken.is_err(),
        };
    }

    /// All whole frames; the beginning of one more is not done with.
    fn take_frames(
        &mut self,
        input: &[u8],
        requests: &mut Requests,
        output: &mut Vec<u8>,
    ) -> usize {
        let worker = self.entry.worker();
        let whole = 0..input.len();
        let answer = |id, answer: Answer<'_>| framed::encode_answer(id, &answer, output);
        match worker
            .intake
            .take_frames(input, whole, None, requests, answer)
        {
            FramesEnd::At(end) => end,
            FramesEnd::Lost => {
                self.phase = Phase::Closing { linger: true };
                input.len()
            }
            FramesEnd::Hello { at, id, to } => {
                if to == worker.id {
                    self.settle(id);
                } else {
                    let onward = Onward::Hello(id);
                    self.phase = Phase::Moving { to, onward };
                }
                at
            }
        }
    }

    /// The connection speaks the Redis protocol.
    fn open_resp(&mut self) {
        self.entry.link.set_resp();
        // Addresses are for CLIENT LIST; a peer that is gone already has none.
        let (peer, local) = (self.stream.peer_addr().ok(), self.stream.local_addr().ok());
        let session = Session::new(self.entry.worker(), peer, local);
        self.phase = Phase::Resp(Box::new(session));
    }

    /// The commands that can be served now.
    fn take_commands(
        &mut self,
        input: &mut [u8],
        output: &mut Vec<u8>,
        requests: &mut Requests,
    ) -> usize {
        let Entry { port, key, link } = &self.entry;
        let worker = &port.worker;
        let Phase::Resp(session) = &mut self.phase else {
            return 0;
        };
        let sample = worker.counters().sample();
        let taken = session.take(worker, link, *key, input, requests);
        self.submit(input, output, requests);
        let counters = self.entry.worker().counters();
        counters.count_errors(self.entry.link.drain(output));
        if let Some(sample) = sample {
            counters.sampled(&sample);
        }
        match taken.rest {
            Rest::Partial => {}
            Rest::Unserved => self.unserved = true,
            Rest::Void => {
                self.phase = Phase::Closing { linger: true };
                return input.len();
            }
        }
        taken.at
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
        let mut scratch = self.entry.port.scratch.borrow_mut();
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
            Poll::Pending if self.entry.worker().stopping() => Ok(Step::End(End::Over)),
            Poll::Pending => Ok(Step::Wait),
        }
    }
}
