//! From the bytes of a read to requests on their way to shards, for every transport.

use std::ops::Range;

use super::batch::{Queued, WorkerId};
use super::router::Requests;
use super::worker::Worker;
use crate::protocol::framed::{self, Answer, Call, NotARequest, RequestId};
use crate::protocol::{ErrorCode, Reply, Request, classic};

/// Where the frames of a read ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FramesEnd {
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

/// Takes in all whole frames of `bytes[span]`. Requests for topics go into `requests`; `answer`
/// gets what is answered at once. `datagram` says which one this is; `None`: a connection, which
/// can move to the worker of a shard.
pub(super) fn take_frames(
    worker: &Worker,
    bytes: &[u8],
    span: Range<usize>,
    datagram: Option<u32>,
    requests: &mut Requests,
    mut answer: impl FnMut(RequestId, Answer<'_>),
) -> FramesEnd {
    let mut at = span.start;
    loop {
        let rest = &bytes[at..span.end];
        let frame = match framed::decode_request(rest, worker.max_topic_len) {
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
            Ok(Call::Hello(hello)) => match worker.shard_of(hello) {
                Ok(to) if hello.shard.is_some() && datagram.is_none() => {
                    return FramesEnd::Hello {
                        at: at - span.start,
                        id: frame.id,
                        to,
                    };
                }
                Ok(_) => answer(frame.id, Answer::Hello(worker.hello())),
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
pub(super) fn take_message(
    worker: &Worker,
    bytes: &[u8],
    span: Range<usize>,
    datagram: u32,
    requests: &mut Requests,
) -> Result<(), ErrorCode> {
    let message = &bytes[span.clone()];
    let request = classic::decode_request(message, worker.max_topic_len)?;
    requests.push(
        &request,
        queued(&request, span.end, RequestId::NONE, datagram),
    );
    Ok(())
}

/// What answers a call with an error.
pub(super) fn refusal(error: ErrorCode) -> Answer<'static> {
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
