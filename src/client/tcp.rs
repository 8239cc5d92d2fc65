//! The TCP transport of a client: one connection, any number of calls in flight. A task does the
//! reading and writing; calls come to it by a channel, replies go back by their ids. It connects
//! again when there is a call and no connection.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::Outcome;
use super::error::{Failure, Kind};
use super::options::Options;
use crate::protocol::framed::{self, Call, NotAReply, RequestId};

/// How many calls may wait for the task; more wait to enter.
const QUEUE_LEN: usize = 1024;

/// While this many bytes are not written, no further calls are taken from the queue.
const UNWRITTEN_LIMIT: usize = 256 * 1024;

/// The most bytes that one read takes.
const READ_LEN: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Tcp {
    jobs: mpsc::Sender<Job>,
    next_id: AtomicU32,
    options: Options,
}

#[derive(Debug)]
enum Job {
    Call {
        id: RequestId,
        frame: Vec<u8>,
        /// Set before the frame's first byte may be written.
        sent: Arc<AtomicBool>,
        reply: oneshot::Sender<Outcome>,
    },
    /// A call got no reply in time: where nothing at all came since it began, the connection is
    /// dead.
    TimedOut { began: Instant },
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
        let sent = Arc::new(AtomicBool::new(false));
        let (reply, outcome) = oneshot::channel();
        let job = Job::Call {
            id,
            frame,
            sent: Arc::clone(&sent),
            reply,
        };
        let began = Instant::now();
        let done = async {
            let gone = || {
                let error = io::Error::other("the client's runtime has ended");
                Kind::Lost(Arc::new(error))
            };
            let queued = self.jobs.send(job).await;
            queued.map_err(|_| Failure::not_applied(gone()))?;
            outcome.await.unwrap_or_else(|_| {
                Err(Failure {
                    kind: gone(),
                    maybe_applied: sent.load(Ordering::Acquire),
                })
            })
        };
        match timeout(self.options.timeout, done).await {
            Ok(outcome) => outcome,
            Err(_) => {
                // A full queue is no loss: the calls in it will time out as well.
                let _ = self.jobs.try_send(Job::TimedOut { began });
                Err(Failure {
                    kind: Kind::TimedOut(format!("within {:?}", self.options.timeout)),
                    maybe_applied: sent.load(Ordering::Acquire),
                })
            }
        }
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

/// The task: one connection after another, as long as there are clients.
async fn run(mut jobs: mpsc::Receiver<Job>, host: String, limit: Duration, first: TcpStream) {
    let mut session = Session::new(first);
    loop {
        let why = match session.serve(&mut jobs).await {
            Ok(()) => return,
            Err(why) => why,
        };
        session.fail_all(&why);

        // The next call finds out whether the server is back.
        session = loop {
            let Some(job) = jobs.recv().await else { return };
            let Job::Call { reply, .. } = &job else {
                continue;
            };
            if reply.is_closed() {
                continue;
            }
            match open(&host, limit).await {
                Ok(stream) => {
                    let mut session = Session::new(stream);
                    session.enter(job);
                    break session;
                }
                Err(failure) => {
                    if let Job::Call { reply, .. } = job {
                        // Whoever gave up meanwhile is not told.
                        let _ = reply.send(Err(failure));
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
    last_received: Instant,
}

struct InFlight {
    reply: oneshot::Sender<Outcome>,
    /// Where its frame begins, in bytes of this connection.
    start: u64,
}

impl Session {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            in_flight: HashMap::new(),
            output: Vec::new(),
            written: 0,
            entered: 0,
            input: Vec::with_capacity(READ_LEN),
            last_received: Instant::now(),
        }
    }

    /// Serves calls until there are no more clients (`Ok`) or the connection is of no more use.
    async fn serve(&mut self, jobs: &mut mpsc::Receiver<Job>) -> Result<(), Kind> {
        let lost = |error| Kind::Lost(Arc::new(error));
        let mut batch = Vec::new();
        loop {
            let (mut reader, mut writer) = self.stream.split();
            tokio::select! {
                taken = jobs.recv_many(&mut batch, QUEUE_LEN), if self.output.len() < UNWRITTEN_LIMIT => {
                    if taken == 0 {
                        return Ok(());
                    }
                    for job in batch.drain(..) {
                        self.enter_or_end(job)?;
                    }
                }
                written = writer.write(&self.output), if !self.output.is_empty() => {
                    let written = written.map_err(lost)?;
                    self.written += written as u64;
                    self.output.drain(..written);
                }
                read = reader.read_buf(&mut self.input) => {
                    if read.map_err(lost)? == 0 {
                        return Err(lost(io::Error::new(
                            io::ErrorKind::UnexpectedEof,
                            "the server closed it",
                        )));
                    }
                    self.last_received = Instant::now();
                    self.take_replies()?;
                }
            }
        }
    }

    fn enter_or_end(&mut self, job: Job) -> Result<(), Kind> {
        match job {
            Job::TimedOut { began } if self.last_received < began => {
                let silent = io::Error::new(io::ErrorKind::TimedOut, "the server is silent");
                Err(Kind::Lost(Arc::new(silent)))
            }
            job => {
                self.enter(job);
                Ok(())
            }
        }
    }

    fn enter(&mut self, job: Job) {
        let Job::Call {
            id,
            frame,
            sent,
            reply,
        } = job
        else {
            return;
        };
        if reply.is_closed() {
            return; // cancelled before it was sent
        }
        sent.store(true, Ordering::Release);
        let start = self.entered;
        self.entered += frame.len() as u64;
        self.output.extend_from_slice(&frame);
        self.in_flight.insert(id, InFlight { reply, start });
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
            let _ = waiting.reply.send(Err(failure));
        }
    }
}

fn not_a_server(error: NotAReply) -> Kind {
    Kind::NotAServer(error.to_string())
}
