//! The loop of one thread: makes requests when they are due, takes in replies, until the end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use anyhow::{Result, bail};
use globalcounter::server::sys::Received;
use mio::{Events, Poll, Token};

use super::flight::Asked;
use super::hello::LanesByTopic;
use super::lane::{Lane, Shared};
use super::schedule::Schedule;
use super::tally::{Event, Tally, Totals};
use crate::plan::Plan;
use crate::sockets::{EVENTS, READ_LEN};
use crate::verify::History;
use crate::workload::{Arrivals, Names, Request, Requests};

/// In an open loop, a request due sooner than this is waited for without sleeping: the system
/// sleeps in whole milliseconds.
const SLEEP_FROM: u64 = 2_000_000;

/// The longest sleep, so that ticks and timeouts are seen to.
const LONGEST_SLEEP: Duration = Duration::from_millis(10);

/// The shortest: that of the system.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);

/// How long a server may say nothing over UDP beyond the time after which a request is lost.
const SILENCE: Duration = Duration::from_secs(5);

/// In an open loop, how many requests that are due are made before replies are looked at.
const BURST: usize = 256;

/// What threads tell each other.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// One has failed, so the others have no reason to go on.
    pub(super) failed: AtomicBool,
    /// One can't keep more replies, so all come to their end.
    pub(super) full: AtomicBool,
}

/// Where requests come from, and how many more of them are to be measured.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) requests: Requests,
    pub(super) left: u64,
}

/// Who asks when.
#[derive(Debug)]
pub(super) enum Sources {
    /// Each connection has its own requests and makes the next one when a reply has come.
    Closed { pipeline: usize, each: Vec<Source> },
    /// The thread has requests for all its connections and makes them when they are due.
    Open(Box<Open>),
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) arrivals: Arrivals,
    pub(super) all: Source,
    pub(super) owners: Option<LanesByTopic>,
}

impl Source {
    /// The next request, where one that is due at `due` is still wanted.
    #[inline]
    fn next(&mut self, due: u64, start: u64) -> Option<Request> {
        if due >= start {
            self.left = self.left.checked_sub(1)?;
        }
        self.requests.next()
    }
}

pub(super) struct Thread<'a, L> {
    lanes: Vec<L>,
    sources: Sources,
    poll: Poll,
    shared: Shared,
    names: &'a Names,
    name: Box<[u8]>,
    timeout: u64,
    datagrams: bool,
    /// Nothing more is asked, replies are waited for.
    draining: bool,
    /// The lane that the next requests of an open loop go to: those due at once go together.
    turn: usize,
    /// The lanes that have something to send.
    unsent: Vec<bool>,
    /// A request of an open loop whose connection had no room.
    held: Option<Request>,
    /// When nothing was in flight or a reply came, last.
    quiet_since: u64,
    next_check: u64,
}

impl<'a, L: Lane> Thread<'a, L> {
    pub(super) fn new(
        plan: &'a Plan,
        schedule: Schedule,
        mut lanes: Vec<L>,
        sources: Sources,
        notes_silent: bool,
        events: Sender<Event>,
    ) -> Result<Self> {
        let poll = Poll::new()?;
        for (number, lane) in lanes.iter_mut().enumerate() {
            lane.register(poll.registry(), Token(number))?;
        }
        let history = if plan.verify {
            History::new(plan.threads)
        } else {
            History::default()
        };
        let names = &plan.workload.names;
        Ok(Self {
            poll,
            shared: Shared {
                target: plan.target,
                schedule,
                tally: Tally::new(schedule, history, notes_silent, events)?,
                buffer: vec![0; READ_LEN].into(),
                received: Some(Box::new(Received::new())),
            },
            name: names.buffer(),
            names,
            timeout: plan.timeout.as_nanos() as u64,
            datagrams: plan.target.transport().is_udp(),
            draining: false,
            turn: 0,
            unsent: vec![false; lanes.len()],
            held: None,
            quiet_since: 0,
            next_check: 0,
            lanes,
            sources,
        })
    }

    /// Runs until all is asked and answered, or lost, or another thread has failed.
    pub(super) fn run(mut self, signals: &Signals) -> Result<Totals> {
        let mut events = Events::with_capacity(EVENTS);
        for lane in 0..self.lanes.len() {
            self.refill(lane)?;
        }
        loop {
            let now = self.shared.schedule.now();
            if self.shared.tally.is_full() {
                signals.full.store(true, Ordering::Relaxed);
            }
            // In an open loop, what was due before the end is still to be made.
            self.draining |= self.is_closed() && now >= self.shared.schedule.end;
            self.draining |= signals.full.load(Ordering::Relaxed);
            self.shared.tally.tick(now)?;
            if signals.failed.load(Ordering::Relaxed) {
                bail!("another thread failed first");
            }
            self.ask_what_is_due(now)?;
            if now >= self.next_check || self.draining {
                self.next_check = now + LONGEST_SLEEP.as_nanos() as u64;
                self.check_patience(now)?;
                if self.is_done() {
                    break;
                }
            }
            let sleep = self.sleep();
            match self.poll.poll(&mut events, Some(sleep)) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                let lane = event.token().0;
                self.lanes[lane].ready(event, &mut self.shared)?;
                self.refill(lane)?;
            }
        }
        for lane in &self.lanes {
            for asked in lane.flight().unanswered() {
                self.shared.tally.unanswered(asked);
            }
        }
        self.shared.tally.finish()
    }

    /// In a closed loop: asks until the pipeline is full. In any: sends what is to be sent.
    fn refill(&mut self, number: usize) -> Result<()> {
        let lane = &mut self.lanes[number];
        if let Sources::Closed { pipeline, each } = &mut self.sources
            && !self.draining
        {
            let now = self.shared.schedule.now();
            while lane.flight().len() < *pipeline {
                let start = self.shared.schedule.start;
                let Some((op, topic)) = each[number].next(now, start) else {
                    break;
                };
                let asked = Asked {
                    op,
                    topic,
                    due: now,
                    sent: now,
                };
                let name = self.names.write(topic, &mut self.name);
                lane.ask(asked, name, &mut self.shared)?;
            }
        }
        lane.flush(&mut self.shared)
    }

    /// In an open loop: makes the requests that are due.
    fn ask_what_is_due(&mut self, now: u64) -> Result<()> {
        let Sources::Open(open) = &mut self.sources else {
            return Ok(());
        };
        let Open {
            arrivals,
            all,
            owners,
        } = &mut **open;
        let schedule = self.shared.schedule;
        // Not for ever, where the server has stopped: what is left then counts as never sent, and
        // with at least the latency that it has by now.
        if now > schedule.end.saturating_add(self.timeout) && !self.draining {
            while arrivals.due() < schedule.end {
                self.shared.tally.never_sent(arrivals.due(), now);
                arrivals.advance();
            }
            self.draining = true;
        }
        for _ in 0..BURST {
            let due = arrivals.due();
            self.draining |= due >= schedule.end;
            if self.draining || due > now {
                break;
            }
            let drawn = self.held.take().or_else(|| all.next(due, schedule.start));
            let Some((op, topic)) = drawn else {
                self.draining = true;
                break;
            };
            let own = owners.as_ref().map_or(&[][..], |owners| owners.of(topic));
            let Some(lane) = lane_with_room(&self.lanes, own, self.turn) else {
                // What is due now waits here, and counts from when it was due all the same.
                self.held = Some((op, topic));
                break;
            };
            arrivals.advance();
            let asked = Asked {
                op,
                topic,
                due,
                sent: now,
            };
            let name = self.names.write(topic, &mut self.name);
            self.lanes[lane].ask(asked, name, &mut self.shared)?;
            self.unsent[lane] = true;
        }
        for (lane, unsent) in self.lanes.iter_mut().zip(&mut self.unsent) {
            if std::mem::take(unsent) {
                lane.flush(&mut self.shared)?;
                self.turn = self.turn.wrapping_add(1);
            }
        }
        Ok(())
    }

    /// Gives up datagrams that take too long; fails where the server says nothing at all.
    fn check_patience(&mut self, now: u64) -> Result<()> {
        let mut patience = self.timeout;
        if self.datagrams {
            patience += SILENCE.as_nanos() as u64;
            for number in 0..self.lanes.len() {
                let before = now.saturating_sub(self.timeout);
                self.lanes[number].expire(before, &mut self.shared)?;
                self.refill(number)?;
            }
        }
        let in_flight = self.in_flight();
        let last_reply = self.shared.tally.last_reply();
        if in_flight == 0 || last_reply > self.quiet_since {
            self.quiet_since = now;
        }
        if now - self.quiet_since > patience {
            bail!(
                "the server has not answered for {:?}, with {in_flight} requests in flight",
                Duration::from_nanos(patience)
            );
        }
        Ok(())
    }

    fn is_closed(&self) -> bool {
        matches!(self.sources, Sources::Closed { .. })
    }

    fn in_flight(&self) -> usize {
        self.lanes.iter().map(|lane| lane.flight().len()).sum()
    }

    /// Whether all is asked, and answered or lost. A lane of a closed loop has none in flight only
    /// where it has no more to ask.
    fn is_done(&self) -> bool {
        let asked_all = self.draining || self.is_closed();
        asked_all && self.in_flight() == 0
    }

    /// How long the thread may sleep.
    fn sleep(&self) -> Duration {
        let Sources::Open(open) = &self.sources else {
            return LONGEST_SLEEP;
        };
        if self.draining || self.held.is_some() {
            return SHORTEST_SLEEP;
        }
        let wait = open
            .arrivals
            .due()
            .saturating_sub(self.shared.schedule.now());
        match wait {
            ..SLEEP_FROM => Duration::ZERO,
            // The system may take a millisecond more than it was told.
            wait => Duration::from_nanos(wait - SLEEP_FROM / 2).min(LONGEST_SLEEP),
        }
    }
}

/// The first lane with room from `turn` on: of those in `own`, or of all where that is empty.
fn lane_with_room<L: Lane>(lanes: &[L], own: &[usize], turn: usize) -> Option<usize> {
    let has_room = |&lane: &usize| lanes[lane].flight().len() < lanes[lane].limit();
    match own.len() {
        0 => (0..lanes.len())
            .map(|i| (turn + i) % lanes.len())
            .find(has_room),
        len => (0..len).map(|i| own[(turn + i) % len]).find(has_room),
    }
}
