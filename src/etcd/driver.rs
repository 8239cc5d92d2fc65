//! The thread that runs a node of a cluster: it has the [`Node`], which decides, its clock and timers, and
//! the requests to etcd. What concerns the shards goes to a [`Shards`], and comes back as an [`Event`].

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use thiserror::Error as ErrorTrait;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{error, warn};

use super::client::Client;
use super::connection::Settings;
use super::error::Error;
use super::member::Member;
use super::values::Description;
use super::watch::Watch;
use crate::cluster::{
    Action, Answer, Config, Epoch, Event, Moment, Node, RangeId, Request, Ticket,
};
use crate::measure::{LogLimit, boot_time};

static EXISTS: LogLimit = LogLimit::new();
static FAILED: LogLimit = LogLimit::new();
static NOT_UNDERSTOOD: LogLimit = LogLimit::new();

/// Carries out what a node decides about its ranges. Calls come from the driver's thread, in the order
/// that is to be kept, and must not wait: each is answered later, with the [`Event`] that the
/// [`Action`] of the same name says.
pub trait Shards: Send + 'static {
    /// See [`Action::SetDeadline`]. It is a moment of [`boot_time`](super::boot_time).
    fn set_deadline(&mut self, deadline: Moment);

    /// See [`Action::Load`].
    fn load(&mut self, range: RangeId, epoch: Epoch);

    /// See [`Action::Freeze`].
    fn freeze(&mut self, range: RangeId, epoch: Epoch);

    /// See [`Action::Drop`].
    fn drop_range(&mut self, range: RangeId);

    /// See [`Action::DropAll`].
    fn drop_all(&mut self);

    /// The deadline has passed and was not moved: nothing more is applied.
    fn end_deadline(&mut self);

    /// See [`Action::Left`]. It is the last call.
    fn left(&mut self);

    /// See [`Action::OwnersChanged`]. [`Node::owner`] tells the new owners.
    fn owners_changed(&mut self, node: &Node);
}

/// Takes events from the shards to the driver.
#[derive(Debug, Clone)]
pub struct Events(mpsc::UnboundedSender<Event>);

impl Events {
    /// Sends an event. After the driver has ended, nothing happens.
    pub fn send(&self, event: Event) {
        let _ = self.0.send(event);
    }
}

/// A thread that runs a node. Dropping it stops the node at once, as a crash would: its session ends when
/// its lease expires. [`leave`](Self::leave) hands over the ranges first.
#[derive(Debug)]
pub struct Driver {
    events: Events,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Tells that the node has left.
    left: Receiver<()>,
    ranges: u16,
}

/// Why a driver cannot start.
#[derive(Debug, ErrorTrait)]
#[non_exhaustive]
pub enum StartError {
    /// The cluster cannot be joined.
    #[error(transparent)]
    Etcd(#[from] Error),
    /// The system does not give a thread or a runtime.
    #[error("cannot start the thread of the cluster: {0}")]
    System(#[from] io::Error),
}

impl Driver {
    /// Joins the cluster, which is created if it does not exist, and starts the node. `shards` gets the
    /// way back for events, and the number of ranges of the cluster. Returns when etcd has answered.
    ///
    /// # Errors
    ///
    /// etcd does not answer; the cluster is of another format; a key is not understood; or there is no
    /// thread.
    pub fn start<S: Shards>(
        settings: Settings,
        description: Description,
        lease: Duration,
        shards: impl FnOnce(Events, u16) -> S + Send + 'static,
    ) -> Result<Self, StartError> {
        let (sender, events) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let (report, started) = sync_channel(1);
        let (report_left, left) = sync_channel(1);
        let for_shards = Events(sender.clone());
        let run = move || {
            let joining = Joining {
                settings,
                description,
                lease,
            };
            let shards = |ranges| shards(for_shards, ranges);
            if run_thread(joining, shards, events, stopped, &report) {
                let _ = report_left.send(());
            }
        };
        let thread = std::thread::Builder::new()
            .name("cluster".into())
            .spawn(run)?;
        let ranges = started
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("it ended while it started").into()))?;
        Ok(Self {
            events: Events(sender),
            stop: Some(stop),
            thread: Some(thread),
            left,
            ranges,
        })
    }

    /// Returns the number of ranges of the cluster.
    #[must_use]
    pub fn ranges(&self) -> u16 {
        self.ranges
    }

    /// Hands over all ranges, ends the session and stops the node. Returns whether all of that was done
    /// within a time; if not, the node was stopped as by dropping it. While etcd does not answer, nothing
    /// can be handed over.
    #[must_use]
    pub fn leave(self, within: Duration) -> bool {
        self.events.send(Event::Leave);
        self.left.recv_timeout(within).is_ok()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic was reported by its hook; the session ends when its lease expires.
            let _ = thread.join();
        }
    }
}

/// What is needed to join a cluster.
struct Joining {
    settings: Settings,
    description: Description,
    lease: Duration,
}

/// The driver's thread. It reports the number of ranges when the cluster was joined, and returns whether
/// the node has left it.
fn run_thread<S: Shards>(
    joining: Joining,
    shards: impl FnOnce(u16) -> S,
    events: mpsc::UnboundedReceiver<Event>,
    stopped: oneshot::Receiver<()>,
    report: &SyncSender<Result<u16, StartError>>,
) -> bool {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = report.send(Err(error.into()));
            return false;
        }
    };
    let run = async {
        let client = Client::new(joining.settings);
        let member = match Member::join(client, joining.description).await {
            Ok(member) => member,
            Err(error) => {
                let _ = report.send(Err(error.into()));
                return false;
            }
        };
        let ranges = member.ranges();
        let config = Config {
            name: member.description().name.clone(),
            lease: joining.lease,
            ranges,
        };
        let running = Running {
            node: Node::new(config),
            member,
            shards: shards(ranges),
            requests: JoinSet::new(),
            watch: None,
            deadline: None,
            left: false,
        };
        let _ = report.send(Ok(ranges));
        running.run(events, stopped).await
    };
    runtime.block_on(run)
}

/// A node that runs.
struct Running<S> {
    node: Node,
    member: Member,
    shards: S,
    requests: JoinSet<(Ticket, Answer)>,
    watch: Option<Watch>,
    /// `None` after it has passed.
    deadline: Option<Moment>,
    left: bool,
}

impl<S: Shards> Running<S> {
    /// Runs the node until it has left or is to stop. Returns whether it has left.
    async fn run(
        mut self,
        mut events: mpsc::UnboundedReceiver<Event>,
        mut stopped: oneshot::Receiver<()>,
    ) -> bool {
        self.handle(Event::Timer);
        while !self.left {
            let timer = self.node.next_timer();
            let event = tokio::select! {
                _ = &mut stopped => return false,
                Some(event) = events.recv() => event,
                Some(answered) = self.requests.join_next() => match answered {
                    Ok((ticket, answer)) => Event::Answer(ticket, answer),
                    // A task that panicked; its hook has reported it, and nothing here can be trusted.
                    Err(_) => return false,
                },
                event = next_change(&mut self.watch) => event,
                () = until(timer) => Event::Timer,
                () = until(self.deadline) => {
                    if self.deadline.is_some_and(|deadline| deadline <= boot_time()) {
                        self.deadline = None;
                        self.shards.end_deadline();
                    }
                    continue;
                }
            };
            self.handle(event);
        }
        // The last request ends the session.
        while self.requests.join_next().await.is_some() {}
        true
    }

    fn handle(&mut self, event: Event) {
        if event == Event::WatchBroken {
            self.watch = None;
        }
        for action in self.node.handle(boot_time(), event) {
            match action {
                Action::Send(ticket, request) => self.send(ticket, request),
                Action::Watch { after } => self.watch = Some(self.member.watch(after)),
                Action::SetDeadline(deadline) => {
                    self.deadline = Some(deadline);
                    self.shards.set_deadline(deadline);
                }
                Action::Load(range, epoch) => self.shards.load(range, epoch),
                Action::Freeze(range, epoch) => self.shards.freeze(range, epoch),
                Action::Drop(range) => self.shards.drop_range(range),
                Action::DropAll => self.shards.drop_all(),
                Action::OwnersChanged => self.shards.owners_changed(&self.node),
                Action::Left => {
                    self.left = true;
                    self.shards.left();
                }
            }
        }
    }

    fn send(&mut self, ticket: Ticket, request: Request) {
        let member = self.member.clone();
        self.requests.spawn(async move {
            let answer = member.request(request).await.unwrap_or_else(|error| {
                log(&error);
                Answer::Unknown
            });
            if answer == Answer::Exists
                && let Some(times) = EXISTS.count()
            {
                let node = member.description().name.as_str();
                warn!(
                    node,
                    times, "another session has this node's name: waiting until it ends"
                );
            }
            (ticket, answer)
        });
    }
}

async fn next_change(watch: &mut Option<Watch>) -> Event {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

/// Waits until a moment. After the machine was suspended, it may be late.
async fn until(moment: Option<Moment>) {
    match moment {
        Some(moment) => tokio::time::sleep(moment - boot_time()).await,
        None => std::future::pending().await,
    }
}

fn log(error: &Error) {
    if matches!(error, Error::NotUnderstood { .. }) {
        if let Some(times) = NOT_UNDERSTOOD.count() {
            error!(%error, times, "cannot read the state of the cluster: this node takes no further ranges");
        }
    } else if let Some(times) = FAILED.count() {
        warn!(%error, times, "a request to etcd failed: this node tries again");
    }
}
