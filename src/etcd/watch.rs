//! The watch of sessions and claims.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::metadata::MetadataValue;
use tonic::{Status, Streaming};
use tracing::debug;

use super::client::Client;
use super::connection::Connection;
use super::error::Error;
use super::keys::{Entry, Keys};
use super::proto::event::EventType;
use super::proto::watch_request::RequestUnion;
use super::proto::{self, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse};
use crate::cluster::{Event, Revision};

/// After how long without a message etcd is asked for one. With the time-out of a request it bounds how long a
/// node does not notice that a watch is dead; 1,000 idle nodes ask 500 times a second.
const IDLE_TIME: Duration = Duration::from_secs(2);

/// The shortest time from the beginning of a watch to [`Event::WatchBroken`], so that a watch that cannot
/// begin is not repeated without a pause.
const SHORTEST_LIFE: Duration = Duration::from_millis(200);

/// Events that wait for the node; etcd waits for room.
const BUFFERED_EVENTS: usize = 64;

/// Messages for etcd: one to begin, and then one at a time.
const BUFFERED_REQUESTS: usize = 4;

/// A watch of sessions and claims. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    events: mpsc::Receiver<Event>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Must be called within a runtime.
    pub(super) fn begin(client: Client, keys: Keys, ranges: u16, after: Revision) -> Self {
        let (sender, events) = mpsc::channel(BUFFERED_EVENTS);
        let follower = Follower {
            client,
            keys,
            ranges,
            events: sender,
        };
        let task = tokio::spawn(follower.run(after));
        Self { events, task }
    }

    /// Waits for the next event: [`Event::Watched`] for each revision, and at last, once or more often,
    /// [`Event::WatchBroken`]. It may be given up and called again.
    pub async fn next(&mut self) -> Event {
        self.events.recv().await.unwrap_or(Event::WatchBroken)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes on what etcd reports.
struct Follower {
    client: Client,
    keys: Keys,
    ranges: u16,
    events: mpsc::Sender<Event>,
}

impl Follower {
    async fn run(self, after: Revision) {
        let began = Instant::now();
        let error = match self.client.connection().await {
            Ok(connection) => {
                let error = self.follow(&connection, after).await;
                if error.blames_connection() {
                    self.client.failed(&connection);
                }
                error
            }
            Err(error) => error,
        };
        debug!(%error, "the watch of sessions and claims ended");
        sleep_until(began + SHORTEST_LIFE).await;
        let _ = self.events.send(Event::WatchBroken).await;
    }

    /// Passes on changes until the watch ends. Returns why.
    async fn follow(&self, connection: &Connection, after: Revision) -> Error {
        let (requests, mut responses) =
            match timeout(self.client.request_timeout(), self.begin(connection, after)).await {
                Ok(Ok(streams)) => streams,
                Ok(Err(status)) => return Error::of_call(status),
                Err(_) => return Error::TimedOut,
            };
        let mut asked = false;
        let mut changes = Vec::new();
        loop {
            let patience = match asked {
                true => self.client.request_timeout(),
                false => IDLE_TIME,
            };
            let response = match timeout(patience, responses.message()).await {
                Ok(Ok(Some(response))) => response,
                Ok(Ok(None)) => {
                    return Error::of_call(Status::unavailable("the watch's stream ended"));
                }
                Ok(Err(status)) => return Error::of_call(status),
                Err(_) if asked => return Error::TimedOut,
                Err(_) => {
                    asked = true;
                    let _ = requests.try_send(progress());
                    continue;
                }
            };
            asked = false;
            if response.canceled || response.compact_revision != 0 {
                return cancelled(response);
            }
            // Fragments may end within a revision.
            changes.extend(response.events);
            if !response.fragment
                && let Err(error) = self.pass_on(std::mem::take(&mut changes)).await
            {
                return error;
            }
        }
    }

    async fn begin(
        &self,
        connection: &Connection,
        after: Revision,
    ) -> Result<(mpsc::Sender<WatchRequest>, Streaming<WatchResponse>), Status> {
        let (first, end) = self.keys.sessions_and_claims();
        let (sender, mut receiver) = mpsc::channel(BUFFERED_REQUESTS);
        let create = WatchCreateRequest {
            key: first.into_bytes(),
            range_end: end.into_bytes(),
            start_revision: after.0 as i64 + 1,
            fragment: true,
        };
        let _ = sender.try_send(WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        });
        let stream = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
        let mut request = tonic::Request::new(stream);
        // A member without a leader ends the stream. Source: `WithRequireLeader` of etcd's client.
        request
            .metadata_mut()
            .insert("hasleader", MetadataValue::from_static("true"));
        let responses = connection.watch().watch(request).await?.into_inner();
        Ok((sender, responses))
    }

    /// Passes on whole revisions.
    async fn pass_on(&self, changes: Vec<proto::Event>) -> Result<(), Error> {
        let mut changes = changes.into_iter().peekable();
        while let Some(first) = changes.next() {
            let revision = revision_of(&first);
            let (mut sessions, mut claims) = (Vec::new(), Vec::new());
            let mut next = Some(first);
            while let Some(change) = next {
                match self.read(change)? {
                    Entry::Session(change) => sessions.push(change),
                    Entry::Claim(range, claim) => claims.push((range, claim)),
                    Entry::Fixed => {}
                }
                next = changes.next_if(|change| revision_of(change) == revision);
            }
            let event = Event::Watched {
                revision,
                sessions,
                claims,
            };
            // Without a receiver, this task is about to end.
            let _ = self.events.send(event).await;
        }
        Ok(())
    }

    fn read(&self, change: proto::Event) -> Result<Entry, Error> {
        let deleted = change.r#type() == EventType::Delete;
        let pair = change.kv.ok_or(Error::Answer)?;
        match deleted {
            true => self.keys.deleted(&pair),
            false => self.keys.entry(&pair, self.ranges),
        }
    }
}

fn revision_of(change: &proto::Event) -> Revision {
    Revision(
        change
            .kv
            .as_ref()
            .map_or(0, |pair| pair.mod_revision as u64),
    )
}

/// Asks for a message. Only that it comes counts: before etcd 3.5.8, the revision in it may be ahead of
/// events that have not been sent.
fn progress() -> WatchRequest {
    WatchRequest {
        request_union: Some(RequestUnion::ProgressRequest(WatchProgressRequest {})),
    }
}

fn cancelled(response: WatchResponse) -> Error {
    let status = match response.compact_revision {
        0 => Status::failed_precondition(response.cancel_reason),
        revision => Status::out_of_range(format!("revisions before {revision} were compacted")),
    };
    Error::of_call(status)
}
