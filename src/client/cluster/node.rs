//! One node as a client knows it: the connections to it, and whether they work.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};

use crate::client::error::{Failure, Kind};
use crate::client::options::Options;
use crate::client::outcome::{Outcome, Response};
use crate::client::tcp::{Endpoint, Sharded, Tcp};
use crate::protocol::Reply;
use crate::protocol::framed::{Call, NodeMap};

/// How long a node may take to tell its map. A node that takes longer is taken for gone, and others
/// are used. With [`Node::ask`], this is also the limit for opening a connection.
pub(super) const ASK_LIMIT: Duration = Duration::from_secs(1);

/// How long a node that is gone is left alone, at first, and after it was asked in vain many times.
const FIRST_REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Node {
    /// `host:port`, of the URL or of a map.
    host: String,
    transport: Transport,
    state: Mutex<State>,
}

#[derive(Debug)]
enum Transport {
    Plain(Tcp),
    Sharded(Box<LazySharded>),
}

/// Connections that are opened at the first call.
#[derive(Debug)]
struct LazySharded {
    endpoint: Endpoint,
    options: Options,
    connections: OnceCell<Sharded>,
}

#[derive(Debug)]
struct State {
    health: Health,
    /// How long it is left alone when it is gone the next time.
    rest: Duration,
    /// The address that the node gives for itself.
    own_address: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    /// It was not asked yet, or a call timed out.
    Unknown,
    /// It is being asked for its map.
    Asked,
    /// It told its map, and no connection was lost since.
    Up,
    /// It could not be reached. It is not asked before then, unless there is no other node.
    Gone { until: Instant },
}

impl Node {
    /// Creates the node at `endpoint`; connects to nothing yet.
    pub(super) fn new(host: &str, endpoint: Endpoint, options: &Options) -> Self {
        let mut options = options.clone();
        options.connect_timeout = Some(ASK_LIMIT);
        let transport = if options.shard_aware {
            Transport::Sharded(Box::new(LazySharded {
                endpoint,
                options,
                connections: OnceCell::new(),
            }))
        } else {
            Transport::Plain(Tcp::lazy(endpoint, options))
        };
        Self {
            host: host.to_owned(),
            transport,
            state: Mutex::new(State {
                health: Health::Unknown,
                rest: FIRST_REST,
                own_address: String::new(),
            }),
        }
    }

    /// Returns whether maps call the node by this address.
    pub(super) fn is_at(&self, address: &str) -> bool {
        self.host == address || self.state().own_address == address
    }

    /// Returns whether requests may be sent to the node: it is of a cluster, and it is not known to be gone.
    pub(super) fn is_up(&self) -> bool {
        self.state().health == Health::Up
    }

    /// Returns whether the node should be asked now, in the background, whether it is up. If so, the caller
    /// must do so.
    pub(super) fn begin_asking(&self) -> bool {
        let mut state = self.state();
        let due = match state.health {
            Health::Unknown => true,
            Health::Gone { until } => Instant::now() >= until,
            Health::Asked | Health::Up => false,
        };
        if due {
            state.health = Health::Asked;
        }
        due
    }

    /// Asks the node for its map. It is up afterwards if it answers.
    ///
    /// # Errors
    ///
    /// There was no answer within [`ASK_LIMIT`] or `limit`, or the server is not a node of a cluster.
    pub(super) async fn ask(&self, limit: Duration) -> Result<NodeMap, Failure> {
        let _unless_cancelled = Asking(self);
        let answer = self.send(limit.min(ASK_LIMIT), &Call::Nodes(b"")).await;
        // NODES changes nothing, so nothing was applied.
        let asked = match answer {
            Ok(Response::Nodes(Some(map))) if *map != NodeMap::alone() => Ok(map),
            Ok(Response::Nodes(Some(_))) => Err(Failure::not_applied(Kind::Invalid(format!(
                "{} belongs to no cluster, so it counts by itself; give only one host",
                self.host
            )))),
            Ok(Response::Reply(Reply::Error(code))) => {
                Err(Failure::not_applied(Kind::Refused(code)))
            }
            Ok(other) => {
                let why = format!("{} answered NODES with {other:?}", self.host);
                Err(Failure::not_applied(Kind::NotAServer(why)))
            }
            Err(failure) => Err(Failure::not_applied(failure.kind)),
        };
        match asked {
            Ok(map) => {
                let mut state = self.state();
                state.health = Health::Up;
                state.rest = FIRST_REST;
                if let Some(own) = map.nodes.get(usize::from(map.own)) {
                    state.own_address.clone_from(&own.address);
                }
                Ok(NodeMap::clone(&map))
            }
            Err(failure) => {
                self.set_gone();
                Err(failure)
            }
        }
    }

    /// Sends a call, and notes if the node does not answer. The outcome comes within `limit`.
    pub(super) async fn call(&self, limit: Duration, call: &Call<'_>) -> Outcome {
        let outcome = self.send(limit, call).await;
        if let Err(failure) = &outcome {
            match failure.kind {
                Kind::TimedOut(_) => self.set_unknown(),
                Kind::Unreachable(_) | Kind::Lost(_) | Kind::NotAServer(_) => self.set_gone(),
                Kind::Invalid(_) | Kind::Refused(_) => {}
            }
        }
        outcome
    }

    async fn send(&self, limit: Duration, call: &Call<'_>) -> Outcome {
        match &self.transport {
            Transport::Plain(connection) => connection.call_within(limit, call).await,
            Transport::Sharded(lazy) => {
                let start = Instant::now();
                let connected = timeout(limit, lazy.connections()).await;
                let late = |_| Failure::not_applied(Kind::TimedOut(format!("within {limit:?}")));
                let connections = connected.map_err(late)??;
                let left = limit.saturating_sub(start.elapsed());
                connections.call_within(left, call).await
            }
        }
    }

    /// Notes that the node could not be reached. Each time it is left alone for longer.
    fn set_gone(&self) {
        let mut state = self.state();
        let now = Instant::now();
        // A lost connection fails many calls, which are one outage.
        if matches!(state.health, Health::Gone { until } if now < until) {
            return;
        }
        let until = now + state.rest;
        state.health = Health::Gone { until };
        state.rest = (state.rest * 2).min(LONGEST_REST);
    }

    /// Notes that a call timed out: that may be the call's fault.
    fn set_unknown(&self) {
        let mut state = self.state();
        if state.health == Health::Up {
            state.health = Health::Unknown;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until it is dropped, the node is being asked.
struct Asking<'a>(&'a Node);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if state.health == Health::Asked {
            state.health = Health::Unknown; // whoever asked has given up
        }
    }
}

impl LazySharded {
    async fn connections(&self) -> Result<&Sharded, Failure> {
        let connect = || Sharded::connect(&self.endpoint, &self.options);
        self.connections.get_or_try_init(connect).await
    }
}
