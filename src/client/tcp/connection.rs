//! One connection, until it is lost: writing the frames of calls, and matching replies to them.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::coalesce::{self, OutgoingFrame, Waiters};
use super::job::Job;
use super::stream::Stream;
use crate::client::error::{Failure, Kind, not_a_server};
use crate::protocol::framed::{self, RequestId};

/// How many calls the task's queue holds; further callers wait for room in it.
pub(super) const QUEUE_LEN: usize = 1024;

/// While at least this many bytes wait to be written, no calls are taken from the queue.
const UNWRITTEN_LIMIT: usize = 256 * 1024;

/// The cap on the silence limit: as good as no limit, and small enough to add to an `Instant`.
const MAX_SILENCE: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The room that is reserved for each read, in bytes.
const READ_LEN: usize = 64 * 1024;

/// A connection and the calls in flight on it.
pub(super) struct Connection {
    stream: Stream,
    in_flight: HashMap<RequestId, InFlight>,
    /// Frames not written yet.
    output: Vec<u8>,
    /// How many bytes were written to the socket, in total.
    written: u64,
    /// How many bytes were appended to `output`, in total.
    queued: u64,
    input: Vec<u8>,
    /// How long the server may send nothing while calls are in flight.
    silence_limit: Duration,
    /// When the silence began: at the last bytes from the server, or at the first call after the
    /// connection was idle.
    silent_since: Instant,
    /// Whether counts of one topic are merged.
    coalesce: bool,
}

struct InFlight {
    waiters: Waiters,
    /// The value of `queued` at the frame's first byte.
    start: u64,
}

impl Connection {
    pub(super) fn new(stream: Stream, timeout: Duration, coalesce: bool) -> Self {
        Self {
            coalesce,
            stream,
            in_flight: HashMap::new(),
            output: Vec::new(),
            written: 0,
            queued: 0,
            input: Vec::with_capacity(READ_LEN),
            // A little less than a call's timeout: when a call times out, its dead connection is
            // already closed, and the next call reconnects.
            silence_limit: (timeout - timeout / 16).min(MAX_SILENCE),
            silent_since: Instant::now(),
        }
    }

    /// Serves calls until the handle is dropped (`Ok`) or the connection fails (`Err`). After a
    /// failure, the jobs left in `pending` were not sent.
    pub(super) async fn serve(
        &mut self,
        jobs: &mut mpsc::Receiver<Job>,
        pending: &mut Vec<Job>,
    ) -> Result<(), Kind> {
        let lost = |error| Kind::Lost(Arc::new(error));
        let mut silence = std::pin::pin!(sleep_until(self.silent_since + self.silence_limit));
        self.queue_jobs(pending);
        loop {
            let idle = self.in_flight.is_empty() && self.output.is_empty();
            tokio::select! {
                biased;
                () = &mut silence, if !idle => {
                    let end = self.silent_since + self.silence_limit;
                    if end <= Instant::now() {
                        let limit = self.silence_limit;
                        return Err(Kind::TimedOut(format!(
                            "to any call on this connection within {limit:?}"
                        )));
                    }
                    silence.as_mut().reset(end);
                }
                moved = transfer(&mut self.stream, &mut self.input, &self.output) => {
                    match moved.map_err(lost)? {
                        Moved::Read(0) => return Err(lost(io::Error::new(
                            io::ErrorKind::UnexpectedEof,
                            "the server closed it",
                        ))),
                        Moved::Read(_) => {
                            self.silent_since = Instant::now();
                            self.deliver_replies()?;
                        }
                        Moved::Written(written) => {
                            self.written += written as u64;
                            self.output.drain(..written);
                        }
                    }
                }
                taken = jobs.recv_many(pending, QUEUE_LEN), if self.output.len() < UNWRITTEN_LIMIT => {
                    if taken == 0 {
                        return Ok(());
                    }
                    if idle {
                        self.check_alive().await.map_err(lost)?;
                        self.silent_since = Instant::now();
                    }
                    self.queue_jobs(pending);
                }
            }
        }
    }

    /// Checks that an idle connection is still open before anything is sent on it. A blocking
    /// client's runtime runs only during calls, so it may not have noticed the end yet.
    async fn check_alive(&mut self) -> io::Result<()> {
        // Lets the runtime poll its sockets.
        tokio::task::yield_now().await;
        let read = poll_fn(|cx| Poll::Ready(poll_read(&mut self.stream, &mut self.input, cx)));
        match read.await {
            Poll::Ready(Ok(0)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Poll::Ready(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Queues the frames of jobs for writing, except for calls that were given up.
    fn queue_jobs(&mut self, pending: &mut Vec<Job>) {
        pending.retain(|job| !job.reply.is_closed() && !job.claimed.swap(true, Ordering::AcqRel));
        if self.coalesce && pending.len() > 1 {
            for frame in coalesce::merge(mem::take(pending)) {
                self.queue_frame(frame);
            }
        } else {
            for job in pending.drain(..) {
                self.queue_frame(OutgoingFrame::single(job));
            }
        }
    }

    fn queue_frame(&mut self, outgoing: OutgoingFrame) {
        let OutgoingFrame { id, frame, waiters } = outgoing;
        let start = self.queued;
        self.queued += frame.len() as u64;
        self.output.extend_from_slice(&frame);
        self.in_flight.insert(id, InFlight { waiters, start });
    }

    /// Delivers every complete reply in `input` to its waiters.
    fn deliver_replies(&mut self) -> Result<(), Kind> {
        let mut at = 0;
        let mut retries = Vec::new();
        let result = loop {
            let frame = match framed::decode_reply(&self.input[at..]) {
                Ok(Some(frame)) => frame,
                Ok(None) => break Ok(()),
                Err(error) => break Err(not_a_server(error)),
            };
            at += frame.len;
            if let Some(request) = self.in_flight.remove(&frame.id) {
                retries.append(&mut request.waiters.complete(frame.answer.into()));
            }
        };
        self.input.drain(..at);
        self.input.reserve(READ_LEN);
        for job in retries {
            self.queue_frame(OutgoingFrame::single(job));
        }
        result
    }

    /// Fails every call in flight. A call may have been applied if any byte of its frame was
    /// written.
    pub(super) fn fail_all(&mut self, why: &Kind) {
        for (_, request) in self.in_flight.drain() {
            let failure = Failure {
                kind: why.clone(),
                maybe_applied: request.start < self.written,
            };
            request.waiters.fail(failure);
        }
    }
}

/// How many bytes were moved between a connection and its buffers.
enum Moved {
    Read(usize),
    Written(usize),
}

/// Reads what has arrived, or else writes what the connection accepts.
async fn transfer(stream: &mut Stream, input: &mut Vec<u8>, output: &[u8]) -> io::Result<Moved> {
    poll_fn(|cx| {
        if let Poll::Ready(read) = poll_read(stream, input, cx) {
            return Poll::Ready(read.map(Moved::Read));
        }
        if !output.is_empty()
            && let Poll::Ready(written) = Pin::new(&mut *stream).poll_write(cx, output)
        {
            return Poll::Ready(written.map(Moved::Written));
        }
        // Records of TLS that the socket has not accepted yet.
        match Pin::new(&mut *stream).poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Pending,
        }
    })
    .await
}

fn poll_read(
    stream: &mut Stream,
    input: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    pin!(stream.read_buf(input)).poll(cx)
}
