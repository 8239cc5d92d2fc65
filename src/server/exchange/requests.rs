//! Decoded requests: the requests of one read, sorted by the shard that owns their topics, and how
//! a shard applies them.

use std::sync::Arc;
use std::time::Instant;

use super::datagrams::Datagrams;
use super::origin::{ConnectionKey, LateReply, Origin, Requester, Shard, WorkerId};
use super::shard_message::ShardMessage;
use crate::access::Allowance;
use crate::cluster::RangeId;
use crate::protocol::framed::RequestId;
use crate::protocol::{ErrorCode, Op, Reply, Request};
use crate::server::cluster::{Deadline, KnownBefore};
use crate::shard::Parked;
use crate::topic::{ShardId, Shards, Topic};

/// A decoded request. It does not contain its topic, only the place of the topic in a buffer: the
/// bytes that were read, or a batch's copy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queued {
    pub(crate) op: Op,
    /// Offset of the topic in the buffer.
    pub(crate) topic: u32,
    /// Length of the topic, in bytes.
    pub(crate) topic_len: u32,
    /// The id that the reply carries; unused if the dialect has no ids.
    pub(crate) id: RequestId,
    /// Index of the datagram that the request came in; unused if it came from a connection.
    pub(crate) datagram: u32,
}

impl Queued {
    /// Returns the topic's bytes; `bytes` is the buffer that contains them.
    pub(super) fn topic_in<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.topic as usize..][..self.topic_len as usize]
    }

    /// Returns the request; `bytes` is the buffer that contains its topic.
    fn request<'a>(&self, bytes: &'a [u8]) -> Request<'a> {
        Request {
            op: self.op,
            topic: Topic::checked_before(self.topic_in(bytes)),
        }
    }
}

/// The source of the requests of one read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    /// All requests came from this connection of a client.
    Connection(ConnectionKey),
    /// All requests came from this connection of another node, which forwards them.
    Node(ConnectionKey),
    /// The requests came in these datagrams; [`Queued::datagram`] is the index.
    Datagrams(&'a Datagrams),
}

impl Source<'_> {
    /// Returns the connection, if the requests came from one.
    pub(crate) fn connection(self) -> Option<ConnectionKey> {
        match self {
            Self::Connection(key) | Self::Node(key) => Some(key),
            Self::Datagrams(_) => None,
        }
    }

    /// Returns the origin of `request`, which `worker` read.
    fn origin(self, worker: WorkerId, request: &Queued) -> Origin {
        let requester = match self {
            Self::Connection(key) => Requester::Connection(key),
            Self::Node(key) => Requester::Node(key),
            Self::Datagrams(datagrams) => {
                Requester::Datagram(Box::new(datagrams.at(request.datagram)))
            }
        };
        Origin {
            worker,
            requester,
            method: request.op.method(),
            id: request.id,
        }
    }
}

/// Requests for one shard.
#[derive(Clone, Copy)]
pub(super) struct ForShard<'a> {
    pub(super) list: &'a [Queued],
    /// Their topics.
    pub(super) bytes: &'a [u8],
    /// The worker that has read them.
    pub(super) from: WorkerId,
    pub(super) source: Source<'a>,
    /// What limits the topics that they create, if something does.
    pub(super) maker: Option<&'a Allowance>,
    /// When they were read, if that was before now and matters.
    pub(super) read_at: Option<Instant>,
}

/// Applies requests to `shard`. Appends to `replies` the outcome of each: its reply, or `None` if it waits.
/// In a cluster, `deadline` decides whether replies may leave.
#[inline]
pub(super) fn run(
    requests: ForShard<'_>,
    shard: &mut Shard,
    deadline: Option<&Deadline>,
    replies: &mut Vec<Option<Reply>>,
) {
    let ForShard {
        list,
        bytes,
        from,
        source,
        maker,
        read_at,
    } = requests;
    let request = |i: usize| list[i].request(bytes);
    let waiter = |i: usize| source.origin(from, &list[i]);
    let Some(deadline) = deadline else {
        shard.apply_all_of(maker, list.len(), request, waiter, replies);
        return;
    };
    shard.set_since(read_at);
    run_in_node(requests, request, waiter, shard, deadline, replies);
    shard.set_since(None);
}

/// See [`run`].
fn run_in_node<'a>(
    ForShard { list, maker, .. }: ForShard<'_>,
    request: impl Fn(usize) -> Request<'a>,
    waiter: impl Fn(usize) -> Origin,
    shard: &mut Shard,
    deadline: &Deadline,
    replies: &mut Vec<Option<Reply>>,
) {
    let Some(known_before) = deadline.read() else {
        // Only requests for other nodes can be served.
        replies.extend((0..list.len()).map(|i| {
            if shard.may_have(request(i).topic) {
                return Some(refuse(shard, request(i).op, ErrorCode::Unavailable));
            }
            shard.apply(request(i), || waiter(i))
        }));
        return;
    };
    let first = replies.len();
    shard.apply_all_of(maker, list.len(), &request, waiter, replies);
    if known_before.has_passed() {
        for (i, reply) in replies[first..].iter_mut().enumerate() {
            if let Some(reply) = reply {
                *reply = refuse(shard, request(i).op, ErrorCode::Unknown);
            }
        }
    }
}

/// Returns a reply that refuses a request, and counts it.
#[cold]
fn refuse(shard: &Shard, op: Op, error: ErrorCode) -> Reply {
    shard.counts().errors.count(Some(op.method()), error);
    Reply::Error(error)
}

/// Applies a message to its shard, as [`run`] applies requests: after the deadline, the late replies that
/// it causes are replaced.
pub(super) fn deliver(
    message: ShardMessage,
    shard: &mut Shard,
    deadline: Option<&Deadline>,
    late: &mut Vec<LateReply>,
) {
    let first = late.len();
    let known_before = deadline.map(Deadline::read);
    message.apply_to(shard, late);
    let passed = known_before.is_some_and(|known| known.is_none_or(KnownBefore::has_passed));
    for (origin, reply) in &mut late[first..] {
        if passed && !matches!(reply, Reply::Error(_)) {
            *reply = Reply::Error(ErrorCode::Unknown);
        }
        if let Reply::Error(error) = reply {
            shard.counts().errors.count(Some(origin.method), *error);
        }
    }
}

/// Returns the requests that have replies, with their replies.
pub(crate) fn with_replies<'a>(
    requests: &'a [Queued],
    replies: &'a [Option<Reply>],
) -> impl Iterator<Item = (&'a Queued, Reply)> {
    debug_assert_eq!(requests.len(), replies.len());
    let all = requests.iter().zip(replies.iter().copied());
    all.filter_map(|(request, reply)| Some((request, reply?)))
}

/// Returns how many of these outcomes are of requests that wait for the store.
pub(crate) fn count_waiting(replies: &[Option<Reply>]) -> usize {
    replies.iter().filter(|reply| reply.is_none()).count()
}

/// The requests of one read, sorted by owner.
#[derive(Debug)]
pub(crate) struct Requests {
    shards: Shards,
    by_shard: Vec<Vec<Queued>>,
    /// The shards that have requests, in the order of their first requests.
    touched: Vec<ShardId>,
    /// What limits the topics that the requests create; `None` if nothing does.
    maker: Option<Arc<Allowance>>,
}

impl Requests {
    /// Creates an empty list for these shards.
    pub(crate) fn new(shards: Shards) -> Self {
        Self {
            shards,
            by_shard: shards.ids().map(|_| Vec::new()).collect(),
            touched: Vec::new(),
            maker: None,
        }
    }

    /// Sets what limits the topics that the requests create. It is kept when the requests are removed.
    pub(crate) fn set_maker(&mut self, maker: Option<&Arc<Allowance>>) {
        // Mostly it is the same as before, and counting references is not free.
        if self.maker.as_ref().map(Arc::as_ptr) != maker.map(Arc::as_ptr) {
            self.maker = maker.cloned();
        }
    }

    /// Adds `request` to the list of its owner. `queued` is the same request with the place of its
    /// topic, its id and its datagram.
    #[inline]
    pub(crate) fn push(&mut self, request: &Request<'_>, queued: Queued) {
        let owner = self.shards.owner(request.topic);
        let list = &mut self.by_shard[owner.index()];
        if list.is_empty() {
            self.touched.push(owner);
        }
        list.push(queued);
    }

    /// Returns the number of requests.
    pub(crate) fn count(&self) -> usize {
        let shards = self.touched.iter();
        shards.map(|&shard| self.count_for(shard)).sum()
    }

    /// Returns the topic of the request with this number, in the order of the shards' first requests;
    /// `bytes` is the buffer that contains it.
    pub(crate) fn topic<'a>(&self, mut number: usize, bytes: &'a [u8]) -> Option<&'a [u8]> {
        for &shard in &self.touched {
            let list = &self.by_shard[shard.index()];
            match list.get(number) {
                Some(request) => return Some(request.topic_in(bytes)),
                None => number -= list.len(),
            }
        }
        None
    }

    /// Returns whether there are no requests.
    pub(crate) fn is_empty(&self) -> bool {
        self.touched.is_empty()
    }

    /// Removes the requests for topics for which `is` returns a range, and parks them, in their order. Worker
    /// `from` has read them from `source`, and their topics lie in `bytes`.
    pub(crate) fn set_aside(
        &mut self,
        bytes: &[u8],
        from: WorkerId,
        source: Source<'_>,
        is: impl Fn(Topic<'_>) -> Option<RangeId>,
    ) -> Vec<Parked<Origin>> {
        let mut parked = Vec::new();
        self.touched.retain(|shard| {
            let list = &mut self.by_shard[shard.index()];
            list.retain(|queued| {
                let request = queued.request(bytes);
                let Some(range) = is(request.topic) else {
                    return true;
                };
                parked.push(Parked::now(request, range, source.origin(from, queued)));
                false
            });
            !list.is_empty()
        });
        parked
    }

    /// Passes the requests of each shard to `take`, in the order of the shards' first requests, and
    /// removes them.
    pub(super) fn drain(
        &mut self,
        mut take: impl FnMut(ShardId, &[Queued], Option<&Arc<Allowance>>),
    ) {
        for shard in self.touched.drain(..) {
            let list = &mut self.by_shard[shard.index()];
            take(shard, list, self.maker.as_ref());
            list.clear();
        }
    }

    /// Returns the shard with the most requests; `None` if there are no requests.
    pub(crate) fn busiest_shard(&self) -> Option<ShardId> {
        let shards = self.touched.iter().copied();
        shards.max_by_key(|&shard| self.count_for(shard))
    }

    /// Returns whether all requests are for the same shard.
    pub(crate) fn for_one_shard(&self) -> bool {
        self.touched.len() <= 1
    }

    /// Returns the number of requests for `shard`.
    pub(crate) fn count_for(&self, shard: ShardId) -> usize {
        self.by_shard[shard.index()].len()
    }
}
