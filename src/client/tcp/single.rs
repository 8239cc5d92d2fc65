//! The plain TCP transport: one connection with any number of calls in flight. A task reads and
//! writes. Callers send it jobs over a channel, and it sends each reply to the caller whose request
//! had the reply's id. If a call arrives while there is no connection, the task reconnects.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::connect::Connector;
use super::connection::{Connection, QUEUE_LEN};
use super::endpoint::Endpoint;
use super::job::Job;
use super::owners::Owners;
use super::stream::Stream;
use crate::client::error::{Failure, Kind, runtime_ended};
use crate::client::options::Options;
use crate::client::outcome::Outcome;
use crate::protocol::framed::{Call, RequestId};
use crate::topic::ShardId;

/// The handle to a connection's task. The task ends when the handle is dropped.
#[derive(Debug)]
pub(in crate::client) struct Tcp {
    jobs: mpsc::Sender<Job>,
    next_id: AtomicU32,
    options: Options,
}

impl Tcp {
    /// Connects and starts the task.
    pub(in crate::client) async fn connect(
        endpoint: Endpoint,
        options: Options,
    ) -> Result<Self, Failure> {
        Self::start(endpoint, options, None).await
    }

    /// Connects to the worker of a shard and starts the task.
    pub(super) async fn connect_to_shard(
        endpoint: Endpoint,
        options: Options,
        shard: ShardId,
        owners: Owners,
    ) -> Result<Self, Failure> {
        Self::start(endpoint, options, Some((shard, owners))).await
    }

    async fn start(
        endpoint: Endpoint,
        options: Options,
        shard: Option<(ShardId, Owners)>,
    ) -> Result<Self, Failure> {
        let connector = Connector {
            endpoint,
            limit: options.connect_limit(),
            shard,
            token: options.token.clone(),
        };
        let stream = connector.connect().await?;
        Ok(Self::spawn(connector, options, Some(stream)))
    }

    /// Starts the task without a connection: the first call opens one.
    pub(in crate::client) fn lazy(endpoint: Endpoint, options: Options) -> Self {
        let connector = Connector {
            endpoint,
            limit: options.connect_limit(),
            shard: None,
            token: options.token.clone(),
        };
        Self::spawn(connector, options, None)
    }

    fn spawn(connector: Connector, options: Options, stream: Option<Stream>) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE_LEN);
        tokio::spawn(run(queue, connector, options.clone(), stream));
        Self {
            jobs,
            next_id: AtomicU32::new(1),
            options,
        }
    }

    /// Hands the call to the task and waits for its outcome, at most [`Options::timeout`].
    pub(in crate::client) async fn call(&self, call: &Call<'_>) -> Outcome {
        self.call_within(self.options.timeout, call).await
    }

    /// Hands the call to the task and waits for its outcome, at most `limit`.
    pub(in crate::client) async fn call_within(&self, limit: Duration, call: &Call<'_>) -> Outcome {
        let id = RequestId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let (reply, receiver) = oneshot::channel();
        let job = Job::new(id, call, reply);
        let claimed = Arc::clone(&job.claimed);
        let outcome = async {
            // Either error means that the task ended with its runtime.
            self.jobs.send(job).await.ok()?;
            receiver.await.ok()
        };
        let kind = match timeout(limit, outcome).await {
            Ok(Some(outcome)) => return outcome,
            Ok(None) => Kind::Lost(runtime_ended()),
            Err(_) => Kind::TimedOut(format!("within {limit:?}")),
        };
        Err(Failure {
            kind,
            maybe_applied: claimed.swap(true, Ordering::AcqRel),
        })
    }
}

/// Runs the task: serves one connection after another until the handle is dropped. After a loss it
/// reconnects only when a call arrives; that call then finds out whether the server is back.
async fn run(
    mut jobs: mpsc::Receiver<Job>,
    connector: Connector,
    options: Options,
    first: Option<Stream>,
) {
    // Taken from the queue, but not yet given to a connection.
    let mut pending = Vec::new();
    let connected = |stream| Connection::new(stream, options.timeout, options.coalesce);
    let mut connection = first.map(connected);
    loop {
        if let Some(connection) = &mut connection {
            match connection.serve(&mut jobs, &mut pending).await {
                Ok(()) => return,
                Err(why) => connection.fail_all(&why),
            }
        }
        connection = loop {
            if pending.is_empty() && jobs.recv_many(&mut pending, QUEUE_LEN).await == 0 {
                return;
            }
            pending.retain(|job| !job.reply.is_closed());
            if pending.is_empty() {
                continue;
            }
            match connector.connect().await {
                Ok(stream) => break Some(connected(stream)),
                Err(failure) => {
                    for job in pending.drain(..) {
                        // An error means that the caller has given up.
                        let _ = job.reply.send(Err(failure.clone()));
                    }
                }
            }
        };
    }
}
