//! Carries out a [`Plan`]: threads that each keep some connections busy, and what they saw, put
//! together. Sockets are in `stream`, `datagrams` and `one_shot`; `thread` is the loop over them.

mod collect;
mod datagrams;
mod flight;
mod hello;
mod lane;
mod one_shot;
mod stream;
mod tally;
mod thread;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use globalcounter::protocol::Op;
use hdrhistogram::Histogram;

use crate::observe::{Process, Usage};
use crate::plan::{Pace, Plan, Until};
use crate::target::Transport;
use crate::verify::History;
use crate::workload::{Requests, Topics};

pub(crate) use flight::{MAX_IN_FLIGHT, MAX_IN_FLIGHT_BY_ID16};
pub(crate) use tally::{Moment, Tick};

use datagrams::Datagrams;
use hello::ShardMap;
use one_shot::OneShot;
use stream::Stream;
use tally::Event;

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Points in time on the plots of a run, about.
const TICKS: u32 = 100;
/// A tick is at least that long, so that the histograms that each hands over cost nothing.
const SHORTEST_TICK: Duration = Duration::from_millis(100);
/// And at most, so that the progress bar moves.
const LONGEST_TICK: Duration = Duration::from_secs(1);

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Measured {
    /// How long was measured.
    pub(crate) elapsed: Duration,
    /// Replies that came while it was measured: what rate and cost are counted in.
    pub(crate) replies: u64,
    /// One value for each request due while it was measured that was answered and not refused, in
    /// nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// Those of them that refused, by their code.
    pub(crate) refused: BTreeMap<String, u64>,
    /// The first refusal, also of a warm-up, in the server's own words.
    pub(crate) first_refusal: Option<String>,
    /// Datagrams' requests, due while it was measured, that no reply came for, in time or late.
    pub(crate) lost: u64,
    /// The same whose reply came after the timeout.
    pub(crate) late: u64,
    /// Requests of an open loop that were due and could not be made: the server was too slow. They
    /// are in the latencies, with how long they had waited at the end.
    pub(crate) never_sent: u64,
    /// The topics that no reply came for, where each was asked for once.
    silent: Vec<u32>,
    /// Whether it ended early, because no more replies could be kept.
    pub(crate) full: bool,
    /// Datagrams that answered nothing that was asked.
    pub(crate) unasked: u64,
    /// What was seen over time.
    pub(crate) moments: Vec<Moment>,
    /// What the server's process used while it was measured, where it is on this machine.
    pub(crate) usage: Option<Usage>,
    /// What every reply said, where that was asked for.
    pub(crate) history: History,
}

impl Measured {
    /// Replies a second.
    pub(crate) fn rate(&self) -> f64 {
        self.replies as f64 / self.elapsed.as_secs_f64()
    }

    /// Processor time of the server for each reply, in nanoseconds.
    pub(crate) fn processor_nanos(&self) -> Option<f64> {
        let usage = self.usage.as_ref()?;
        (self.replies > 0).then(|| usage.processor.as_nanos() as f64 / self.replies as f64)
    }
}

/// What the threads go by; times are nanoseconds since `epoch`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    epoch: Instant,
    /// When measuring begins.
    start: u64,
    /// When it ends; never, where the requests run out instead.
    end: u64,
    tick: u64,
}

impl Schedule {
    fn of(plan: &Plan) -> Self {
        let start = plan.warm_up.as_nanos() as u64;
        let (end, tick) = match plan.until {
            Until::Elapsed(duration) => (
                start + duration.as_nanos() as u64,
                (duration / TICKS).clamp(SHORTEST_TICK, LONGEST_TICK),
            ),
            Until::Requests(_) => (u64::MAX, SHORTEST_TICK),
        };
        Self {
            epoch: Instant::now(),
            start,
            end,
            tick: tick.as_nanos() as u64,
        }
    }

    /// Nanoseconds since the run began.
    #[inline]
    fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }
}

/// Watches a run: called with each tick of each thread.
pub(crate) type Watch<'a> = &'a mut dyn FnMut(&Tick);

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
        collect::collect(plan, process, &starts, &seen, watch)
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

/// What threads tell each other.
#[derive(Debug, Default)]
struct Signals {
    /// One has failed, so the others have no reason to go on.
    failed: AtomicBool,
    /// One can't keep more replies, so all come to their end.
    full: AtomicBool,
}

impl Run<'_> {
    /// All that thread `number` does: connects, waits for the schedule, asks until the end.
    fn thread(
        &self,
        number: usize,
        started: &Receiver<Schedule>,
        events: Sender<Event>,
    ) -> Result<tally::Totals> {
        let plan = self.plan;
        if !plan.processors.is_empty() {
            crate::observe::pin(plan.processors[number % plan.processors.len()])?;
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

    fn run<L: lane::Lane>(
        &self,
        number: usize,
        connect: impl Fn(usize) -> Result<L>,
        started: &Receiver<Schedule>,
        events: Sender<Event>,
    ) -> Result<tally::Totals> {
        let plan = self.plan;
        let numbers = (number..plan.connections).step_by(plan.threads);
        let lanes = numbers.clone().map(connect).collect::<Result<Vec<L>>>()?;
        let _ = events.send(Event::Connected);
        let Ok(schedule) = started.recv() else {
            bail!("another thread failed first");
        };
        let sources = match plan.pace {
            Pace::Closed { pipeline } => thread::Sources::Closed {
                pipeline,
                each: numbers.map(|i| self.lane_source(i)).collect(),
            },
            Pace::Open { rate, spacing } => thread::Sources::Open(Box::new(thread::Open {
                arrivals: plan.workload.arrivals(number, plan.threads, rate, spacing),
                all: self.source(plan.workload.requests(number, None), number, plan.threads),
                owners: self.shards.map(|map| map.lanes(numbers)),
            })),
        };
        let notes_silent = matches!(self.asking, Asking::Each(..));
        let thread = thread::Thread::new(plan, schedule, lanes, sources, notes_silent, events)?;
        thread.run(self.signals)
    }

    /// What connection `i` asks for in a closed loop.
    fn lane_source(&self, i: usize) -> thread::Source {
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
    fn source(&self, requests: Requests, number: usize, among: usize) -> thread::Source {
        let left = match self.plan.until {
            Until::Elapsed(_) => u64::MAX,
            Until::Requests(total) => {
                let (number, among) = (number as u64, among as u64);
                total / among + u64::from(number < total % among)
            }
        };
        thread::Source { requests, left }
    }
}
