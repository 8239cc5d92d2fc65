//! From the bytes of a read to requests on their way to shards, for every transport.

use std::ops::Range;

use super::origin::WorkerId;
use super::requests::{Queued, Requests};
use crate::protocol::framed::{self, Answer, Call, Hello, HelloReply, NotARequest, RequestId};
use crate::protocol::{ErrorCode, Reply, Request, classic};
use crate::topic::{ShardId, Shards};

/// What decoding needs to know of the server: the limit on topics, and what HELLO is answered with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Intake {
    shards: Shards,
    /// The shard that this worker serves without hops.
    shard: ShardId,
    max_topic_len: usize,
}

/// Where the frames of a read ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FramesEnd {
    /// With the last byte, or inside a frame: this many bytes were whole frames.
    At(usize),
    /// At something that is no request; what follows means nothing. It is answered already.
    Lost,
    /// After a connection's HELLO, not answered, that names a shard. This many bytes were whole
    /// frames, the HELLO among them.
    Hello {
        /// As [`At`](Self::At).
        at: usize,
        /// Its id.
        id: RequestId,
        /// The worker of that shard.
        to: WorkerId,
    },
}

impl Intake {
    /// Of the worker of `shard`. Topics are at most `max_topic_len` bytes long: no more than
    /// [`TOPIC_LEN_LIMIT`](crate::topic::TOPIC_LEN_LIMIT).
    pub(crate) fn new(shards: Shards, shard: ShardId, max_topic_len: usize) -> Self {
        Self {
            shards,
            shard,
            max_topic_len,
        }
    }

    /// The shard that this worker serves without hops.
    pub(crate) fn shard(&self) -> ShardId {
        self.shard
    }

    /// The longest topic, in bytes.
    pub(crate) fn max_topic_len(&self) -> usize {
        self.max_topic_len
    }

    /// What this worker answers to HELLO.
    pub(crate) fn hello(&self) -> HelloReply {
        let max_topic_len = self.max_topic_len as u16; // at most TOPIC_LEN_LIMIT
        HelloReply::new(self.shards, self.shard, max_topic_len)
    }

    /// The worker that a HELLO wants to be served by.
    ///
    /// # Errors
    ///
    /// BAD_FRAME where it names a shard that there is not.
    fn shard_of(&self, hello: Hello<'_>) -> Result<WorkerId, ErrorCode> {
        let Some(shard) = hello.shard else {
            return Ok(WorkerId::of(self.shard));
        };
        match self.shards.shard(shard.number()) {
            Some(shard) => Ok(WorkerId::of(shard)),
            None => Err(ErrorCode::BadFrame),
        }
    }

    /// Takes in all whole frames of `bytes[span]`. Requests for topics go into `requests`; `answer`
    /// gets what is answered at once. `datagram` says which one this is; `None`: a connection, which
    /// can move to the worker of a shard.
    pub(crate) fn take_frames(
        &self,
        bytes: &[u8],
        span: Range<usize>,
        datagram: Option<u32>,
        requests: &mut Requests,
        mut answer: impl FnMut(RequestId, Answer<'_>),
    ) -> FramesEnd {
        let mut at = span.start;
        loop {
            let rest = &bytes[at..span.end];
            let frame = match framed::decode_request(rest, self.max_topic_len) {
                Ok(Some(frame)) => frame,
                Ok(None) => return FramesEnd::At(at - span.start),
                Err(NotARequest::Reply(_)) => return FramesEnd::Lost,
                Err(NotARequest::Op(_)) => {
                    answer(framed::broken_id(rest), refusal(ErrorCode::BadOpcode));
                    return FramesEnd::Lost;
                }
            };
            at += frame.len;
            match frame.call {
                Ok(Call::Topic(request)) => {
                    let datagram = datagram.unwrap_or_default();
                    requests.push(&request, queued(&request, at, frame.id, datagram));
                }
                Ok(Call::Ping(body)) => answer(frame.id, Answer::Pong(body)),
                Ok(Call::Hello(hello)) => match self.shard_of(hello) {
                    Ok(to) if hello.shard.is_some() && datagram.is_none() => {
                        return FramesEnd::Hello {
                            at: at - span.start,
                            id: frame.id,
                            to,
                        };
                    }
                    Ok(_) => answer(frame.id, Answer::Hello(self.hello())),
                    Err(error) => answer(frame.id, refusal(error)),
                },
                Err(error) => answer(frame.id, refusal(error)),
            }
        }
    }

    /// Takes in the classic message `bytes[span]`.
    ///
    /// # Errors
    ///
    /// The code to refuse it with.
    pub(crate) fn take_message(
        &self,
        bytes: &[u8],
        span: Range<usize>,
        datagram: u32,
        requests: &mut Requests,
    ) -> Result<(), ErrorCode> {
        let message = &bytes[span.clone()];
        let request = classic::decode_request(message, self.max_topic_len)?;
        requests.push(
            &request,
            queued(&request, span.end, RequestId::NONE, datagram),
        );
        Ok(())
    }
}

/// What answers a call with an error.
pub(crate) fn refusal(error: ErrorCode) -> Answer<'static> {
    Answer::Reply(Reply::Error(error))
}

/// `request`, whose topic ends at `end`: in every dialect a message ends with its topic.
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
