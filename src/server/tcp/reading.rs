//! Reads from a connection: decodes requests, submits them to their shards, and writes the replies
//! that are known at once. The first byte of a connection decides its dialect.

use std::io;
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;
use tracing::debug;

use super::connection::{Connection, Phase, Registered, Step};
use super::context::{READ_LEN, Scratch};
use super::moved::PendingHello;
use super::rate::meter;
use crate::access::{Forwarded, Limited, Open, Topics};
use crate::protocol::framed::{self, Answer, RequestId};
use crate::protocol::{Dialect, ErrorCode, classic};
use crate::server::exchange::{FramesEnd, Outcome, Requests, Source, empty, shrink, with_replies};
use crate::server::net::{LogLimit, is_client_hello};
use crate::server::resp::{self, Rest, Session};
use crate::server::worker::{Awaited, KEEP_LEN};

static MISLED: LogLimit = LogLimit::new();

/// How many bytes the worker's buffer of replies keeps. Most reads bring fewer.
const KEEP_OUTPUT: usize = 4 * 1024 * 1024;

impl Connection {
    /// Reads once, serves all whole requests, and writes their replies with one call.
    pub(super) fn read(&mut self, cx: &mut Context<'_>) -> io::Result<Step> {
        let link = &self.registered.link;
        if !link.has_room() || link.worker_is_full(cx.waker()) {
            self.registered.worker().counters().stalled();
            self.awaits_new = true;
            return Ok(Step::Wait);
        }
        if self.registered.worker().congested(cx.waker()) {
            self.awaits_new = true;
            return Ok(Step::Wait);
        }
        let context = Rc::clone(&self.registered.context);
        let counters = context.worker.counters();
        let scratch = &mut *context.scratch.borrow_mut();
        // Left-over bytes are copied in front of the new ones into the worker's buffer, unless they
        // belong to a long command, which is collected in `partial`.
        let start = match self.partial.len() {
            len @ ..=framed::MAX_FRAME => len,
            _ => 0,
        };
        let mut buffer = ReadBuf::new(&mut scratch.input[start..start + READ_LEN]);
        let mut stream = self.stream.borrow_mut();
        let read = stream.poll_read(cx, &mut buffer, &mut scratch.ciphertext);
        let record = stream.incomplete_record();
        drop(stream);
        let Poll::Ready(read) = read else {
            self.wait_for_input(record);
            return Ok(Step::Wait);
        };
        read?;
        let len = buffer.filled().len();
        counters.tcp_received(len);
        let measured = counters.sample_read();
        let submitted = self.registered.link.submitted();
        let Scratch {
            input,
            output,
            requests,
            ..
        } = scratch;
        if len == 0 {
            self.peer_shut_down(output);
        } else if start < self.partial.len() {
            self.partial.extend_from_slice(&input[..len]);
            self.serve_partial(output, requests);
        } else {
            input[..start].copy_from_slice(&self.partial);
            empty(&mut self.partial, KEEP_LEN);
            let input = &mut input[..start + len];
            let done = self.serve_input(input, output, requests);
            self.awaits_new |= done > 0 || start == 0;
            self.partial.extend_from_slice(&input[done..]);
            self.registered.link.set_unserved(self.partial.len());
        }
        let step = self.finish(cx, output);
        if let Some(start) = measured {
            let link = &self.registered.link;
            link.measure(start, link.submitted() - submitted, counters);
        }
        step
    }

    /// Notes what the task waits for: its socket has nothing more to read. `record` is the number of bytes
    /// of an incomplete record of TLS.
    fn wait_for_input(&mut self, record: usize) {
        let link = &self.registered.link;
        link.set_record(record);
        link.set_idle(true);
        let awaited = match self.phase {
            _ if !self.partial.is_empty() || record > 0 => Awaited::Rest,
            Phase::Opening => Awaited::FirstByte,
            _ => Awaited::Request,
        };
        if mem::take(&mut self.awaits_new) || awaited != link.awaited() {
            link.wait_for(awaited);
        }
    }

    /// Serves requests that were read before and had to wait, if they need not wait any longer.
    pub(super) fn serve_unserved(&mut self, cx: &mut Context<'_>) -> io::Result<Step> {
        if let Phase::Resp(session) = &self.phase
            && !session.may_go_on(&self.registered.link)
        {
            return Ok(Step::Wait);
        }
        if self.registered.link.worker_is_full(cx.waker())
            || self.registered.worker().congested(cx.waker())
        {
            return Ok(Step::Wait);
        }
        let context = Rc::clone(&self.registered.context);
        let Scratch {
            output, requests, ..
        } = &mut *context.scratch.borrow_mut();
        self.serve_partial(output, requests);
        self.finish(cx, output)
    }

    /// Serves the whole requests in `partial`.
    fn serve_partial(&mut self, output: &mut Vec<u8>, requests: &mut Requests) {
        let mut input = mem::take(&mut self.partial);
        let done = self.serve_input(&mut input, output, requests);
        self.awaits_new |= done > 0;
        input.drain(..done);
        shrink(&mut input, KEEP_LEN);
        self.partial = input;
        self.registered.link.set_unserved(self.partial.len());
    }

    /// Writes the replies that are known already.
    fn finish(&mut self, cx: &mut Context<'_>, output: &mut Vec<u8>) -> io::Result<Step> {
        let sent = self.send(cx, output);
        // Also after an error: the buffer is the worker's, and the next connection must find it
        // empty.
        empty(output, KEEP_OUTPUT);
        sent.map(|()| Step::Again)
    }

    /// The peer has shut down its side. It may still wait for replies.
    fn peer_shut_down(&mut self, output: &mut Vec<u8>) {
        if let Phase::Resp(session) = &self.phase {
            let link = &self.registered.link;
            session.end(&self.partial, link);
            self.registered
                .worker()
                .counters()
                .count_errors(link.drain(output));
        } else if !self.partial.is_empty() {
            let broken = self.registered.worker().intake.refuse(ErrorCode::BadFrame);
            framed::encode_reply(framed::broken_id(&self.partial), broken, output);
        }
        self.phase = Phase::Closing { linger: false };
    }

    /// Serves the whole requests that `input` begins with; `input` is all that was read since the
    /// last whole request. Returns how many bytes were consumed.
    fn serve_input(
        &mut self,
        input: &mut [u8],
        output: &mut Vec<u8>,
        requests: &mut Requests,
    ) -> usize {
        self.unserved = false;
        if let Some(access) = &mut self.access {
            if access.refresh()
                && let Phase::Resp(session) = &self.phase
            {
                session.set_user(access.name());
            }
            let forwarded = self.registered.link.is_node();
            requests.set_maker(access.maker().filter(|_| !forwarded));
        }
        if let Phase::Opening | Phase::LateOpening { .. } = self.phase {
            match Dialect::of(input[0]) {
                Dialect::Framed if self.is_misled_tls(input) => self.refuse_tls(output),
                Dialect::Framed => self.phase = Phase::Framed,
                Dialect::Classic => self.serve_message(input, requests, output),
                Dialect::Resp => self.open_resp(),
                Dialect::Reply => self.phase = Phase::Closing { linger: false },
                Dialect::Unknown => {
                    let unknown = self.registered.worker().intake.refuse(ErrorCode::BadOpcode);
                    classic::encode_reply(unknown, output);
                    self.phase = Phase::Closing { linger: true };
                }
            }
        }
        match &self.phase {
            Phase::Framed => {
                let done = self.serve_frames(input, requests, output);
                self.submit(input, output, requests);
                done
            }
            Phase::Resp(_) => self.serve_commands(input, output, requests),
            _ => {
                self.submit(input, output, requests);
                input.len()
            }
        }
    }

    /// Returns whether a TLS client has connected to the port without TLS.
    fn is_misled_tls(&self, input: &[u8]) -> bool {
        self.stream.borrow().is_plain() && is_client_hello(input)
    }

    /// Ends the connection of a TLS client, which would otherwise wait: its first record looks like
    /// the beginning of a long frame.
    fn refuse_tls(&mut self, output: &mut Vec<u8>) {
        if let Some(refused) = MISLED.count() {
            debug!(
                refused,
                "closed connections of TLS clients to the port without TLS"
            );
        }
        let broken = self.registered.worker().intake.refuse(ErrorCode::BadFrame);
        framed::encode_reply(RequestId::NONE, broken, output);
        self.phase = Phase::Closing { linger: true };
    }

    /// Takes requests to their shards; their topics lie in `input`. Replies that are known at once
    /// are appended to `output`. The requests may show that the connection should move to another
    /// worker.
    fn submit(&mut self, input: &[u8], output: &mut Vec<u8>, requests: &mut Requests) {
        let Registered { context, key, link } = &self.registered;
        let worker = &context.worker;
        let detector = self.move_detector.as_mut();
        let better_shard = detector.and_then(|detector| detector.record(requests, worker.shard()));
        link.add_in_flight(requests.count());
        worker.counters().batch(requests, input);
        let source = match link.is_node() {
            false => Source::Connection(*key),
            true => {
                worker
                    .counters()
                    .forwards()
                    .received
                    .add(requests.count() as u64);
                Source::Node(*key)
            }
        };
        worker.submit(requests, input, source, |outcome| match outcome {
            Outcome::Applied(requests, replies) => {
                let replies = with_replies(requests, replies);
                let replies = replies.map(|(request, reply)| (request.id, reply));
                link.sub_in_flight(link.encode_all(replies, output));
            }
            // The returned replies are about to be appended to the unsent ones, and `output` is
            // older.
            Outcome::Returned(batch) if !output.is_empty() && batch.is_of(*key) => {
                link.append(output);
                output.clear();
            }
            Outcome::Returned(_) => {}
        });
        if let Some(shard) = better_shard {
            self.move_towards(shard);
        }
    }

    /// Serves the one message of a classic connection.
    fn serve_message(&mut self, input: &[u8], requests: &mut Requests, output: &mut Vec<u8>) {
        self.registered.link.set_classic();
        let (intake, whole) = (&self.registered.worker().intake, 0..input.len());
        let decoded = match &self.access {
            None => intake.decode_message(&Open, input, whole, 0, requests),
            Some(access) => {
                let gate = Topics::of_connection(access.grant());
                intake.decode_message(&gate, input, whole, 0, requests)
            }
        };
        if let Err(reply) = decoded {
            classic::encode_reply(reply, output);
        }
        self.phase = Phase::Closing {
            linger: decoded.is_err(),
        };
    }

    /// Decodes all whole frames. Returns how many bytes they take; the beginning of one more is
    /// left.
    fn serve_frames(
        &mut self,
        input: &[u8],
        requests: &mut Requests,
        output: &mut Vec<u8>,
    ) -> usize {
        let end = if self.registered.link.is_node() && self.may_be_node() {
            self.decode_forwarded(input, requests, output)
        } else if self.is_limited() {
            self.decode_limited(input, requests, output)
        } else {
            self.decode_frames(input, requests, output)
        };
        match end {
            FramesEnd::At(end) => end,
            FramesEnd::Lost => {
                self.phase = Phase::Closing { linger: true };
                input.len()
            }
            FramesEnd::Hello {
                at,
                id,
                to,
                node,
                token_len,
            } => {
                self.check_hello(PendingHello { id, to, node }, &input[at - token_len..at]);
                at
            }
        }
    }

    #[inline(always)] // into its only caller
    fn decode_frames(
        &self,
        input: &[u8],
        requests: &mut Requests,
        output: &mut Vec<u8>,
    ) -> FramesEnd {
        let whole = 0..input.len();
        let answer = |id, answer: Answer<'_>| framed::encode_answer(id, &answer, output);
        let intake = &self.registered.worker().intake;
        match &self.access {
            None => intake.decode_frames(&Open, input, whole, None, requests, answer),
            Some(access) => {
                let gate = Topics::of_connection(access.grant());
                intake.decode_frames(&gate, input, whole, None, requests, answer)
            }
        }
    }

    /// Decodes what another node forwards: no limit holds for it.
    #[inline(never)]
    fn decode_forwarded(
        &self,
        input: &[u8],
        requests: &mut Requests,
        output: &mut Vec<u8>,
    ) -> FramesEnd {
        let answer = |id, answer: Answer<'_>| framed::encode_answer(id, &answer, output);
        let (intake, whole) = (&self.registered.worker().intake, 0..input.len());
        intake.decode_frames(&Forwarded, input, whole, None, requests, answer)
    }

    /// Decodes frames as far as rates permit; the others are answered with BUSY.
    #[inline(never)]
    fn decode_limited(
        &mut self,
        input: &[u8],
        requests: &mut Requests,
        output: &mut Vec<u8>,
    ) -> FramesEnd {
        let rate = self.connection_rate();
        let Registered { context, .. } = &self.registered;
        let access = self.access.as_deref();
        let shares = &mut context.shares.borrow_mut();
        let meter = meter(rate, self.bucket, access, shares);
        let gate = Limited::of_connection(access.map(|access| &**access.grant()), &meter);
        let answer = |id, answer: Answer<'_>| framed::encode_answer(id, &answer, output);
        let whole = 0..input.len();
        let intake = &context.worker.intake;
        let end = intake.decode_frames(&gate, input, whole, None, requests, answer);
        self.bucket = meter.bucket();
        context.worker.counters().reached.count_over_rates(&meter);
        end
    }

    /// Begins to speak the Redis protocol.
    fn open_resp(&mut self) {
        self.registered.link.set_resp();
        // CLIENT LIST shows the addresses. A peer that is gone already has none.
        let [peer, local] = self.stream.borrow().addresses().map(Result::ok);
        let session = Session::new(self.registered.worker(), peer, local);
        if let Some(access) = &self.access {
            session.set_user(access.name());
        }
        self.phase = Phase::Resp(Box::new(session));
    }

    /// Serves the commands that need not wait. Returns how many bytes they take.
    fn serve_commands(
        &mut self,
        input: &mut [u8],
        output: &mut Vec<u8>,
        requests: &mut Requests,
    ) -> usize {
        let (limited, rate) = (self.is_limited(), self.connection_rate());
        let Registered { context, key, link } = &self.registered;
        let worker = &context.worker;
        let Phase::Resp(session) = &mut self.phase else {
            return 0;
        };
        let sample = worker.counters().sample_commands();
        let served = match &mut self.access {
            access if limited => {
                let access = access.as_deref_mut();
                let shares = &mut context.shares.borrow_mut();
                let meter = meter(rate, self.bucket, access.as_deref(), shares);
                let mut permission = resp::Limited::new(access, &meter);
                let served =
                    session.serve_input(&mut permission, worker, link, *key, input, requests);
                self.bucket = meter.bucket();
                worker.counters().reached.count_over_rates(&meter);
                served
            }
            None => session.serve_input(&mut Open, worker, link, *key, input, requests),
            Some(access) => session.serve_input(&mut **access, worker, link, *key, input, requests),
        };
        self.submit(input, output, requests);
        let counters = self.registered.worker().counters();
        counters.count_errors(self.registered.link.drain(output));
        if let Some(sample) = sample {
            counters.commands_served(&sample);
        }
        match served.rest {
            Rest::Partial => {}
            Rest::Unserved => self.unserved = true,
            Rest::Discard => {
                self.phase = Phase::Closing { linger: true };
                return input.len();
            }
        }
        served.at
    }
}
