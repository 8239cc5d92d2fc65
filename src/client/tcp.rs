//! The TCP transport of a client: one connection, any number of calls in flight. A task does the
//! reading and writing; calls come to it by a channel, replies go back by their ids. It connects
//! again when there is a call and no connection.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::Outcome;
use super::error::{Failure, Kind, runtime_ended};
use super::options::Options;
use crate::protocol::framed::{self, Call, NotAReply, RequestId};

/// How many calls may wait for the task; more wait to enter.
const QUEUE_LEN: usize = 1024;

/// While this many bytes are not written, no further calls are taken from the queue.
const UNWRITTEN_LIMIT: usize = 256 * 1024;

/// Any longer timeout comes to the same, and this one can be added to the clock.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

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
struct Job {
    id: RequestId,
    frame: Vec<u8>,
    /// Who comes first, sets it: the task before it writes the frame, or the caller when it gives
    /// up. So the frame of a call that has failed as certainly not applied is never written.
    claimed: Arc<AtomicBool>,
    reply: oneshot::Sender<Outcome>,
}

impl Tcp {
    /// Connects, and starts the task.
    pub(super) async fn connect(host: &str, options: Options) -> Result<Self, Failure> {
        let stream = open(host, options.timeout).await?;
        let (jobs, queue) = mpsc::channel(QUEUE_LEN);
        tokio::spawn(run(queue, host.into(), options.timeout, stream));
        Ok(Self {
            jobs,
            next_id: AtomicU32::new(1),
            options,
        })
    }

    pub(super) async fn call(&self, call: &Call<'_>) -> Outcome {
        let id = RequestId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let mut frame = Vec::new();
        framed::encode_request(id, call, &mut frame);
        let claimed = Arc::new(AtomicBool::new(false));
        let (reply, outcome) = oneshot::channel();
        let job = Job {
            id,
            frame,
            claimed: Arc::clone(&claimed),
            reply,
        };
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

async fn open(host: &str, limit: Duration) -> Result<TcpStream, Failure> {
    let connected = match timeout(limit, TcpStream::connect(host)).await {
        Ok(connected) => connected,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no connection within {limit:?}"),
        )),
    };
    connected
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|error| Failure::not_applied(Kind::Unreachable(Arc::new(error))))
}

/// The task: one connection after another, as long as there are clients. A new one is made when a
/// call wants it, which then finds out whether the server is back.
async fn run(mut jobs: mpsc::Receiver<Job>, host: String, limit: Duration, first: TcpStream) {
    // Taken from the queue, not given to a connection yet.
    let mut waiting = Vec::new();
    let mut session = Session::new(first, limit);
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
            match open(&host, limit).await {
                Ok(stream) => break Session::new(stream, limit),
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
}

struct InFlight {
    reply: oneshot::Sender<Outcome>,
    /// Where its frame begins, in bytes of this connection.
    start: u64,
}

impl Session {
    fn new(stream: TcpStream, timeout: Duration) -> Self {
        Self {
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
        for job in waiting.drain(..) {
            if job.reply.is_closed() || job.claimed.swap(true, Ordering::AcqRel) {
                continue;
            }
            let start = self.entered;
            self.entered += job.frame.len() as u64;
            self.output.extend_from_slice(&job.frame);
            let reply = job.reply;
            self.in_flight.insert(job.id, InFlight { reply, start });
        }
    }

    /// Hands every whole reply to who waits for it.
    fn take_replies(&mut self) -> Result<(), Kind> {
        let mut at = 0;
        while let Some(frame) = framed::decode_reply(&self.input[at..]).map_err(not_a_server)? {
            at += frame.len;
            if let Some(waiting) = self.in_flight.remove(&frame.id) {
                // Whoever gave up meanwhile is not told.
                let _ = waiting.reply.send(Ok(frame.answer.into()));
            }
        }
        self.input.drain(..at);
        self.input.reserve(READ_LEN);
        Ok(())
    }

    fn fail_all(&mut self, why: &Kind) {
        for (_, waiting) in self.in_flight.drain() {
            let failure = Failure {
                kind: why.clone(),
                maybe_applied: waiting.start < self.written,
            };
            // Whoever gave up meanwhile is not told.
            let _ = waiting.reply.send(Err(failure));
        }
    }
}

fn not_a_server(error: NotAReply) -> Kind {
    Kind::NotAServer(error.to_string())
}
