//! Decoded requests: those of one read, sorted by the shard that owns their topics, and how a shard
//! applies them.

use super::origin::{ConnectionKey, Datagram, Origin, Requester, Shard, WorkerId};
use crate::protocol::framed::RequestId;
use crate::protocol::{Op, Reply, Request};
use crate::topic::{ShardId, Shards, Topic};

/// A decoded request. Its topic's bytes stay where they were read, or are a batch's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queued {
    pub(crate) op: Op,
    /// Where its topic begins, in the bytes that go with it.
    pub(crate) topic: u32,
    /// How long its topic is, in bytes.
    pub(crate) topic_len: u32,
    /// What its reply carries; unused where the dialect has no ids.
    pub(crate) id: RequestId,
    /// Which datagram it came in, as an index; unused on a connection.
    pub(crate) datagram: u32,
}

impl Queued {
    /// The topic's bytes, out of those that go with it.
    pub(super) fn topic_in<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.topic as usize..][..self.topic_len as usize]
    }

    /// The request, out of the bytes that go with it.
    fn request<'a>(&self, bytes: &'a [u8]) -> Request<'a> {
        Request {
            op: self.op,
            topic: Topic::checked_before(self.topic_in(bytes)),
        }
    }
}

/// Where the requests of one read came from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    /// One connection.
    Connection(ConnectionKey),
    /// These datagrams.
    Datagrams(&'a [Datagram]),
}

impl Source<'_> {
    /// Where the reply to one of them goes, at that worker.
    fn origin(self, worker: WorkerId, request: &Queued) -> Origin {
        let requester = match self {
            Self::Connection(key) => Requester::Connection(key),
            Self::Datagrams(datagrams) => Requester::Datagram(datagrams[request.datagram as usize]),
        };
        Origin {
            worker,
            requester,
            id: request.id,
        }
    }
}

/// Has the shard apply requests that worker `from` read, and whose topics lie in `bytes`; `replies`
/// gets what became of each, nothing of those that wait for the store.
pub(crate) fn run(
    list: &[Queued],
    bytes: &[u8],
    from: WorkerId,
    source: Source<'_>,
    shard: &mut Shard,
    replies: &mut Vec<Option<Reply>>,
) {
    let requests = list.iter().map(|queued| queued.request(bytes));
    shard.apply_all(requests, |i| source.origin(from, &list[i]), replies);
}

/// How many of the requests with these replies wait for the store.
pub(crate) fn waiting(replies: &[Option<Reply>]) -> usize {
    replies.iter().filter(|reply| reply.is_none()).count()
}

/// The requests of one read, sorted by owner.
#[derive(Debug)]
pub(crate) struct Requests {
    shards: Shards,
    by_shard: Vec<Vec<Queued>>,
    /// The shards that have any, in the order in which they came up.
    touched: Vec<ShardId>,
    count: usize,
}

impl Requests {
    pub(crate) fn new(shards: Shards) -> Self {
        Self {
            shards,
            by_shard: shards.ids().map(|_| Vec::new()).collect(),
            touched: Vec::new(),
            count: 0,
        }
    }

    /// Adds `request`; `queued` says the same, with its origin.
    pub(crate) fn push(&mut self, request: &Request<'_>, queued: Queued) {
        let owner = self.shards.owner(request.topic);
        let list = &mut self.by_shard[owner.index()];
        if list.is_empty() {
            self.touched.push(owner);
        }
        list.push(queued);
        self.count += 1;
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Passes each shard's requests to `take`, in the order in which the shards came up, and forgets
    /// them.
    pub(super) fn drain(&mut self, mut take: impl FnMut(ShardId, &[Queued])) {
        for shard in self.touched.drain(..) {
            let list = &mut self.by_shard[shard.index()];
            take(shard, list);
            list.clear();
        }
        self.count = 0;
    }

    /// The shard that most of them are for, where there are any.
    pub(crate) fn most_wanted(&self) -> Option<ShardId> {
        let wanted = self.touched.iter().copied();
        wanted.max_by_key(|&shard| self.count_for(shard))
    }

    /// How many of them are for that shard.
    pub(crate) fn count_for(&self, shard: ShardId) -> usize {
        self.by_shard[shard.index()].len()
    }
}
