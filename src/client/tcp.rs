//! The TCP transport of a client: one connection, any number of calls in flight. A task does the
//! reading and writing; calls come to it by a channel, replies go back by their ids. It connects
//! again when there is a call and no connection.

use std::collections::HashMap;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::Outcome;
use super::coalesce::{self, Callers, Departure};
use super::error::{Failure, Kind, runtime_ended};
use super::options::Options;
use super::sharded::Owners;
use crate::protocol::framed::{self, Answer, Call, Hello, HelloReply, NotAReply, RequestId};
use crate::protocol::{ErrorCode, Op, Reply, Request};
use crate::topic::ShardId;

/// How many calls may wait for the task; more wait to enter.
const QUEUE_LEN: usize = 1024;

/// While this many bytes are not written, no further calls are taken from the queue.
const UNWRITTEN_LIMIT: usize = 256 * 1024;

/// Any longer timeout comes to the same, and this one can be added to the clock.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The id of a connection's HELLO, before any call's.
const HELLO_ID: RequestId = RequestId(0);

/// The most bytes that one read takes.
const READ_LEN: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Tcp {
    jobs: mpsc::Sender<Job>,
    next_id: AtomicU32,
    options: Options,
}

/// A call on its way to the connection.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: RequestId,
    pub(super) frame: Vec<u8>,
    /// Where in its frame its topic begins, and whether it counts it; `None`: it is for no topic.
    topic: Option<(usize, bool)>,
    /// Who comes first, sets it: the task before it writes the frame, or the caller when it gives
    /// up. So the frame of a call that has failed as certainly not applied is never written.
    claimed: Arc<AtomicBool>,
    pub(super) reply: oneshot::Sender<Outcome>,
}

impl Job {
    /// A call that nobody has claimed yet.
    pub(super) fn new(id: RequestId, call: &Call<'_>, reply: oneshot::Sender<Outcome>) -> Self {
        let mut frame = Vec::new();
        framed::encode_request(id, call, &mut frame);
        let topic = match call {
            Call::Topic(Request { op, topic }) => {
                // A frame ends with its topic.
                let start = frame.len() - topic.as_bytes().len();
                Some((start, matches!(op, Op::Count)))
            }
            Call::Hello(_) | Call::Ping(_) => None,
        };
        Self {
            id,
            frame,
            topic,
            claimed: Arc::default(),
            reply,
        }
    }

    /// Its topic, where it has one, and whether it counts it.
    pub(super) fn topic(&self) -> Option<(&[u8], bool)> {
        let (start, is_count) = self.topic?;
        Some((&self.frame[start..], is_count))
    }
}

/// How a connection is made.
#[derive(Debug)]
struct Dial {
    host: String,
    limit: Duration,
    /// The shard that it is for, and who is told what the server says of its shards.
    shard: Option<(ShardId, Owners)>,
}

impl Tcp {
    /// Connects, and starts the task.
    pub(super) async fn connect(host: &str, options: Options) -> Result<Self, Failure> {
        Self::dial(host, options, None).await
    }

    /// Connects to the worker of a shard, and starts the task.
    pub(super) async fn connect_to_shard(
        host: &str,
        options: Options,
        shard: ShardId,
        owners: Owners,
    ) -> Result<Self, Failure> {
        Self::dial(host, options, Some((shard, owners))).await
    }

    async fn dial(
        host: &str,
        options: Options,
        shard: Option<(ShardId, Owners)>,
    ) -> Result<Self, Failure> {
        let dial = Dial {
            host: host.into(),
            limit: options.timeout,
            shard,
        };
        let stream = dial.open().await?;
        let (jobs, queue) = mpsc::channel(QUEUE_LEN);
        tokio::spawn(run(queue, dial, options.coalesce, stream));
        Ok(Self {
            jobs,
            next_id: AtomicU32::new(1),
            options,
        })
    }

    pub(super) async fn call(&self, call: &Call<'_>) -> Outcome {
        let id = RequestId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let (reply, outcome) = oneshot::channel();
        let job = Job::new(id, call, reply);
        let claimed = Arc::clone(&job.claimed);
        let done = async {
            // Either error means that the task is gone, with its runtime.
            self.jobs.send(job).await.ok()?;
            outcome.await.ok()
        };
        let kind = match timeout(self.options.timeout, done).await {
            Ok(Some(outcome)) => return outcome,
            Ok(None) => Kind::Lost(runtime_ended()),
            Err(_) => Kind::TimedOut(format!("within {:?}", self.options.timeout)),
        };
        Err(Failure {
            kind,
            maybe_applied: claimed.swap(true, Ordering::AcqRel),
        })
    }
}

/// What the server at `host` says of itself.
pub(super) async fn ask_hello(host: &str, limit: Duration) -> Result<HelloReply, Failure> {
    within(limit, async {
        let mut stream = connected(host).await?;
        hello(&mut stream, None).await
    })
    .await
}

impl Dial {
    async fn open(&self) -> Result<TcpStream, Failure> {
        within(self.limit, async {
            let mut stream = connected(&self.host).await?;
            if let Some((shard, owners)) = &self.shard {
                owners.learn(hello(&mut stream, Some(*shard)).await?);
            }
            Ok(stream)
        })
        .await
    }
}

/// What comes of `connecting`, if it does not take too long.
async fn within<T>(
    limit: Duration,
    connecting: impl Future<Output = Result<T, Kind>>,
) -> Result<T, Failure> {
    let too_late = || {
        let why = format!("no connection within {limit:?}");
        unreachable(io::Error::new(io::ErrorKind::TimedOut, why))
    };
    let connected = timeout(limit, connecting).await;
    let connected = connected.unwrap_or_else(|_| Err(too_late()));
    connected.map_err(Failure::not_applied)
}

fn unreachable(error: io::Error) -> Kind {
    Kind::Unreachable(Arc::new(error))
}

async fn connected(host: &str) -> Result<TcpStream, Kind> {
    let stream = TcpStream::connect(host).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    Ok(stream)
}

/// Says HELLO on a new connection, and moves it to the worker of the shard. A server that has no such
/// shard, since it has come back with fewer, serves it as any other.
async fn hello(stream: &mut TcpStream, shard: Option<ShardId>) -> Result<HelloReply, Kind> {
    match exchange_hello(stream, shard).await {
        Err(Kind::Refused(ErrorCode::BadFrame)) if shard.is_some() => {
            exchange_hello(stream, None).await
        }
        other => other,
    }
}

/// One HELLO and its reply, with nothing else in flight.
async fn exchange_hello(
    stream: &mut TcpStream,
    shard: Option<ShardId>,
) -> Result<HelloReply, Kind> {
    let mut request = Vec::new();
    let call = Call::Hello(Hello { shard, token: b"" });
    framed::encode_request(HELLO_ID, &call, &mut request);
    stream.write_all(&request).await.map_err(unreachable)?;
    let mut input = Vec::new();
    loop {
        if let Some(frame) = framed::decode_reply(&input).map_err(not_a_server)? {
            return told(frame.id, &frame.answer);
        }
        if stream.read_buf(&mut input).await.map_err(unreachable)? == 0 {
            return Err(unreachable(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

fn told(id: RequestId, answer: &Answer<'_>) -> Result<HelloReply, Kind> {
    match *answer {
        Answer::Hello(hello) if id == HELLO_ID && hello.shards > 0 => Ok(hello),
        Answer::Reply(Reply::Error(code)) if id == HELLO_ID => Err(Kind::Refused(code)),
        ref other => {
            let why = format!("it answered HELLO with {other:?}");
            Err(Kind::NotAServer(why))
        }
    }
}

/// The task: one connection after another, as long as there are clients. A new one is made when a
/// call wants it, which then finds out whether the server is back.
async fn run(mut jobs: mpsc::Receiver<Job>, dial: Dial, coalesce: bool, first: TcpStream) {
    // Taken from the queue, not given to a connection yet.
    let mut waiting = Vec::new();
    let mut session = Session::new(first, dial.limit, coalesce);
    loop {
        match session.serve(&mut jobs, &mut waiting).await {
            Ok(()) => return,
            Err(why) => session.fail_all(&why),
        }
        session = loop {
            if waiting.is_empty() && jobs.recv_many(&mut waiting, QUEUE_LEN).await == 0 {
                return;
            }
            waiting.retain(|job| !job.reply.is_closed());
            if waiting.is_empty() {
                continue;
            }
            match dial.open().await {
                Ok(stream) => break Session::new(stream, dial.limit, coalesce),
                Err(failure) => {
                    for job in waiting.drain(..) {
                        // Whoever gave up meanwhile is not told.
                        let _ = job.reply.send(Err(failure.clone()));
                    }
                }
            }
        };
    }
}

/// One connection.
struct Session {
    stream: TcpStream,
    in_flight: HashMap<RequestId, InFlight>,
    /// Frames not written yet.
    output: Vec<u8>,
    /// How many bytes were written, and how many ever entered `output`.
    written: u64,
    entered: u64,
    input: Vec<u8>,
    /// How long the server may be silent while calls are in flight.
    silence_limit: Duration,
    /// Since when they wait for a sign of it.
    silent_since: Instant,
    /// Whether counts of one topic go together.
    coalesce: bool,
}

struct InFlight {
    callers: Callers,
    /// Where its frame begins, in bytes of this connection.
    start: u64,
}

impl Session {
    fn new(stream: TcpStream, timeout: Duration, coalesce: bool) -> Self {
        Self {
            coalesce,
            stream,
            in_flight: HashMap::new(),
            output: Vec::new(),
            written: 0,
            entered: 0,
            input: Vec::with_capacity(READ_LEN),
            // A little less than a call's, so that when a call has timed out its dead connection
            // is gone already, and the next call connects anew.
            silence_limit: (timeout - timeout / 16).min(FOREVER),
            silent_since: Instant::now(),
        }
    }

    /// Serves calls until there are no more clients (`Ok`) or the connection is of no more use.
    /// What is in `waiting` then was not sent.
    async fn serve(
        &mut self,
        jobs: &mut mpsc::Receiver<Job>,
        waiting: &mut Vec<Job>,
    ) -> Result<(), Kind> {
        let lost = |error| Kind::Lost(Arc::new(error));
        let mut silence = std::pin::pin!(sleep_until(self.silent_since + self.silence_limit));
        self.enter(waiting);
        loop {
            let idle = self.in_flight.is_empty() && self.output.is_empty();
            let (mut reader, mut writer) = self.stream.split();
            tokio::select! {
                biased;
                () = &mut silence, if !idle => {
                    let end = self.silent_since + self.silence_limit;
                    if end <= Instant::now() {
                        let limit = self.silence_limit;
                        return Err(Kind::TimedOut(format!("of any kind within {limit:?}")));
                    }
                    silence.as_mut().reset(end);
                }
                read = reader.read_buf(&mut self.input) => {
                    if read.map_err(lost)? == 0 {
                        return Err(lost(io::Error::new(
                            io::ErrorKind::UnexpectedEof,
                            "the server closed it",
                        )));
                    }
                    self.silent_since = Instant::now();
                    self.take_replies()?;
                }
                written = writer.write(&self.output), if !self.output.is_empty() => {
                    let written = written.map_err(lost)?;
                    self.written += written as u64;
                    self.output.drain(..written);
                }
                taken = jobs.recv_many(waiting, QUEUE_LEN), if self.output.len() < UNWRITTEN_LIMIT => {
                    if taken == 0 {
                        return Ok(());
                    }
                    if idle {
                        self.check_alive().await.map_err(lost)?;
                        self.silent_since = Instant::now();
                    }
                    self.enter(waiting);
                }
            }
        }
    }

    /// Looks whether an idle connection has ended meanwhile, before anything is sent on it. A
    /// blocking client's runtime only runs during calls, so it may not know yet.
    async fn check_alive(&mut self) -> io::Result<()> {
        // Lets the runtime look at its sockets.
        tokio::task::yield_now().await;
        match self.stream.try_read_buf(&mut self.input) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// Has calls written, but for those that nobody waits for any more.
    fn enter(&mut self, waiting: &mut Vec<Job>) {
        waiting.retain(|job| !job.reply.is_closed() && !job.claimed.swap(true, Ordering::AcqRel));
        if self.coalesce && waiting.len() > 1 {
            for departure in coalesce::departures(mem::take(waiting)) {
                self.depart(departure);
            }
        } else {
            for job in waiting.drain(..) {
                self.depart(Departure::of_one(job));
            }
        }
    }

    fn depart(&mut self, departure: Departure) {
        let Departure { id, frame, callers } = departure;
        let start = self.entered;
        self.entered += frame.len() as u64;
        self.output.extend_from_slice(&frame);
        self.in_flight.insert(id, InFlight { callers, start });
    }

    /// Hands every whole reply to who waits for it.
    fn take_replies(&mut self) -> Result<(), Kind> {
        let mut at = 0;
        let mut again = Vec::new();
        let result = loop {
            let frame = match framed::decode_reply(&self.input[at..]) {
                Ok(Some(frame)) => frame,
                Ok(None) => break Ok(()),
                Err(error) => break Err(not_a_server(error)),
            };
            at += frame.len;
            if let Some(waiting) = self.in_flight.remove(&frame.id) {
                again.append(&mut waiting.callers.answer(frame.answer.into()));
            }
        };
        self.input.drain(..at);
        self.input.reserve(READ_LEN);
        for job in again {
            self.depart(Departure::of_one(job));
        }
        result
    }

    fn fail_all(&mut self, why: &Kind) {
        for (_, waiting) in self.in_flight.drain() {
            let failure = Failure {
                kind: why.clone(),
                maybe_applied: waiting.start < self.written,
            };
            waiting.callers.fail(failure);
        }
    }
}

fn not_a_server(error: NotAReply) -> Kind {
    Kind::NotAServer(error.to_string())
}
