//! Decodes the bytes of a read into requests for shards, for framed and classic messages of every
//! transport.

use std::ops::Range;
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use super::node_maps::NodeMaps;
use super::origin::WorkerId;
use super::request_counts::RequestCounts;
use super::requests::{Queued, Requests};
use crate::access::Gate;
use crate::protocol::framed::{
    self, Answer, Call, HEADER_LEN, Hello, HelloReply, MAX_GROWTH, NotARequest, RequestFrame,
    RequestId,
};
use crate::protocol::{ErrorCode, Reply, Request, classic};
use crate::topic::{ShardId, Shards};

/// The decoder of one worker. It has the settings that decoding needs: the maximum length of a
/// topic, and the values that the reply to HELLO contains. It counts the requests.
#[derive(Debug)]
pub(crate) struct Intake {
    shards: Shards,
    /// The shard that the worker serves without hops.
    shard: ShardId,
    max_topic_len: usize,
    node_maps: Arc<dyn NodeMaps>,
    counts: Arc<CachePadded<RequestCounts>>,
}

/// Where the whole frames of a read end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FramesEnd {
    /// At the last byte, or before an incomplete frame. This many bytes were whole frames.
    At(usize),
    /// Before bytes that are no request, so that the rest cannot be decoded. The error is answered
    /// already if it has an answer.
    Lost,
    /// After a connection's HELLO that names a shard, that is of another node, or that has to be
    /// checked. The HELLO is not answered yet.
    Hello {
        /// This many bytes were whole frames, including the HELLO.
        at: usize,
        /// The id of the HELLO.
        id: RequestId,
        /// The worker of the named shard, if one is named.
        to: Option<WorkerId>,
        /// Whether the connection is to be one of another node.
        node: bool,
        /// How many of the bytes before `at` are the token.
        token_len: usize,
    },
}

impl Intake {
    /// Creates the decoder of the worker that serves `shard` without hops. Topics may have
    /// `max_topic_len` bytes, which is at most [`TOPIC_LEN_LIMIT`](crate::topic::TOPIC_LEN_LIMIT). NODES is
    /// answered from `node_maps`.
    pub(crate) fn new(
        shards: Shards,
        shard: ShardId,
        max_topic_len: usize,
        node_maps: Arc<dyn NodeMaps>,
        counts: Arc<CachePadded<RequestCounts>>,
    ) -> Self {
        Self {
            shards,
            shard,
            max_topic_len,
            node_maps,
            counts,
        }
    }

    /// Returns the shard that this worker serves without hops.
    pub(crate) fn shard(&self) -> ShardId {
        self.shard
    }

    /// Returns the maximum length of a topic, in bytes.
    pub(crate) fn max_topic_len(&self) -> usize {
        self.max_topic_len
    }

    /// Returns this worker's reply to HELLO.
    pub(crate) fn hello(&self) -> HelloReply {
        let max_topic_len = self.max_topic_len as u16; // at most TOPIC_LEN_LIMIT
        HelloReply::new(self.shards, self.shard, max_topic_len)
    }

    /// Returns the worker that a HELLO asks for: the worker of the shard that it names, or this
    /// one.
    ///
    /// # Errors
    ///
    /// BAD_FRAME if the HELLO names a shard that does not exist.
    fn worker_for(&self, hello: Hello<'_>) -> Result<WorkerId, ErrorCode> {
        let Some(shard) = hello.shard else {
            return Ok(WorkerId::of(self.shard));
        };
        match self.shards.shard(shard.number()) {
            Some(shard) => Ok(WorkerId::of(shard)),
            None => Err(ErrorCode::BadFrame),
        }
    }

    /// Returns the reply to a request that is refused with `error`, and counts it.
    #[cold]
    pub(crate) fn refuse(&self, error: ErrorCode) -> Reply {
        self.counts.refused(error);
        Reply::Error(error)
    }

    /// Decodes all whole frames of `bytes[span]`. Pushes requests for topics into `requests`, and
    /// passes answers that need no shard to `answer`. `datagram` is the index of the datagram; it
    /// is `None` for a connection, which can move to the worker of a shard. Requests that `gate` does not
    /// allow are answered with DENIED, and those that it does not admit with BUSY.
    pub(crate) fn decode_frames<G: Gate>(
        &self,
        gate: &G,
        bytes: &[u8],
        span: Range<usize>,
        datagram: Option<u32>,
        requests: &mut Requests,
        mut answer: impl FnMut(RequestId, Answer<'_>),
    ) -> FramesEnd {
        let mut at = span.start;
        loop {
            let rest = &bytes[at..span.end];
            let decoded = if G::BETWEEN_NODES {
                framed::decode_node_request(rest, self.max_topic_len)
            } else {
                framed::decode_request(rest, self.max_topic_len)
            };
            let frame = match decoded {
                Ok(Some(frame)) => frame,
                Ok(None) => return FramesEnd::At(at - span.start),
                Err(NotARequest::Reply(_)) => return FramesEnd::Lost,
                Err(NotARequest::Op(_)) => {
                    answer(
                        framed::broken_id(rest),
                        Answer::Reply(self.refuse(ErrorCode::BadOpcode)),
                    );
                    return FramesEnd::Lost;
                }
            };
            at += frame.len;
            if !gate.admits() {
                answer(frame.id, Answer::Reply(self.refuse(ErrorCode::Busy)));
                continue;
            }
            match frame.call {
                Ok(Call::Topic(request)) if !gate.allows(&request) => {
                    answer(frame.id, Answer::Reply(self.refuse(ErrorCode::Denied)));
                }
                Ok(Call::Topic(request)) => {
                    self.counts.framed(request.op);
                    let datagram = datagram.unwrap_or_default();
                    requests.push(&request, queued(&request, at, frame.id, datagram));
                }
                Ok(Call::Ping(body)) => answer(frame.id, Answer::Pong(body)),
                Ok(Call::Nodes(_)) => {
                    self.answer_nodes(gate, &frame, datagram.is_some(), &mut answer);
                }
                // A datagram gets no rights by a token, since the next one may be of somebody else.
                Ok(Call::Hello(hello))
                    if G::CHECKS && datagram.is_some() && !hello.token.is_empty() =>
                {
                    answer(frame.id, Answer::Reply(self.refuse(ErrorCode::Denied)));
                }
                Ok(Call::Hello(hello)) => match self.worker_for(hello) {
                    Ok(to)
                        if (hello.shard.is_some() || hello.node || G::CHECKS)
                            && datagram.is_none() =>
                    {
                        return FramesEnd::Hello {
                            at: at - span.start,
                            id: frame.id,
                            to: hello.shard.is_some().then_some(to),
                            node: hello.node,
                            token_len: hello.token.len(),
                        };
                    }
                    Ok(_) => answer(frame.id, Answer::Hello(self.hello())),
                    Err(error) => answer(frame.id, Answer::Reply(self.refuse(error))),
                },
                Err(error) => answer(frame.id, Answer::Reply(self.refuse(error))),
            }
        }
    }

    /// Answers NODES.
    #[cold]
    fn answer_nodes<G: Gate>(
        &self,
        gate: &G,
        frame: &RequestFrame<'_>,
        in_datagram: bool,
        answer: &mut impl FnMut(RequestId, Answer<'_>),
    ) {
        if !gate.allows_any() {
            return answer(frame.id, Answer::Reply(self.refuse(ErrorCode::Denied)));
        }
        let map = self.node_maps.node_map().encode();
        if in_datagram && HEADER_LEN + map.len() > frame.len + MAX_GROWTH {
            return answer(frame.id, Answer::Reply(self.refuse(ErrorCode::BadFrame)));
        }
        answer(frame.id, Answer::Nodes(&map));
    }

    /// Decodes the classic message `bytes[span]`, and pushes its request into `requests`.
    ///
    /// # Errors
    ///
    /// The reply to the message, if it cannot be decoded, or if `gate` does not allow it.
    #[inline(always)] // it is the body of a loop
    pub(crate) fn decode_message<G: Gate>(
        &self,
        gate: &G,
        bytes: &[u8],
        span: Range<usize>,
        datagram: u32,
        requests: &mut Requests,
    ) -> Result<(), Reply> {
        let message = &bytes[span.clone()];
        let request = match classic::decode_request(message, self.max_topic_len) {
            Ok(request) => request,
            Err(error) => return Err(self.refuse(error)),
        };
        if !gate.allows(&request) {
            return Err(self.refuse(ErrorCode::Denied));
        }
        self.counts.classic(request.op);
        requests.push(
            &request,
            queued(&request, span.end, RequestId::NONE, datagram),
        );
        Ok(())
    }
}

/// Returns `request` with the place of its topic, which ends at `end` of the buffer: a framed or
/// classic message ends with its topic.
fn queued(request: &Request<'_>, end: usize, id: RequestId, datagram: u32) -> Queued {
    let topic_len = request.topic.as_bytes().len();
    Queued {
        op: request.op,
        topic: (end - topic_len) as u32,
        topic_len: topic_len as u32,
        id,
        datagram,
    }
}
