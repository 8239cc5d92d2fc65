//! Starts the threads of a run and gives each its connections and requests.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use globalcounter::protocol::Op;

use super::collect::{Watch, collect};
use super::connection::{Connection, Shared};
use super::datagrams::Datagrams;
use super::hello::ShardMap;
use super::measured::Measured;
use super::one_shot::OneShot;
use super::reconnect::{Opener, Patience};
use super::routes::Routes;
use super::schedule::Schedule;
use super::source::{Open, Source, Sources};
use super::stream::Stream;
use super::tally::{Event, Tally, Totals};
use super::thread::Thread;
use super::watch::Signals;
use crate::observe::{self, Process};
use crate::plan::{Pace, Plan, Until};
use crate::target::Transport;
use crate::verify::History;
use crate::workload::{Requests, Topics};

/// The requests of a run.
#[derive(Debug, Clone)]
enum Job {
    /// Requests that the workload draws, at the plan's pace.
    Workload,
    /// One request for each of these topics, as fast as possible.
    Each(Op, Topics),
}

/// Carries out the plan and reports its progress to `watch`.
///
/// # Errors
///
/// The server is not there, closes a connection, sends nothing for too long, or sends bytes that are
/// no reply.
pub(crate) fn run(plan: &Plan, process: Option<&Process>, watch: Watch<'_>) -> Result<Measured> {
    execute(plan, &Job::Workload, process, watch)
}

/// Makes one request per topic, as fast as possible: to create the topics, or to learn their sums.
/// If replies are lost, it repeats the requests for those topics. Returns the results of the last
/// round with the history of all rounds.
///
/// # Errors
///
/// Those of [`run`]; also if a topic gets no reply in any round.
pub(crate) fn each_topic(plan: &Plan, op: Op, process: Option<&Process>) -> Result<Measured> {
    /// Enough to be fast on every target, and few enough for every socket's buffer.
    const PIPELINE: usize = 32;
    const TRIES: u32 = 5;
    let mut plan = plan.clone();
    plan.warm_up = Duration::ZERO;
    plan.shard_aware = false;
    if plan.has_several_servers() {
        // Connections take over the requests of others whose server is away, within a thread.
        plan.threads = 1;
    }
    let pipeline = match (plan.pace, plan.target.transport()) {
        (Pace::Closed { pipeline }, _) => pipeline,
        (Pace::Open { .. }, Transport::Stream) => PIPELINE,
        (Pace::Open { .. }, _) => 1,
    };
    plan.pace = Pace::Closed { pipeline };
    let mut topics = Topics::First(plan.workload.names.count());
    let mut history = History::default();
    for _ in 0..TRIES {
        plan.until = Until::Requests(topics.len() as u64);
        let job = Job::Each(op, topics);
        let mut seen = execute(&plan, &job, process, &mut |_| {})?;
        history.append(std::mem::take(&mut seen.history));
        if seen.unanswered_topics.is_empty() {
            seen.history = history;
            return Ok(seen);
        }
        topics = Topics::These(seen.unanswered_topics.into());
        let answered = |&server: &u16| seen.by_server[usize::from(server)].1.replies > 0;
        let answering: Vec<u16> = plan.in_use.iter().copied().filter(answered).collect();
        if !answering.is_empty() {
            plan.in_use = answering;
        }
    }
    bail!("{} topics got no reply in {TRIES} tries", topics.len())
}

/// Starts the threads of a run and collects their results.
fn execute(
    plan: &Plan,
    job: &Job,
    process: Option<&Process>,
    watch: Watch<'_>,
) -> Result<Measured> {
    let shards = if plan.shard_aware {
        Some(
            ShardMap::fetch(plan)
                .with_context(|| format!("asking {} for its shards", plan.server_names()))?,
        )
    } else {
        None
    };
    let signals = Signals::default();
    let run = Run {
        plan,
        job,
        shards: shards.as_ref(),
        routes: plan
            .redis_cluster
            .then(|| Arc::new(Routes::new(&plan.servers))),
        signals: &signals,
    };
    std::thread::scope(|scope| {
        let (events, received) = mpsc::channel();
        let mut starts = Vec::new();
        for number in 0..plan.threads {
            let (start, started) = mpsc::channel();
            starts.push(start);
            let (run, events) = (run.clone(), events.clone());
            scope.spawn(move || {
                let ended = run.thread(number, &started, events.clone());
                let event =
                    ended.map_or_else(Event::Failed, |totals| Event::Ended(Box::new(totals)));
                // The receiver is gone only when another thread failed.
                let _ = events.send(event);
            });
        }
        drop(events);
        // Returning drops `starts`, which ends a thread that still waits for its schedule.
        collect(plan, process, &starts, &received, watch)
            .inspect_err(|_| signals.failed.store(true, Ordering::Relaxed))
    })
    .with_context(|| {
        format!(
            "measuring {} at {}",
            plan.target.name(),
            plan.server_names()
        )
    })
}

/// What all threads of a run share.
#[derive(Clone)]
struct Run<'a> {
    plan: &'a Plan,
    job: &'a Job,
    shards: Option<&'a ShardMap>,
    /// The owners of topics, if requests are sent to them.
    routes: Option<Arc<Routes>>,
    signals: &'a Signals,
}

impl Run<'_> {
    /// Runs thread `number`: connects, waits for the schedule, makes requests until the end.
    fn thread(
        &self,
        number: usize,
        started: &Receiver<Schedule>,
        events: Sender<Event>,
    ) -> Result<Totals> {
        let plan = self.plan;
        if !plan.processors.is_empty() {
            observe::pin(plan.processors[number % plan.processors.len()])?;
        }
        match plan.target.transport() {
            Transport::Stream => {
                let shard = |i| self.shards.map(|map| map.shard_of(i));
                let routes = self.routes.as_deref();
                let connect = |i| Stream::connect(plan, plan.address_of(i), shard(i), routes);
                self.run(number, connect, started, events)
            }
            Transport::OneShot => self.run(number, |i| OneShot::new(plan, i), started, events),
            Transport::Datagrams { .. } => {
                let connect = |i| Datagrams::connect(plan, plan.address_of(i));
                self.run_with(number, connect, started, events)
            }
        }
    }

    /// Runs a thread whose connections `connect` opens, again if they end and the plan says so.
    fn run<C: Connection + Send>(
        &self,
        number: usize,
        connect: impl Fn(usize) -> Result<C> + Sync,
        started: &Receiver<Schedule>,
        events: Sender<Event>,
    ) -> Result<Totals> {
        let Some(patience) = self.plan.reconnect else {
            return self.run_with(number, connect, started, events);
        };
        std::thread::scope(|scope| {
            let plan = self.plan;
            let patience = if plan.has_several_servers() {
                Patience::Endless
            } else {
                Patience::For(patience)
            };
            let start = |_| Opener::start(scope, patience, &connect);
            let openers: Vec<Opener<C>> = plan.servers.iter().map(start).collect();
            let open = |i| openers[usize::from(plan.server_of(i))].open(i);
            self.run_with(number, open, started, events)
        })
    }

    fn run_with<C: Connection>(
        &self,
        number: usize,
        connect: impl Fn(usize) -> Result<C>,
        started: &Receiver<Schedule>,
        events: Sender<Event>,
    ) -> Result<Totals> {
        let plan = self.plan;
        let numbers = (number..plan.connections).step_by(plan.threads);
        let connections = numbers.clone().map(connect).collect::<Result<Vec<C>>>()?;
        let _ = events.send(Event::Connected);
        let Ok(schedule) = started.recv() else {
            bail!("another thread failed first");
        };
        let sources = match plan.pace {
            Pace::Closed { pipeline } => Sources::Closed {
                pipeline,
                by_connection: numbers.map(|i| self.connection_source(i)).collect(),
            },
            Pace::Open { rate, spacing } => Sources::Open(Box::new(Open {
                arrivals: plan.workload.arrivals(number, plan.threads, rate, spacing),
                source: self.source(plan.workload.requests(number, None), number, plan.threads),
                by_topic: self.shards.map(|map| map.connections_by_topic(numbers)),
            })),
        };
        let track_unanswered = matches!(self.job, Job::Each(..));
        let servers = plan.servers.len();
        let history = if plan.verify.is_some() {
            History::new(plan.threads)
        } else {
            History::default()
        };
        let tally = Tally::new(schedule, servers, history, track_unanswered, events)?;
        let shared = Shared::new(plan, schedule, tally, self.routes.clone());
        let thread = Thread::new(plan, number, connections, sources, shared)?;
        thread.run(self.signals)
    }

    /// Returns the requests of connection `i` in a closed loop.
    fn connection_source(&self, i: usize) -> Source {
        let plan = self.plan;
        let requests = match self.job {
            Job::Each(op, topics) => Requests::each(*op, topics.clone(), i, plan.connections),
            Job::Workload => {
                let own = self.shards.map(|map| map.topics_of(map.shard_of(i)));
                plan.workload.requests(i, own)
            }
        };
        self.source(requests, i, plan.connections)
    }

    /// Limits `requests` to the share of one in `among` of the plan's requests.
    fn source(&self, requests: Requests, number: usize, among: usize) -> Source {
        let left = match self.plan.until {
            Until::Elapsed(_) => u64::MAX,
            Until::Requests(total) => {
                let (number, among) = (number as u64, among as u64);
                total / among + u64::from(number < total % among)
            }
        };
        Source { requests, left }
    }
}
