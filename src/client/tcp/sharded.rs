//! The shard-aware TCP transport: one connection to each shard's worker, so that no request has to
//! move from one core to another inside the server.

use std::time::Duration;

use tokio::task::JoinSet;

use super::connect;
use super::endpoint::Endpoint;
use super::owners::Owners;
use super::single::Tcp;
use crate::client::error::{Failure, Kind, runtime_ended};
use crate::client::options::Options;
use crate::client::outcome::Outcome;
use crate::protocol::Request;
use crate::protocol::framed::Call;
use crate::topic::{ShardId, Shards};

/// One connection per shard.
#[derive(Debug)]
pub(in crate::client) struct Sharded {
    /// Indexed by shard number.
    connections: Box<[Tcp]>,
    owners: Owners,
}

impl Sharded {
    /// Asks the server for its number of shards and connects to each.
    pub(in crate::client) async fn connect(
        endpoint: &Endpoint,
        options: &Options,
    ) -> Result<Self, Failure> {
        let token = options.token.as_ref();
        let hello = connect::ask_hello(endpoint, options.connect_limit(), token).await?;
        let owners = Owners::new(hello);
        let mut connecting = JoinSet::new();
        for number in 0..hello.shards.clamp(1, Shards::MAX) {
            let (endpoint, options, owners) = (endpoint.clone(), options.clone(), owners.clone());
            let shard = ShardId::new(number);
            connecting.spawn(async move {
                let connection = Tcp::connect_to_shard(endpoint, options, shard, owners).await?;
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

    /// Sends the call to the shard that owns its topic. The outcome comes within [`Options::timeout`].
    pub(in crate::client) async fn call(&self, call: &Call<'_>) -> Outcome {
        self.connection_for(call).call(call).await
    }

    /// Sends the call to the shard that owns its topic. The outcome comes within `limit`.
    pub(in crate::client) async fn call_within(&self, limit: Duration, call: &Call<'_>) -> Outcome {
        self.connection_for(call).call_within(limit, call).await
    }

    fn connection_for(&self, call: &Call<'_>) -> &Tcp {
        let shard = match call {
            Call::Topic(Request { topic, .. }) => self.owners.owner(*topic),
            Call::Hello(_) | Call::Ping(_) | Call::Nodes(_) => 0,
        };
        // The server may have restarted with more shards than this client has connections.
        let connection = usize::from(shard) % self.connections.len();
        &self.connections[connection]
    }
}
