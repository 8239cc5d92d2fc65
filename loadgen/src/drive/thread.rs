//! The loop of one thread: makes requests when they are due and reads replies, until the end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, bail};
use globalcounter::server::sys::Received;
use mio::{Events, Poll, Token};

use super::connection::{Connection, Shared, connection_with_room};
use super::in_flight::Pending;
use super::resends::Resends;
use super::schedule::Schedule;
use super::source::{Open, Sources};
use super::tally::{Tally, Totals};
use super::watch::{Signals, Watch};
use crate::plan::Plan;
use crate::sockets::{EVENTS, READ_LEN};
use crate::workload::Request;

/// In an open loop, the thread polls without sleeping if a request is due within this time
/// (nanoseconds), because the system sleeps in whole milliseconds.
const SLEEP_FROM: u64 = 2_000_000;

/// The longest sleep, so that ticks and timeouts are handled.
const LONGEST_SLEEP: Duration = Duration::from_millis(10);

/// How long to sleep while the thread drains or a request waits for room: the shortest sleep of
/// epoll.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);

/// In an open loop, the most due requests that are made before replies are read.
const BURST: usize = 256;

/// The loop of one thread, with its connections and its sources of requests.
pub(super) struct Thread<'a, C> {
    plan: &'a Plan,
    connections: Vec<C>,
    /// The number of the server of each connection.
    servers: Vec<u16>,
    sources: Sources,
    poll: Poll,
    shared: Shared,
    /// Buffer for a topic's name.
    name: Box<[u8]>,
    timeout: u64,
    watch: Watch,
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
    next_check: u64,
}

impl<'a, C: Connection> Thread<'a, C> {
    pub(super) fn new(
        plan: &'a Plan,
        number: usize,
        mut connections: Vec<C>,
        sources: Sources,
        tally: Tally,
        schedule: Schedule,
    ) -> Result<Self> {
        let poll = Poll::new()?;
        for (number, connection) in connections.iter_mut().enumerate() {
            connection.register(poll.registry(), Token(number))?;
        }
        let numbers = (number..plan.connections).step_by(plan.threads);
        Ok(Self {
            plan,
            poll,
            shared: Shared {
                target: plan.target,
                schedule,
                tally,
                resends: Resends::new(plan.reconnect.is_some()),
                connection: 0,
                buffer: vec![0; READ_LEN].into(),
                received: Some(Box::new(Received::new())),
            },
            name: plan.workload.names.buffer(),
            timeout: plan.timeout.as_nanos() as u64,
            servers: numbers.map(|number| plan.server_of(number)).collect(),
            watch: Watch::new(plan),
            draining: false,
            turn: 0,
            unsent: vec![false; connections.len()],
            deferred: None,
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
            self.send_again(now)?;
            self.queue_due_requests(now)?;
            if now >= self.next_check || self.draining {
                self.next_check = now + LONGEST_SLEEP.as_nanos() as u64;
                self.check_timeouts(now, signals)?;
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
                let number = event.token().0;
                self.using(number, |connection, shared| connection.ready(event, shared))?;
                self.refill(number)?;
            }
        }
        for (connection, &server) in self.connections.iter().zip(&self.servers) {
            self.shared.tally.select(server);
            for pending in connection.in_flight().unanswered() {
                self.shared.tally.unanswered(pending);
            }
        }
        self.shared.tally.finish()
    }

    /// Says which connection the following events are of.
    fn select(&mut self, number: usize) {
        self.shared.connection = number;
        self.shared.tally.select(self.servers[number]);
    }

    /// Calls `operation` with a connection. With several servers, an error says which one it is of.
    #[inline]
    fn using(
        &mut self,
        number: usize,
        operation: impl FnOnce(&mut C, &mut Shared) -> Result<()>,
    ) -> Result<()> {
        self.select(number);
        let done = operation(&mut self.connections[number], &mut self.shared);
        match done {
            Err(error) if self.plan.has_several_servers() => {
                let server = self.plan.servers[usize::from(self.servers[number])];
                Err(error.context(server.to_string()))
            }
            done => done,
        }
    }

    /// Fills the pipeline of a connection in a closed loop, and flushes it in any loop.
    fn refill(&mut self, number: usize) -> Result<()> {
        self.select(number);
        if let Sources::Closed { pipeline, .. } = self.sources
            && !self.draining
        {
            let now = self.shared.schedule.now();
            let mut room = self.room(pipeline);
            while room > 0
                && self.connections[number].is_open()
                && self.connections[number].in_flight().len() < pipeline
                && let Some((op, topic)) = self.next_request(number, now)
            {
                let pending = Pending {
                    op,
                    topic,
                    due: now,
                    sent: now,
                };
                let name = self.plan.workload.names.write(topic, &mut self.name);
                self.connections[number].queue(pending, name, &mut self.shared)?;
                room -= 1;
            }
        }
        self.using(number, C::flush)
    }

    /// Returns how many new requests can be made in a closed loop: those that wait to be sent again have
    /// a place in the pipelines.
    fn room(&self, pipeline: usize) -> usize {
        let waiting = self.shared.resends.len();
        if waiting == 0 {
            return usize::MAX;
        }
        let open = self.connections.iter().filter(|c| c.is_open()).count();
        (open * pipeline).saturating_sub(self.outstanding())
    }

    /// Returns the next request of a connection in a closed loop. If it has none left and there are
    /// several servers, that is one of a connection that is closed.
    #[inline]
    fn next_request(&mut self, number: usize, now: u64) -> Option<Request> {
        let Sources::Closed { by_connection, .. } = &mut self.sources else {
            return None;
        };
        let start = self.shared.schedule.start;
        let own = by_connection[number].next(now, start);
        if own.is_some() || !self.plan.has_several_servers() {
            return own;
        }
        let mut others = self.connections.iter().zip(by_connection);
        others.find_map(|(other, source)| match other.is_open() {
            true => None,
            false => source.next(now, start),
        })
    }

    /// Sends requests again that were refused, as far as there is room.
    fn send_again(&mut self, now: u64) -> Result<()> {
        if self.shared.resends.len() == 0 {
            return Ok(());
        }
        let end = match self.is_closed() {
            true => self.shared.schedule.end,
            false => self.shared.schedule.end.saturating_add(self.timeout),
        };
        if now >= end || self.shared.tally.is_full() {
            let dropped = self.shared.resends.clear();
            self.shared.tally.not_sent_again(dropped);
            return Ok(());
        }
        while let Some(own) = self.shared.resends.next_connection(now) {
            let room = connection_with_room(&self.connections, &[own], 0)
                .or_else(|| connection_with_room(&self.connections, &[], self.turn));
            let Some(number) = room else {
                break;
            };
            let Some(refused) = self.shared.resends.take() else {
                break;
            };
            let pending = Pending {
                sent: now,
                ..refused
            };
            self.select(number);
            let name = self
                .plan
                .workload
                .names
                .write(pending.topic, &mut self.name);
            self.connections[number].queue(pending, name, &mut self.shared)?;
            self.using(number, C::flush)?;
        }
        Ok(())
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
            let name = self.plan.workload.names.write(topic, &mut self.name);
            self.shared.connection = connection;
            self.shared.tally.select(self.servers[connection]);
            self.connections[connection].queue(pending, name, &mut self.shared)?;
            self.unsent[connection] = true;
        }
        for number in 0..self.connections.len() {
            if std::mem::take(&mut self.unsent[number]) {
                self.using(number, C::flush)?;
                self.turn = self.turn.wrapping_add(1);
            }
        }
        Ok(())
    }

    /// Makes requests on the connections that were opened again. With several servers also on the
    /// others: they may have had no requests left before a connection was closed.
    fn reopen(&mut self) -> Result<()> {
        for number in 0..self.connections.len() {
            self.select(number);
            let connection = &mut self.connections[number];
            let can_request = match connection.is_open() {
                true => self.plan.has_several_servers(),
                false => connection.reopen(&mut self.shared)?,
            };
            if can_request {
                self.refill(number)?;
            }
        }
        Ok(())
    }

    /// Times out requests over UDP, and connections to one of several servers; fails if no server sends
    /// anything at all.
    fn check_timeouts(&mut self, now: u64, signals: &Signals) -> Result<()> {
        if self.plan.target.transport().is_udp() || self.plan.has_several_servers() {
            for number in 0..self.connections.len() {
                let before = now.saturating_sub(self.timeout);
                self.using(number, |connection, shared| {
                    connection.expire(before, shared)
                })?;
                self.refill(number)?;
            }
        }
        self.watch.check(
            now,
            self.outstanding(),
            self.connections.iter().any(Connection::is_open),
            self.shared.tally.last_reply(),
            signals,
        )
    }

    fn is_closed(&self) -> bool {
        matches!(self.sources, Sources::Closed { .. })
    }

    /// Returns how many requests are in flight or wait to be sent again.
    fn outstanding(&self) -> usize {
        let connections = self.connections.iter();
        let in_flight: usize = connections.map(|c| c.in_flight().len()).sum();
        in_flight + self.shared.resends.len()
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
        self.outstanding() == 0 && (self.draining || made_all())
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
