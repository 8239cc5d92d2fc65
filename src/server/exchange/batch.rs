//! Requests on their way to a shard, and their replies on the way back.
//!
//! A request carries its origin: the worker and the connection, or the peer of its datagram, and
//! its id. So a reply finds its way back from any thread and at any later time; nothing depends on
//! its being made at once.

use super::buffers::empty;
use super::commit_result::CommitResult;
use super::origin::{ConnectionKey, Datagram, LateReply, Requester, Shard, WorkerId};
use super::requests::{Queued, Source, run, waiting};
use super::walk::Walk;
use crate::protocol::Reply;
use crate::topic::ShardId;

/// Requests handed over to whoever runs their shard. It goes back to where it came from with the
/// replies; its buffers are used again.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The worker that it goes back to.
    pub(crate) from: WorkerId,
    /// The shard that it is for.
    pub(crate) shard: ShardId,
    /// The connection that it came from; `None`: `datagrams`.
    pub(crate) connection: Option<ConnectionKey>,
    /// The datagrams that its requests came in.
    pub(crate) datagrams: Vec<Datagram>,
    /// Whether its worker waits for it, though it has no replies to write.
    pub(crate) awaited: bool,
    /// What looks at the shard's topics, instead of requests.
    pub(crate) walk: Option<Box<Walk>>,
    /// The store's result for the shard, instead of requests.
    pub(crate) commit_result: Option<CommitResult>,
    /// Replies that are on their way to their worker, instead of requests.
    pub(crate) late: Vec<LateReply>,
    requests: Vec<Queued>,
    topics: Vec<u8>,
    replies: Vec<Option<Reply>>,
}

/// A recycled batch keeps room for no more than this many requests, and bytes of their topics.
/// Larger ones come from reads that are full to the brim, which have other costs.
const KEEP_REQUESTS: usize = 2 * 1024;
const KEEP_BYTES: usize = 64 * 1024;

impl Batch {
    /// An empty batch of `from`.
    pub(crate) fn new(from: WorkerId) -> Self {
        Self {
            from,
            shard: ShardId::new(0),
            connection: None,
            datagrams: Vec::new(),
            awaited: false,
            walk: None,
            commit_result: None,
            late: Vec::new(),
            requests: Vec::new(),
            topics: Vec::new(),
            replies: Vec::new(),
        }
    }

    /// Makes it a batch for `shard` of these requests, whose topics lie in `bytes`.
    pub(crate) fn fill(
        &mut self,
        shard: ShardId,
        requests: &[Queued],
        bytes: &[u8],
        source: Source<'_>,
    ) {
        self.clear();
        self.shard = shard;
        if let Source::Connection(key) = source {
            self.connection = Some(key);
        }
        let mut last = None;
        for request in requests {
            if let Source::Datagrams(datagrams) = source
                && last != Some(request.datagram)
            {
                last = Some(request.datagram);
                self.datagrams.push(datagrams[request.datagram as usize]);
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

    /// Has the shard apply its requests, or hear from the store, or looks at its topics. `late` gets
    /// the replies to those who waited.
    pub(crate) fn run(&mut self, shard: &mut Shard, late: &mut Vec<LateReply>) {
        if let Some(walk) = &mut self.walk {
            walk.step(shard);
        }
        if let Some(result) = self.commit_result.take() {
            result.apply_to(shard, late);
        }
        let source = match self.connection {
            Some(key) => Source::Connection(key),
            None => Source::Datagrams(&self.datagrams),
        };
        let Self {
            from,
            requests,
            topics,
            replies,
            ..
        } = self;
        run(requests, topics, *from, source, shard, replies);
    }

    /// Those of its requests that have replies, once it ran.
    pub(crate) fn replies(&self) -> impl Iterator<Item = (&Queued, Reply)> {
        debug_assert_eq!(self.requests.len(), self.replies.len());
        let replies = self.requests.iter().zip(self.replies.iter().copied());
        replies.filter_map(|(request, reply)| Some((request, reply?)))
    }

    /// Whether it has replies for that connection.
    pub(crate) fn is_of(&self, key: ConnectionKey) -> bool {
        let late = |(origin, _): &LateReply| match origin.requester {
            Requester::Connection(requester) => requester == key,
            Requester::Datagram(_) => false,
        };
        self.connection == Some(key) || self.late.iter().any(late)
    }

    /// How many requests it has.
    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    /// How many of its requests wait for the store.
    pub(crate) fn waiting(&self) -> usize {
        waiting(&self.replies)
    }

    fn clear(&mut self) {
        self.connection = None;
        self.awaited = false;
        self.walk = None;
        self.commit_result = None;
        self.late.clear();
        empty(&mut self.datagrams, KEEP_REQUESTS);
        empty(&mut self.requests, KEEP_REQUESTS);
        empty(&mut self.replies, KEEP_REQUESTS);
        empty(&mut self.topics, KEEP_BYTES);
    }
}
