//! A batch: requests on their way to a shard, then their replies on the way back.
//!
//! A batch carries the origin of each request: the worker, the connection or the peer of the
//! datagram, and the request's id. So any thread can send a reply at any later time; nothing
//! depends on a reply being made at once.

use std::sync::Arc;
use std::time::Instant;

use super::buffers::empty;
use super::datagrams::Datagrams;
use super::origin::{ConnectionKey, LateReply, Origin, Shard, WorkerId};
use super::requests::{ForShard, Queued, Source, count_waiting, deliver, run, with_replies};
use super::search_part::SearchPart;
use super::shard_message::ShardMessage;
use crate::access::Allowance;
use crate::cluster::RangeId;
use crate::protocol::Reply;
use crate::server::cluster::Deadline;
use crate::shard::Parked;
use crate::topic::ShardId;

/// Requests that a worker hands over to the worker that runs their shard. The batch comes back with
/// the replies, and its buffers are used again. Instead of requests a batch may carry a part of a
/// search, a message, or late replies.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The worker that the batch goes back to.
    pub(crate) from: WorkerId,
    /// The shard that the batch is for. Late replies have none.
    pub(crate) shard: ShardId,
    /// The connection that the requests came from; `None` if they came in `datagrams`.
    pub(crate) connection: Option<ConnectionKey>,
    /// Whether that connection is of another node.
    from_node: bool,
    /// The datagrams that the requests came in.
    pub(crate) datagrams: Datagrams,
    /// Whether the batch must wake its worker when it comes back, even if the worker has nothing to
    /// write: it used the worker's last credit.
    pub(crate) awaited: bool,
    /// A part of a search that visits the shard, instead of requests.
    pub(crate) search_part: Option<Box<SearchPart>>,
    /// A message to the shard, instead of requests.
    pub(crate) message: Option<ShardMessage>,
    /// Replies that waited, on their way to worker `from`, instead of requests.
    pub(crate) late: Vec<LateReply>,
    /// Requests for other nodes, on their way to worker `from`, which forwards them, instead of requests.
    pub(crate) elsewhere: Vec<Parked<Origin>>,
    /// What limits the topics that the requests create; `None` if nothing does.
    pub(super) maker: Option<Arc<Allowance>>,
    /// When the requests were read; `None` on a server alone.
    pub(super) read_at: Option<Instant>,
    requests: Vec<Queued>,
    /// The topics of `requests`, one after another.
    topics: Vec<u8>,
    /// The outcome of each request, once the batch ran; `None` if the request waits for the store.
    replies: Vec<Option<Reply>>,
}

/// A recycled batch keeps room for at most this many requests, and for this many bytes of their
/// topics. Larger batches come only from reads that fill their whole buffer; those have other
/// costs.
const KEEP_REQUESTS: usize = 2 * 1024;
const KEEP_BYTES: usize = 64 * 1024;

impl Batch {
    /// Creates an empty batch of worker `from`.
    pub(crate) fn new(from: WorkerId) -> Self {
        Self {
            from,
            shard: ShardId::new(0),
            connection: None,
            from_node: false,
            datagrams: Datagrams::default(),
            awaited: false,
            search_part: None,
            message: None,
            late: Vec::new(),
            elsewhere: Vec::new(),
            maker: None,
            read_at: None,
            requests: Vec::new(),
            topics: Vec::new(),
            replies: Vec::new(),
        }
    }

    /// Refills the batch with `requests` for `shard`. Copies their topics from `bytes`, and from
    /// `source` the datagrams that they came in.
    pub(crate) fn fill(
        &mut self,
        shard: ShardId,
        requests: &[Queued],
        bytes: &[u8],
        source: Source<'_>,
    ) {
        self.clear();
        self.shard = shard;
        self.connection = source.connection();
        self.from_node = matches!(source, Source::Node(_));
        let mut last = None;
        for request in requests {
            if let Source::Datagrams(datagrams) = source
                && last != Some(request.datagram)
            {
                last = Some(request.datagram);
                self.datagrams.push_copy(datagrams.at(request.datagram));
            }
            let topic = self.topics.len() as u32;
            self.topics.extend_from_slice(request.topic_in(bytes));
            self.requests.push(Queued {
                topic,
                datagram: self.datagrams.len().saturating_sub(1) as u32,
                ..*request
            });
        }
    }

    /// Runs the batch on its shard: makes a step of the search, delivers the message, or
    /// applies the requests. Appends to `late` the replies to requests that waited for the store's
    /// result.
    pub(crate) fn run(
        &mut self,
        shard: &mut Shard,
        deadline: Option<&Deadline>,
        late: &mut Vec<LateReply>,
    ) {
        if let Some(part) = &mut self.search_part {
            part.step(shard);
        }
        if let Some(message) = self.message.take() {
            deliver(message, shard, deadline, late);
        }
        let source = match self.connection {
            Some(key) if self.from_node => Source::Node(key),
            Some(key) => Source::Connection(key),
            None => Source::Datagrams(&self.datagrams),
        };
        let Self {
            from,
            requests,
            topics,
            replies,
            maker,
            read_at,
            ..
        } = self;
        let maker = maker.as_deref();
        let requests = ForShard {
            list: requests,
            bytes: topics,
            from: *from,
            source,
            maker,
            read_at: *read_at,
        };
        run(requests, shard, deadline, replies);
    }

    /// Returns the range of each request that the batch brings back to the shard, before the batch runs.
    pub(super) fn come_back(&self) -> Vec<RangeId> {
        match &self.message {
            Some(ShardMessage::Range(message)) => message.step.come_back(),
            _ => Vec::new(),
        }
    }

    /// Returns the requests that have replies, with their replies, after the batch ran.
    pub(crate) fn replies(&self) -> impl Iterator<Item = (&Queued, Reply)> {
        with_replies(&self.requests, &self.replies)
    }

    /// Returns the requests and the outcome of each, after the batch ran: see [`with_replies`].
    pub(crate) fn outcomes(&self) -> (&[Queued], &[Option<Reply>]) {
        (&self.requests, &self.replies)
    }

    /// Returns whether the batch has replies for the connection `key`.
    pub(crate) fn is_of(&self, key: ConnectionKey) -> bool {
        let has_key = |(origin, _): &LateReply| origin.requester.connection() == Some(key);
        self.connection == Some(key) || self.late.iter().any(has_key)
    }

    /// Returns the number of requests.
    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Returns how many of the requests wait for the store, after the batch ran.
    pub(crate) fn count_waiting(&self) -> usize {
        count_waiting(&self.replies)
    }

    /// Returns whether the batch has something for its worker that no batch of the worker asked for: it
    /// used no credit.
    pub(super) fn is_late(&self) -> bool {
        !self.late.is_empty() || !self.elsewhere.is_empty()
    }

    /// Empties such a batch, to be used again.
    pub(super) fn clear_late(&mut self) {
        empty(&mut self.late, KEEP_REQUESTS);
        empty(&mut self.elsewhere, KEEP_REQUESTS);
    }

    fn clear(&mut self) {
        self.connection = None;
        self.awaited = false;
        self.search_part = None;
        self.message = None;
        self.maker = None;
        self.read_at = None;
        empty(&mut self.late, KEEP_REQUESTS);
        empty(&mut self.elsewhere, KEEP_REQUESTS);
        self.datagrams.empty(KEEP_REQUESTS);
        empty(&mut self.requests, KEEP_REQUESTS);
        empty(&mut self.replies, KEEP_REQUESTS);
        empty(&mut self.topics, KEEP_BYTES);
    }
}
