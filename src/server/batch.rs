//! Requests on their way to a shard, and their replies on the way back.
//!
//! A request carries its origin: the worker and the connection, or the peer of its datagram, and
//! its id. So a reply finds its way back from any thread and at any later time; nothing depends on
//! its being made at once.

use std::ops::Range;

use super::net::sys::Peer;
use super::resp::Scan;
use crate::protocol::framed::RequestId;
use crate::protocol::{Op, Reply, Request};
use crate::shard;
use crate::store::Changes;
use crate::topic::{ShardId, Topic};

/// A shard whose requests know the way of their replies.
pub(super) type Shard = shard::Shard<Origin>;

/// One worker of the server, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WorkerId(pub(super) u16);

/// Each worker serves the shard of its number without hops.
impl WorkerId {
    /// The worker of that shard.
    pub(super) fn of(shard: ShardId) -> Self {
        Self(shard.number())
    }

    /// The shard of this worker.
    pub(super) fn shard(self) -> ShardId {
        ShardId::new(self.0)
    }
}

/// One TCP connection of a worker. Never the same for two connections, however many come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConnectionKey {
    /// Its place in the worker's table, which a later connection may take.
    pub(super) index: usize,
    /// Counts the worker's connections.
    pub(super) serial: u64,
}

/// A datagram that asked something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Datagram {
    /// Who sent it.
    pub(super) peer: Peer,
    /// Whether its replies are classic messages, or frames.
    pub(super) classic: bool,
    /// The most bytes of frames that a datagram of its replies may have.
    pub(super) reply_limit: usize,
}

/// Where a request came from that waits for the store, and where its reply goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    /// The worker that has its connection, or received its datagram.
    pub(super) worker: WorkerId,
    pub(super) asker: Asker,
    /// What its reply carries.
    pub(super) id: RequestId,
}

/// Who asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asker {
    Connection(ConnectionKey),
    Datagram(Datagram),
}

/// A reply that waited for the store.
pub(super) type LateReply = (Origin, Reply);

/// What the store made of a shard's changes.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) shard: ShardId,
    /// A whole commit, and which of it are the shard's.
    pub(super) changes: Changes,
    pub(super) range: Range<usize>,
    /// Whether they are durable; if not, nothing is any more.
    pub(super) durable: bool,
}

impl Answers {
    /// Has the shard hear it. `late` gets the replies to those who waited.
    pub(super) fn tell(self, shard: &mut Shard, late: &mut Vec<LateReply>) {
        shard.answered(&self.changes[self.range], self.durable, late);
    }
}

/// A decoded request. Its topic's bytes stay where they were read, or are a batch's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Queued {
    pub(super) op: Op,
    /// Where its topic begins, in the bytes that go with it.
    pub(super) topic: u32,
    /// How long its topic is, in bytes.
    pub(super) topic_len: u32,
    /// What its reply carries; unused where the dialect has no ids.
    pub(super) id: RequestId,
    /// Which datagram it came in, as an index; unused on a connection.
    pub(super) datagram: u32,
}

impl Queued {
    /// The topic's bytes, out of those that go with it.
    fn topic_in<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
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
pub(super) enum Source<'a> {
    /// One connection.
    Connection(ConnectionKey),
    /// These datagrams.
    Datagrams(&'a [Datagram]),
}

impl Source<'_> {
    /// Where the reply to one of them goes, at that worker.
    fn origin(self, worker: WorkerId, request: &Queued) -> Origin {
        let asker = match self {
            Self::Connection(key) => Asker::Connection(key),
            Self::Datagrams(datagrams) => Asker::Datagram(datagrams[request.datagram as usize]),
        };
        Origin {
            worker,
            asker,
            id: request.id,
        }
    }
}

/// Has the shard apply requests that worker `from` read, and whose topics lie in `bytes`; `replies`
/// gets what became of each, nothing of those that wait for the store.
pub(super) fn run(
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
pub(super) fn waiting(replies: &[Option<Reply>]) -> usize {
    replies.iter().filter(|reply| reply.is_none()).count()
}

/// Requests handed over to whoever runs their shard. It goes back to where it came from with the
/// replies; its buffers are used again.
#[derive(Debug)]
pub(super) struct Batch {
    /// The worker that it goes back to.
    pub(super) from: WorkerId,
    /// The shard that it is for.
    pub(super) shard: ShardId,
    /// The connection that it came from; `None`: `datagrams`.
    pub(super) connection: Option<ConnectionKey>,
    /// The datagrams that its requests came in.
    pub(super) datagrams: Vec<Datagram>,
    /// Whether its worker waits for it, though it has no replies to write.
    pub(super) awaited: bool,
    /// What looks at the shard's topics, instead of requests.
    pub(super) scan: Option<Box<Scan>>,
    /// What the store says to the shard, instead of requests.
    pub(super) answers: Option<Answers>,
    /// Replies that are on their way to their worker, instead of requests.
    pub(super) late: Vec<LateReply>,
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
    pub(super) fn new(from: WorkerId) -> Self {
        Self {
            from,
            shard: ShardId::new(0),
            connection: None,
            datagrams: Vec::new(),
            awaited: false,
            scan: None,
            answers: None,
            late: Vec::new(),
            requests: Vec::new(),
            topics: Vec::new(),
            replies: Vec::new(),
        }
    }

    /// Makes it a batch for `shard` of these requests, whose topics lie in `bytes`.
    pub(super) fn fill(
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
    pub(super) fn run(&mut self, shard: &mut Shard, late: &mut Vec<LateReply>) {
        if let Some(scan) = &mut self.scan {
            scan.step(shard);
        }
        if let Some(answers) = self.answers.take() {
            answers.tell(shard, late);
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
    pub(super) fn replies(&self) -> impl Iterator<Item = (&Queued, Reply)> {
        debug_assert_eq!(self.requests.len(), self.replies.len());
        let replies = self.requests.iter().zip(self.replies.iter().copied());
        replies.filter_map(|(request, reply)| Some((request, reply?)))
    }

    /// Whether it has replies for that connection.
    pub(super) fn is_of(&self, key: ConnectionKey) -> bool {
        let late = |(origin, _): &LateReply| match origin.asker {
            Asker::Connection(asker) => asker == key,
            Asker::Datagram(_) => false,
        };
        self.connection == Some(key) || self.late.iter().any(late)
    }

    /// How many requests it has.
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// How many of its requests wait for the store.
    pub(super) fn waiting(&self) -> usize {
        waiting(&self.replies)
    }

    fn clear(&mut self) {
        self.connection = None;
        self.awaited = false;
        self.scan = None;
        self.answers = None;
        self.late.clear();
        empty(&mut self.datagrams, KEEP_REQUESTS);
        empty(&mut self.requests, KEEP_REQUESTS);
        empty(&mut self.replies, KEEP_REQUESTS);
        empty(&mut self.topics, KEEP_BYTES);
    }
}

/// Gives back room that a buffer has no more use for: it keeps what twice its items need, and `keep`.
pub(super) fn shrink<T>(buffer: &mut Vec<T>, keep: usize) {
    let needed = buffer.len().max(keep);
    if buffer.capacity() / 2 > needed {
        buffer.shrink_to(needed);
    }
}

/// Empties a buffer; one with room for more than `keep` items is freed.
pub(super) fn empty<T>(buffer: &mut Vec<T>, keep: usize) {
    buffer.clear();
    if buffer.capacity() > keep {
        *buffer = Vec::new();
    }
}
