//! One connection, from its first call to its loss.

use std::collections::HashMap;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::coalesce::{self, Callers, Departure};
use super::job::Job;
use crate::client::error::{Failure, Kind, not_a_server};
use crate::protocol::framed::{self, RequestId};

/// How many calls may wait for the task; more wait to enter.
pub(super) const QUEUE_LEN: usize = 1024;

/// While this many bytes are not written, no further calls are taken from the queue.
const UNWRITTEN_LIMIT: usize = 256 * 1024;

/// Any longer timeout comes to the same, and this one can be added to the clock.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The most bytes that one read takes.
const READ_LEN: usize = 64 * 1024;

/// One connection.
pub(super) struct Session {
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
    pub(super) fn new(stream: TcpStream, timeout: Duration, coalesce: bool) -> Self {
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
    pub(super) async fn serve(
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

    pub(super) fn fail_all(&mut self, why: &Kind) {
        for (_, waiting) in self.in_flight.drain() {
            let failure = Failure {
                kind: why.clone(),
                maybe_applied: waiting.start < self.written,
            };
            waiting.callers.fail(failure);
        }
    }
}
