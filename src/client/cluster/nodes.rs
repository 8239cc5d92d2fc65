//! The calls of a client of a cluster: which node each attempt goes to, and when the map is asked for.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use super::attempt::Next;
use super::deadline::Deadline;
use super::node::{ASK_LIMIT, Node};
use super::table::Table;
use crate::client::address::Scheme;
use crate::client::error::{Failure, Kind};
use crate::client::options::Options;
use crate::client::outcome::{Outcome, Response};
use crate::client::tcp::Endpoint;
use crate::protocol::Reply;
use crate::protocol::framed::{Call, NodeMap};
use crate::topic::Slot;

/// How old a map may become before a call lets it be asked for. An old map costs a hop between nodes, no
/// failure.
const MAP_AGE: Duration = Duration::from_secs(5);

/// How long after a map was told it is not asked for again, however many calls fail.
const MAP_REST: Duration = Duration::from_millis(50);

/// See the [module](self).
#[derive(Debug)]
pub(in crate::client) struct Cluster(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    scheme: Scheme,
    options: Options,
    /// How many nodes the URL names.
    named: usize,
    table: Mutex<Arc<Table>>,
    /// Held by whoever asks for the map.
    refreshing: tokio::sync::Mutex<()>,
    /// Whether a task is going to ask for the map.
    refresh_queued: AtomicBool,
}

impl Cluster {
    /// Asks the hosts, one after another, for the map of their cluster.
    ///
    /// # Errors
    ///
    /// Why the last of them did not tell it, if none did.
    pub(in crate::client) async fn connect(
        scheme: Scheme,
        hosts: &[String],
        options: Options,
    ) -> Result<Self, Failure> {
        let mut nodes = Vec::new();
        for host in hosts {
            let endpoint = Endpoint::new(scheme, host, &options)?;
            nodes.push(Arc::new(Node::new(host, endpoint, &options)));
        }
        let inner = Inner {
            scheme,
            named: nodes.len(),
            table: Mutex::new(Arc::new(Table::new(nodes))),
            refreshing: tokio::sync::Mutex::default(),
            refresh_queued: AtomicBool::new(false),
            options,
        };
        let table = inner.table();
        let deadline = Deadline::after(inner.options.timeout);
        let mut asked = table.nodes().iter();
        let mut next = asked.next().expect("a URL has a host");
        loop {
            match next.ask(deadline.left()).await {
                Ok(map) => {
                    inner.adopt(&table, next, &map);
                    return Ok(Self(Arc::new(inner)));
                }
                Err(failure) => match asked.next() {
                    Some(other) if !deadline.has_passed() => next = other,
                    _ => return Err(failure),
                },
            }
        }
    }

    /// Sends a call to the owner of its topic, or to another node, until one serves it, the call's time is
    /// over, or it may have been applied.
    pub(in crate::client) async fn call(&self, call: &Call<'_>) -> Outcome {
        let mut deadline = Deadline::after(self.0.options.timeout);
        let slot = match call {
            Call::Topic(request) => Some(Slot::of(request.topic)),
            Call::Hello(_) | Call::Ping(_) | Call::Nodes(_) => None,
        };
        // The nodes that could not be reached for this call, and the one that could not serve it.
        let (mut gone, mut avoided) = (Vec::new(), None);
        let mut last = None;
        loop {
            let table = self.0.table();
            self.keep_fresh(&table, slot);
            let node = match table.choose(slot, &gone, avoided.as_ref()) {
                Some(node) => node,
                None => match find_up(&table, slot, &gone, &deadline).await {
                    Ok(node) => node,
                    Err(failure) => return Err(last.unwrap_or(failure)),
                },
            };
            let failure = match node.call(deadline.left(), call).await {
                Ok(Response::Reply(Reply::Error(code))) => Failure::refused(code),
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            let goes_on = match Next::after(&failure) {
                Next::Fail => {
                    if failure.maybe_applied {
                        self.queue_refresh(&table, Some(node));
                    }
                    false
                }
                Next::Elsewhere => {
                    self.queue_refresh(&table, Some(Arc::clone(&node)));
                    gone.push(node);
                    !deadline.has_passed()
                }
                Next::Unserved => {
                    let first = avoided.is_none();
                    self.0.refresh(&table, Some(&node), deadline.left()).await;
                    let owner = slot.and_then(|slot| self.0.table().owner(slot).cloned());
                    let moved = owner.is_some_and(|owner| !Arc::ptr_eq(&owner, &node));
                    avoided = Some(node);
                    first && moved || deadline.pause().await
                }
                Next::Busy => deadline.pause().await,
            };
            if !goes_on {
                return Err(failure);
            }
            last = Some(failure);
        }
    }

    /// Lets an old map be asked for, and the owner of a slot that is not connected yet. No call waits for
    /// either.
    fn keep_fresh(&self, table: &Arc<Table>, slot: Option<Slot>) {
        if table.since().elapsed() > MAP_AGE {
            self.queue_refresh(table, None);
        }
        if let Some(owner) = slot.and_then(|slot| table.owner(slot))
            && owner.begin_asking()
        {
            let owner = Arc::clone(owner);
            // If it fails, other nodes stand in for the owner, which is asked again later.
            tokio::spawn(async move { owner.ask(ASK_LIMIT).await.ok() });
        }
    }

    /// Lets the map be asked for, of `failed` at last.
    fn queue_refresh(&self, table: &Arc<Table>, failed: Option<Arc<Node>>) {
        if self.0.refresh_queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let (inner, table) = (Arc::clone(&self.0), Arc::clone(table));
        tokio::spawn(async move {
            let limit = inner.options.timeout;
            inner.refresh(&table, failed.as_ref(), limit).await;
            inner.refresh_queued.store(false, Ordering::Release);
        });
    }
}

impl Inner {
    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over what a node told.
    fn adopt(&self, before: &Table, teller: &Arc<Node>, map: &NodeMap) {
        let create = |address: &str| {
            let endpoint = Endpoint::new(self.scheme, address, &self.options).ok();
            let endpoint = endpoint.filter(|_| !address.is_empty())?;
            Some(Node::new(address, endpoint, &self.options))
        };
        let table = before.with_map(self.named, teller, map, create);
        *self.table.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }

    /// Asks for the map, unless another call got it since `seen`. `failed` is asked last.
    async fn refresh(&self, seen: &Arc<Table>, failed: Option<&Arc<Node>>, limit: Duration) {
        let has_failed = |node: &Arc<Node>| failed.is_some_and(|failed| Arc::ptr_eq(node, failed));
        let refresh = async {
            let _guard = self.refreshing.lock().await;
            let table = self.table();
            if !Arc::ptr_eq(&table, seen) || table.since().elapsed() < MAP_REST {
                return;
            }
            let mut nodes: Vec<_> = table.nodes().iter().collect();
            nodes.sort_by_cached_key(|node| (has_failed(node), !node.is_up()));
            for node in nodes {
                if !node.is_up() && !node.begin_asking() {
                    continue;
                }
                if let Ok(map) = node.ask(ASK_LIMIT).await {
                    self.adopt(&table, node, &map);
                    return;
                }
            }
        };
        // Without a newer map the call goes on with what it has.
        let _ = timeout(limit, refresh).await;
    }
}

/// Returns a node that answers, when none is known to be up: the owner if it does. None of `gone` is asked.
///
/// # Errors
///
/// Why the last of them did not answer.
async fn find_up(
    table: &Table,
    slot: Option<Slot>,
    gone: &[Arc<Node>],
    deadline: &Deadline,
) -> Result<Arc<Node>, Failure> {
    let mut failure = Failure::not_applied(Kind::Unreachable(Arc::new(io::Error::other(
        "no node of the cluster answers",
    ))));
    for node in table.by_preference(slot) {
        if deadline.has_passed() {
            break;
        }
        if !gone.iter().any(|gone| Arc::ptr_eq(gone, node)) {
            match node.ask(deadline.left()).await {
                Ok(_) => return Ok(Arc::clone(node)),
                Err(why) => failure = why,
            }
        }
    }
    Err(failure)
}
