//! The TCP transport of a client: one connection, any number of calls in flight. A task does the
//! reading and writing; calls come to it by a channel, replies go back by their ids. It connects
//! again when there is a call and no connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::connect::Dial;
use super::connection::{QUEUE_LEN, Session};
use super::job::Job;
use super::owners::Owners;
use crate::client::error::{Failure, Kind, runtime_ended};
use crate::client::options::Options;
use crate::client::outcome::Outcome;
use crate::protocol::framed::{Call, RequestId};
use crate::topic::ShardId;

#[derive(Debug)]
pub(in crate::client) struct Tcp {
    jobs: mpsc::Sender<Job>,
    next_id: AtomicU32,
    options: Options,
}

impl Tcp {
    /// Connects, and starts the task.
    pub(in crate::client) async fn connect(host: &str, options: Options) -> Result<Self, Failure> {
        Self::dial(host, options, None).await
    }

    /// Connects to the worker of a shard, and starts the task.
    pub(super) async fn connect_to_shard(
        host: &str,
        options: Options,
        shard: ShardId,
        owners: Owners,
    ) -> Result<Self, Failure> {
        Self::dial(host, options, Some((shard, owners))).await
    }

    async fn dial(
        host: &str,
        options: Options,
        shard: Option<(ShardId, Owners)>,
    ) -> Result<Self, Failure> {
        let dial = Dial {
            host: host.into(),
            limit: options.timeout,
            shard,
        };
        let stream = dial.open().await?;
        let (jobs, queue) = mpsc::channel(QUEUE_LEN);
        tokio::spawn(run(queue, dial, options.coalesce, stream));
        Ok(Self {
            jobs,
            next_id: AtomicU32::new(1),
            options,
        })
    }

    pub(in crate::client) async fn call(&self, call: &Call<'_>) -> Outcome {
        let id = RequestId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let (reply, outcome) = oneshot::channel();
        let job = Job::new(id, call, reply);
        let claimed = Arc::clone(&job.claimed);
        let done = async {
            // Either error means that the task is gone, with its runtime.
            self.jobs.send(job).await.ok()?;
            outcome.await.ok()
        };
        let kind = match timeout(self.options.timeout, done).await {
            Ok(Some(outcome)) => return outcome,
            Ok(None) => Kind::Lost(runtime_ended()),
            Err(_) => Kind::TimedOut(format!("within {:?}", self.options.timeout)),
        };
        Err(Failure {
            kind,
            maybe_applied: claimed.swap(true, Ordering::AcqRel),
        })
    }
}

/// The task: one connection after another, as long as there are clients. A new one is made when a
/// call wants it, which then finds out whether the server is back.
async fn run(mut jobs: mpsc::Receiver<Job>, dial: Dial, coalesce: bool, first: TcpStream) {
    // Taken from the queue, not given to a connection yet.
    let mut waiting = Vec::new();
    let mut session = Session::new(first, dial.limit, coalesce);
    loop {
        match session.serve(&mut jobs, &mut waiting).await {
            Ok(()) => return,
            Err(why) => session.fail_all(&why),
        }
        session = loop {
            if waiting.is_empty() && jobs.recv_many(&mut waiting, QUEUE_LEN).await == 0 {
                return;
            }
            waiting.retain(|job| !job.reply.is_closed());
            if waiting.is_empty() {
                continue;
            }
            match dial.open().await {
                Ok(stream) => break Session::new(stream, dial.limit, coalesce),
                Err(failure) => {
                    for job in waiting.drain(..) {
                        // Whoever gave up meanwhile is not told.
                        let _ = job.reply.send(Err(failure.clone()));
                    }
                }
            }
        };
    }
}
