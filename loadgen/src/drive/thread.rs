//! The loop of one thread: makes requests when they are due and reads replies, until the end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, bail};
use mio::{Events, Poll};

use super::connection::{Connection, Shared};
use super::in_flight::Pending;
use super::pool::Pool;
use super::source::{Open, Sources};
use super::tally::Totals;
use super::watch::{Signals, Watch};
use crate::plan::Plan;
use crate::sockets::EVENTS;
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
    pool: Pool<'a, C>,
    sources: Sources,
    poll: Poll,
    timeout: u64,
    watch: Watch,
    /// No more requests are made; the thread waits for replies.
    draining: bool,
    /// A request of an open loop that no connection had room for.
    deferred: Option<Request>,
    next_check: u64,
}

impl<'a, C: Connection> Thread<'a, C> {
    pub(super) fn new(
        plan: &'a Plan,
        number: usize,
        connections: Vec<C>,
        sources: Sources,
        shared: Shared,
    ) -> Result<Self> {
        let poll = Poll::new()?;
        Ok(Self {
            plan,
            pool: Pool::new(plan, number, connections, shared, poll.registry())?,
            sources,
            poll,
            timeout: plan.timeout.as_nanos() as u64,
            watch: Watch::new(plan),
            draining: false,
            deferred: None,
            next_check: 0,
        })
    }

    /// Runs until all requests are made and answered or lost, or another thread has failed.
    pub(super) fn run(mut self, signals: &Signals) -> Result<Totals> {
        let mut events = Events::with_capacity(EVENTS);
        for connection in 0..self.pool.len() {
            self.refill(connection)?;
        }
        loop {
            let now = self.pool.schedule().now();
            if self.pool.shared.tally.is_full() {
                signals.full.store(true, Ordering::Relaxed);
            }
            // Only a closed loop stops at the end. An open loop still makes the requests that were due
            // before the end.
            self.draining |= self.is_closed() && now >= self.pool.schedule().end;
            self.draining |= signals.full.load(Ordering::Relaxed);
            self.pool.shared.tally.tick(now)?;
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
                self.pool
                    .using(number, |connection, shared| connection.ready(event, shared))?;
                self.refill(number)?;
            }
        }
        self.pool.finish().tally.finish()
    }

    /// Fills the pipeline of a connection in a closed loop, and flushes it in any loop.
    fn refill(&mut self, number: usize) -> Result<()> {
        if let Sources::Closed { pipeline, .. } = self.sources
            && !self.draining
        {
            let now = self.pool.schedule().now();
            if self.pool.is_routed() {
                return self.refill_owners(number, pipeline, now);
            }
            let mut room = match self.pool.shared.resends.len() {
                0 => usize::MAX,
                // Requests that wait to be sent again have a place in the pipelines.
                _ => self.room(pipeline),
            };
            while room > 0
                && self.pool.is_open(number)
                && self.pool.in_flight(number) < pipeline
                && let Some(request) = self.next_request(number, now)
            {
                self.pool.queue(number, pending(request, now))?;
                room -= 1;
            }
        }
        self.pool.flush(number)
    }

    /// Makes requests of a connection in a closed loop on the connections to the owners of their topics,
    /// as many as all pipelines have room for.
    fn refill_owners(&mut self, number: usize, pipeline: usize, now: u64) -> Result<()> {
        for _ in 0..self.room(pipeline) {
            let Some(request) = self.next_request(number, now) else {
                break;
            };
            let pending = pending(request, now);
            match self.pool.place(pending.topic, &[]) {
                Some(connection) => self.pool.queue(connection, pending)?,
                None => self.pool.shared.resends.add(number, pending, now),
            }
        }
        self.pool.flush(number)?;
        self.pool.flush_all()
    }

    /// Returns how many new requests the pipelines of a closed loop have room for.
    fn room(&self, pipeline: usize) -> usize {
        (self.pool.open_count() * pipeline).saturating_sub(self.pool.outstanding())
    }

    /// Returns the next request of a connection in a closed loop. If it has none left and there are
    /// several servers, that is one of a connection that is closed, or of any if requests are routed.
    #[inline]
    fn next_request(&mut self, number: usize, now: u64) -> Option<Request> {
        let Sources::Closed { by_connection, .. } = &mut self.sources else {
            return None;
        };
        let start = self.pool.schedule().start;
        let own = by_connection[number].next(now, start);
        if own.is_some() || !self.plan.has_several_servers() {
            return own;
        }
        (0..by_connection.len())
            .filter(|&other| self.pool.is_routed() || !self.pool.is_open(other))
            .find_map(|other| by_connection[other].next(now, start))
    }

    /// Sends requests again that were refused, until the end.
    fn send_again(&mut self, now: u64) -> Result<()> {
        if self.pool.shared.resends.len() == 0 {
            return Ok(());
        }
        let end = match self.is_closed() {
            true => self.pool.schedule().end,
            false => self.pool.schedule().end.saturating_add(self.timeout),
        };
        if now < end && !self.pool.shared.tally.is_full() {
            return self.pool.send_again(now);
        }
        let dropped = self.pool.shared.resends.clear();
        self.pool.shared.tally.not_sent_again(dropped);
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
        let schedule = self.pool.schedule();
        // If requests that were due before the end are still not made one timeout after the end, the
        // thread gives up. They count as never sent, and their waiting time so far counts as their
        // latency.
        if now > schedule.end.saturating_add(self.timeout) && !self.draining {
            while arrivals.due() < schedule.end {
                self.pool.shared.tally.never_sent(arrivals.due(), now);
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
            let Some(connection) = self.pool.place(topic, allowed) else {
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
            self.pool.queue(connection, pending)?;
        }
        self.pool.flush_all()
    }

    /// Makes requests on the connections that were opened again. With several servers also on the
    /// others: they may have had no requests left before a connection was closed.
    fn reopen(&mut self) -> Result<()> {
        for number in 0..self.pool.len() {
            let can_request = match self.pool.is_open(number) {
                true => self.plan.has_several_servers(),
                false => self.pool.using(number, C::reopen)?,
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
            for number in 0..self.pool.len() {
                let before = now.saturating_sub(self.timeout);
                self.pool.using(number, |connection, shared| {
                    connection.expire(before, shared)
                })?;
                self.refill(number)?;
            }
        }
        self.watch.check(
            now,
            self.pool.outstanding(),
            self.pool.open_count() > 0,
            self.pool.shared.tally.last_reply(),
            signals,
        )
    }

    fn is_closed(&self) -> bool {
        matches!(self.sources, Sources::Closed { .. })
    }

    /// Returns whether all requests are made, and answered or lost. In a closed loop, nothing in
    /// flight means that every source is exhausted, because `refill` fills the pipeline otherwise,
    /// unless the connection is closed.
    fn is_done(&self) -> bool {
        let made_all = || match &self.sources {
            Sources::Closed { by_connection, .. } => {
                let mut sources = by_connection.iter().enumerate();
                sources.all(|(number, source)| self.pool.is_open(number) || source.left == 0)
            }
            Sources::Open(_) => false,
        };
        self.pool.outstanding() == 0 && (self.draining || made_all())
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
            .saturating_sub(self.pool.schedule().now());
        match wait {
            ..SLEEP_FROM => Duration::ZERO,
            // The system may sleep a millisecond longer than requested.
            wait => Duration::from_nanos(wait - SLEEP_FROM / 2).min(LONGEST_SLEEP),
        }
    }
}

/// Returns a request of a closed loop, which is made when it is due.
fn pending((op, topic): Request, now: u64) -> Pending {
    Pending {
        op,
        topic,
        due: now,
        sent: now,
    }
}
