//! A client that knows which shard owns which topic: a connection to each shard's worker, so that no
//! request has to go from one processor to another inside the server.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use super::Outcome;
use super::error::{Failure, Kind, runtime_ended};
use super::options::Options;
use super::tcp::{self, Tcp};
use crate::protocol::Request;
use crate::protocol::framed::{Call, HelloReply};
use crate::topic::{self, ShardId, Shards, Topic};

/// A connection a shard.
#[derive(Debug)]
pub(super) struct Sharded {
    connections: Box<[Tcp]>,
    owners: Owners,
}

/// Who owns which topic, as the server last told one of the connections. It is a hint: whoever gets a
/// request takes it to its owner, so one that is out of date costs no more than a hop.
#[derive(Debug, Clone)]
pub(super) struct Owners(Arc<Mutex<HelloReply>>);

impl Sharded {
    /// Asks how many shards there are, and connects to each.
    pub(super) async fn connect(host: &str, options: &Options) -> Result<Self, Failure> {
        let hello = tcp::ask_hello(host, options.timeout).await?;
        let owners = Owners(Arc::new(Mutex::new(hello)));
        let mut connecting = JoinSet::new();
        for number in 0..hello.shards.clamp(1, Shards::MAX) {
            let (host, options, owners) = (host.to_owned(), options.clone(), owners.clone());
            let shard = ShardId::new(number);
            connecting.spawn(async move {
                let connection = Tcp::connect_to_shard(&host, options, shard, owners).await?;
                Ok((number, connection))
            });
        }
        let mut connections = Vec::new();
        while let Some(connected) = connecting.join_next().await {
            let runtime_ended = |_| Failure::not_applied(Kind::Lost(runtime_ended()));
            connections.push(connected.map_err(runtime_ended)??);
        }
        connections.sort_by_key(|&(number, _)| number);
        let connections = connections.into_iter().map(|(_, connection)| connection);
        Ok(Self {
            connections: connections.collect(),
            owners,
        })
    }

    pub(super) async fn call(&self, call: &Call<'_>) -> Outcome {
        let shard = match call {
            Call::Topic(Request { topic, .. }) => self.owners.owner(*topic),
            Call::Hello(_) | Call::Ping(_) => 0,
        };
        // The server may have more shards by now than when this client connected.
        let connection = usize::from(shard) % self.connections.len();
        self.connections[connection].call(call).await
    }
}

impl Owners {
    fn owner(&self, topic: Topic<'_>) -> u16 {
        let HelloReply {
            shards,
            key,
            multiplier,
            ..
        } = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        topic::owner(topic.as_bytes(), key, multiplier, shards)
    }

    /// The server, which may be another one by now, says so.
    pub(super) fn learn(&self, hello: HelloReply) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = hello;
    }
}
