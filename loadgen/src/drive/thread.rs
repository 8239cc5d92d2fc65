//! The loop of one thread: makes requests when they are due and reads replies, until the end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use anyhow::{Result, bail};
use globalcounter::server::sys::Received;
use mio::{Events, Poll, Token};

use super::connection::{Connection, Shared};
use super::hello::ConnectionsByTopic;
use super::in_flight::Pending;
use super::schedule::Schedule;
use super::tally::{Event, Tally, Totals};
use crate::plan::Plan;
use crate::sockets::{EVENTS, READ_LEN};
use crate::verify::History;
use crate::workload::{Arrivals, Names, Request, Requests};

/// In an open loop, the thread polls without sleeping if a request is due within this time
/// (nanoseconds), because the system sleeps in whole milliseconds.
const SLEEP_FROM: u64 = 2_000_000;

/// The longest sleep, so that ticks and timeouts are handled.
const LONGEST_SLEEP: Duration = Duration::from_millis(10);

/// How long to sleep while the thread drains or a request waits for room: the shortest sleep of
/// epoll.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);

/// Over UDP, a run fails if the server sends nothing for the timeout of a request plus this time,
/// while requests are in flight.
const SILENCE: Duration = Duration::from_secs(5);

/// In an open loop, the most due requests that are made before replies are read.
const BURST: usize = 256;

/// Signals between the threads of a run.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// A thread has failed, so the others stop as well.
    pub(super) failed: AtomicBool,
    /// A thread cannot record more replies (`--verify`), so all threads finish early.
    pub(super) full: AtomicBool,
}

/// A source of requests.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) requests: Requests,
    /// The number of requests that are still to be measured. Requests of the warm-up do not count.
    pub(super) left: u64,
}

/// When requests are made, and from which sources.
#[derive(Debug)]
pub(super) enum Sources {
    /// Each connection has its own source and makes a request when a reply has arrived.
    Closed {
        pipeline: usize,
        by_connection: Vec<Source>,
    },
    /// The thread has one source for all its connections and makes requests when they are due.
    Open(Box<Open>),
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) arrivals: Arrivals,
    pub(super) source: Source,
    /// The connections that a topic's requests may use. `None` if they may use all.
    pub(super) by_topic: Option<ConnectionsByTopic>,
}

impl Source {
    /// Returns the next request, which is due at `due`; before `start` it belongs to the warm-up.
    /// `None` if all requests were made.
    #[inline]
    fn next(&mut self, due: u64, start: u64) -> Option<Request> {
        if due >= start {
            self.left = self.left.checked_sub(1)?;
        }
        self.requests.next()
    }
}

/// The loop of one thread, with its connections and its sources of requests.
pub(super) struct Thread<'a, C> {
    connections: Vec<C>,
    sources: Sources,
    poll: Poll,
    shared: Shared,
    names: &'a Names,
    /// Buffer for a topic's name.
    name: Box<[u8]>,
    timeout: u64,
    /// How long a connection that ended may take to be opened again. 0 if none is.
    reconnect: u64,
    is_udp: bool,
    /// No more requests are made; the thread waits for replies.
    draining: bool,
    /// In an open loop, the search for a connection with room begins here. It moves on after each
    /// flush, so that the requests made in one pass of the loop go to one connection while it has
    /// room.
    turn: usize,
    /// For each connection, whether it has queued requests to flush.
    unsent: Vec<bool>,
    /// A request of an open loop that no connection had room for.
    deferred: Option<Request>,
    /// The last check at which a new reply had arrived, or nothing was in flight.
    silent_since: u64,
    next_check: u64,
}

impl<'a, C: Connection> Thread<'a, C> {
    pub(super) fn new(
        plan: &'a Plan,
        schedule: Schedule,
        mut connections: Vec<C>,
        sources: Sources,
        track_unanswered: bool,
        events: Sender<Event>,
    ) -> Result<Self> {
        let poll = Poll::new()?;
        for (number, connection) in connections.iter_mut().enumerate() {
            connection.register(poll.registry(), Token(number))?;
        }
        let history = if plan.verify.is_some() {
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
                tally: Tally::new(schedule, history, track_unanswered, events)?,
                buffer: vec![0; READ_LEN].into(),
                received: Some(Box::new(Received::new())),
            },
            name: names.buffer(),
            names,
            timeout: plan.timeout.as_nanos() as u64,
            reconnect: plan.reconnect.unwrap_or_default().as_nanos() as u64,
            is_udp: plan.target.transport().is_udp(),
            draining: false,
            turn: 0,
            unsent: vec![false; connections.len()],
            deferred: None,
            silent_since: 0,
            next_check: 0,
            connections,
            sources,
        })
    }

    /// Runs until all requests are made and answered or lost, or another thread has failed.
    pub(super) fn run(mut self, signals: &Signals) -> Result<Totals> {
        let mut events = Events::with_capacity(EVENTS);
        for connection in 0..self.connections.len() {
            self.refill(connection)?;
        }
        loop {
            let now = self.shared.schedule.now();
            if self.shared.tally.is_full() {
                signals.full.store(true, Ordering::Relaxed);
            }
            // Only a closed loop stops at the end. An open loop still makes the requests that were due
            // before the end.
            self.draining |= self.is_closed() && now >= self.shared.schedule.end;
            self.draining |= signals.full.load(Ordering::Relaxed);
            self.shared.tally.tick(now)?;
            if signals.failed.load(Ordering::Relaxed) {
                bail!("another thread failed first");
            }
            self.queue_due_requests(now)?;
            if now >= self.next_check || self.draining {
                self.next_check = now + LONGEST_SLEEP.as_nanos() as u64;
                self.check_timeouts(now)?;
                if self.is_done() {
                    break;
                }
                self.reopen()?;
            }
            let sleep = self.sleep();
            match self.poll.poll(&mut events, Some(sleep)) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                let connection = event.token().0;
                self.connections[connection].ready(event, &mut self.shared)?;
                self.refill(connection)?;
            }
        }
        for connection in &self.connections {
            for pending in connection.in_flight().unanswered() {
                self.shared.tally.unanswered(pending);
            }
        }
        self.shared.tally.finish()
    }

    /// Fills the pipeline of a connection in a closed loop, and flushes it in any loop.
    fn refill(&mut self, number: usize) -> Result<()> {
        let connection = &mut self.connections[number];
        if let Sources::Closed {
            pipeline,
            by_connection,
        } = &mut self.sources
            && !self.draining
        {
            let now = self.shared.schedule.now();
            while connection.is_open() && connection.in_flight().len() < *pipeline {
                let start = self.shared.schedule.start;
                let Some((op, topic)) = by_connection[number].next(now, start) else {
                    break;
                };
                let pending = Pending {
                    op,
                    topic,
                    due: now,
                    sent: now,
                };
                let name = self.names.write(topic, &mut self.name);
                connection.queue(pending, name, &mut self.shared)?;
            }
        }
        connection.flush(&mut self.shared)
    }

    /// In an open loop, makes the requests that are due.
    fn queue_due_requests(&mut self, now: u64) -> Result<()> {
        let Sources::Open(open) = &mut self.sources else {
            return Ok(());
        };
        let Open {
            arrivals,
            source,
            by_topic,
        } = &mut **open;
        let schedule = self.shared.schedule;
        // If requests that were due before the end are still not made one timeout after the end, the
        // thread gives up. They count as never sent, and their waiting time so far counts as their
        // latency.
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
            let drawn = self
                .deferred
                .take()
                .or_else(|| source.next(due, schedule.start));
            let Some((op, topic)) = drawn else {
                self.draining = true;
                break;
            };
            let allowed = by_topic.as_ref().map_or(&[][..], |map| map.of(topic));
            let Some(connection) = connection_with_room(&self.connections, allowed, self.turn)
            else {
                // The request waits here. Its latency still counts from the time at which it was due.
                self.deferred = Some((op, topic));
                break;
            };
            arrivals.advance();
            let pending = Pending {
                op,
                topic,
                due,
                sent: now,
            };
            let name = self.names.write(topic, &mut self.name);
            self.connections[connection].queue(pending, name, &mut self.shared)?;
            self.unsent[connection] = true;
        }
        for (connection, unsent) in self.connections.iter_mut().zip(&mut self.unsent) {
            if std::mem::take(unsent) {
                connection.flush(&mut self.shared)?;
                self.turn = self.turn.wrapping_add(1);
            }
        }
        Ok(())
    }

    /// Makes requests on the connections that were opened again.
    fn reopen(&mut self) -> Result<()> {
        for number in 0..self.connections.len() {
            let connection = &mut self.connections[number];
            if !connection.is_open() && connection.reopen(&mut self.shared)? {
                self.refill(number)?;
            }
        }
        Ok(())
    }

    /// Times out requests over UDP; fails if the server sends nothing at all.
    fn check_timeouts(&mut self, now: u64) -> Result<()> {
        let mut limit = self.timeout;
        if self.is_udp {
            limit += SILENCE.as_nanos() as u64;
            for number in 0..self.connections.len() {
                let before = now.saturating_sub(self.timeout);
                self.connections[number].expire(before, &mut self.shared)?;
                self.refill(number)?;
            }
        }
        // A connection that was opened again may wait as long for the server to accept it.
        limit = limit.max(self.reconnect);
        let in_flight = self.in_flight();
        let last_reply = self.shared.tally.last_reply();
        if in_flight == 0 || last_reply > self.silent_since {
            self.silent_since = now;
        }
        if now - self.silent_since > limit {
            bail!(
                "the server has not answered for {:?}, with {in_flight} requests in flight",
                Duration::from_nanos(limit)
            );
        }
        Ok(())
    }

    fn is_closed(&self) -> bool {
        matches!(self.sources, Sources::Closed { .. })
    }

    fn in_flight(&self) -> usize {
        self.connections
            .iter()
            .map(|connection| connection.in_flight().len())
            .sum()
    }

    /// Returns whether all requests are made, and answered or lost. In a closed loop, nothing in
    /// flight means that every source is exhausted, because `refill` fills the pipeline otherwise,
    /// unless the connection is closed.
    fn is_done(&self) -> bool {
        let made_all = || match &self.sources {
            Sources::Closed { by_connection, .. } => {
                let mut sources = self.connections.iter().zip(by_connection);
                sources.all(|(connection, source)| connection.is_open() || source.left == 0)
            }
            Sources::Open(_) => false,
        };
        self.in_flight() == 0 && (self.draining || made_all())
    }

    /// Returns how long the thread may sleep.
    fn sleep(&self) -> Duration {
        let Sources::Open(open) = &self.sources else {
            return LONGEST_SLEEP;
        };
        if self.draining || self.deferred.is_some() {
            return SHORTEST_SLEEP;
        }
        let wait = open
            .arrivals
            .due()
            .saturating_sub(self.shared.schedule.now());
        match wait {
            ..SLEEP_FROM => Duration::ZERO,
            // The system may sleep a millisecond longer than requested.
            wait => Duration::from_nanos(wait - SLEEP_FROM / 2).min(LONGEST_SLEEP),
        }
    }
}

/// Returns the first connection with room, searching from `turn` on. If `allowed` is not empty, only
/// those connections are searched.
fn connection_with_room<C: Connection>(
    connections: &[C],
    allowed: &[usize],
    turn: usize,
) -> Option<usize> {
    let has_room = |&connection: &usize| {
        connections[connection].in_flight().len() < connections[connection].limit()
    };
    match allowed.len() {
        0 => (0..connections.len())
            .map(|i| (turn + i) % connections.len())
            .find(has_room),
        len => (0..len).map(|i| allowed[(turn + i) % len]).find(has_room),
    }
}
