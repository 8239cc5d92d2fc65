//! Starts the threads of a run, and tells each what to ask and on which connections.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use globalcounter::protocol::Op;

use super::collect::{Watch, collect};
use super::datagrams::Datagrams;
use super::hello::ShardMap;
use super::lane::Lane;
use super::measured::Measured;
use super::one_shot::OneShot;
use super::schedule::Schedule;
use super::stream::Stream;
use super::tally::{Event, Totals};
use super::thread::{Open, Signals, Source, Sources, Thread};
use crate::observe::{self, Process};
use crate::plan::{Pace, Plan, Until};
use crate::target::Transport;
use crate::verify::History;
use crate::workload::{Requests, Topics};

/// What a run asks for.
#[derive(Debug, Clone)]
enum Asking {
    /// What the workload draws, at the plan's pace.
    Workload,
    /// Each of these once, as fast as it goes.
    Each(Op, Topics),
}

/// Carries out the plan and tells `watch` how it goes.
///
/// # Errors
///
/// A server that is not there, goes away, says nothing for too long or answers what is no reply.
pub(crate) fn run(plan: &Plan, process: Option<&Process>, watch: Watch<'_>) -> Result<Measured> {
    go(plan, &Asking::Workload, process, watch)
}

/// Asks for each topic, as fast as it goes: to prepare them, or to learn their sums. Where replies
/// get lost, it asks again for those topics. Returns what was seen the last time, and all of the
/// history.
///
/// # Errors
///
/// Those of [`run`]; replies that are lost every time.
pub(crate) fn each_topic(plan: &Plan, op: Op) -> Result<Measured> {
    /// Enough to be fast on every target, and little enough for every socket's buffer.
    const PIPELINE: usize = 32;
    const TRIES: u32 = 5;
    let mut plan = plan.clone();
    plan.warm_up = Duration::ZERO;
    plan.shard_aware = false;
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
        let asking = Asking::Each(op, topics);
        let mut seen = go(&plan, &asking, None, &mut |_| {})?;
        history.then(std::mem::take(&mut seen.history));
        if seen.silent.is_empty() {
            seen.history = history;
            return Ok(seen);
        }
        topics = Topics::These(seen.silent.into());
    }
    bail!(
        "{} topics were asked for {TRIES} times, and no reply came",
        topics.len()
    )
}

fn go(
    plan: &Plan,
    asking: &Asking,
    process: Option<&Process>,
    watch: Watch<'_>,
) -> Result<Measured> {
    let shards = if plan.shard_aware {
        Some(
            ShardMap::ask(plan)
                .with_context(|| format!("asking {} for its shards", plan.server))?,
        )
    } else {
        None
    };
    let signals = Signals::default();
    let run = Run {
        plan,
        asking,
        shards: shards.as_ref(),
        signals: &signals,
    };
    std::thread::scope(|scope| {
        let (events, seen) = mpsc::channel();
        let mut starts = Vec::new();
        for number in 0..plan.threads {
            let (start, started) = mpsc::channel();
            starts.push(start);
            let (run, events) = (run.clone(), events.clone());
            scope.spawn(move || {
                let ended = run.thread(number, &started, events.clone());
                let event = ended.map_or_else(Event::Failed, Event::Ended);
                // The receiver is gone only when another thread failed.
                let _ = events.send(event);
            });
        }
        drop(events);
        // Leaving drops `starts`: a thread that waits for its schedule ends then as well.
        collect(plan, process, &starts, &seen, watch)
            .inspect_err(|_| signals.failed.store(true, Ordering::Relaxed))
    })
    .with_context(|| format!("measuring {} at {}", plan.target.name(), plan.server))
}

/// One run, as its threads see it.
#[derive(Clone)]
struct Run<'a> {
    plan: &'a Plan,
    asking: &'a Asking,
    shards: Option<&'a ShardMap>,
    signals: &'a Signals,
}

impl Run<'_> {
    /// All that thread `number` does: connects, waits for the schedule, asks until the end.
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
                let connect = |i| Stream::connect(plan, self.shards.map(|map| map.shard_of(i)));
                self.run(number, connect, started, events)
            }
            Transport::OneShot => self.run(number, |i| OneShot::new(plan, i), started, events),
            Transport::Datagrams { .. } => {
                self.run(number, |_| Datagrams::connect(plan), started, events)
            }
        }
    }

    fn run<L: Lane>(
        &self,
        number: usize,
        connect: impl Fn(usize) -> Result<L>,
        started: &Receiver<Schedule>,
        events: Sender<Event>,
    ) -> Result<Totals> {
        let plan = self.plan;
        let numbers = (number..plan.connections).step_by(plan.threads);
        let lanes = numbers.clone().map(connect).collect::<Result<Vec<L>>>()?;
        let _ = events.send(Event::Connected);
        let Ok(schedule) = started.recv() else {
            bail!("another thread failed first");
        };
        let sources = match plan.pace {
            Pace::Closed { pipeline } => Sources::Closed {
                pipeline,
                each: numbers.map(|i| self.lane_source(i)).collect(),
            },
            Pace::Open { rate, spacing } => Sources::Open(Box::new(Open {
                arrivals: plan.workload.arrivals(number, plan.threads, rate, spacing),
                all: self.source(plan.workload.requests(number, None), number, plan.threads),
                owners: self.shards.map(|map| map.lanes(numbers)),
            })),
        };
        let notes_silent = matches!(self.asking, Asking::Each(..));
        let thread = Thread::new(plan, schedule, lanes, sources, notes_silent, events)?;
        thread.run(self.signals)
    }

    /// What connection `i` asks for in a closed loop.
    fn lane_source(&self, i: usize) -> Source {
        let plan = self.plan;
        let requests = match self.asking {
            Asking::Each(op, topics) => Requests::each(*op, topics.clone(), i, plan.connections),
            Asking::Workload => {
                let own = self.shards.map(|map| map.own(map.shard_of(i)));
                plan.workload.requests(i, own)
            }
        };
        self.source(requests, i, plan.connections)
    }

    /// `requests`, no more than the share of one in `among` of all that the plan asks for.
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
