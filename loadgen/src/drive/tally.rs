//! Counts the results of one thread: replies, latencies, refusals and losses. They are divided into
//! ticks, so that they can be plotted over time.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;

use anyhow::Result;
use globalcounter::protocol::Op;

use super::in_flight::Pending;
use super::schedule::Schedule;
use super::server_counts::ServerCounts;
use super::tick::Tick;
use crate::target::{Fate, Outcome};
use crate::verify::{History, Sent};

/// Messages from a thread to the collector.
#[derive(Debug)]
pub(super) enum Event {
    /// All its connections are open.
    Connected,
    Tick(Box<Tick>),
    Ended(Box<Totals>),
    Failed(anyhow::Error),
}

/// The results of a whole run. The fields mean the same as in [`Measured`](super::Measured), but
/// `lost` includes `late`.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) replies: u64,
    pub(super) refused: BTreeMap<String, u64>,
    pub(super) first_refusal: Option<String>,
    pub(super) lost: u64,
    pub(super) late: u64,
    pub(super) unmatched: u64,
    pub(super) never_sent: u64,
    pub(super) sent_again: BTreeMap<String, u64>,
    pub(super) not_sent_again: u64,
    pub(super) by_server: Vec<ServerCounts>,
    pub(super) unanswered_topics: Vec<u32>,
    pub(super) full: bool,
    /// When the last reply arrived.
    pub(super) ended: u64,
    pub(super) history: History,
}

impl Totals {
    pub(super) fn add(&mut self, other: Self) {
        self.replies += other.replies;
        self.lost += other.lost;
        self.late += other.late;
        self.unmatched += other.unmatched;
        self.never_sent += other.never_sent;
        self.not_sent_again += other.not_sent_again;
        self.by_server.resize_with(
            self.by_server.len().max(other.by_server.len()),
            Default::default,
        );
        for (server, other) in self.by_server.iter_mut().zip(&other.by_server) {
            server.add(other);
        }
        self.unanswered_topics.extend(other.unanswered_topics);
        self.first_refusal = self.first_refusal.take().or(other.first_refusal);
        self.full |= other.full;
        self.ended = self.ended.max(other.ended);
        self.history.merge(other.history);
        for (code, times) in other.refused {
            *self.refused.entry(code).or_default() += times;
        }
        for (code, times) in other.sent_again {
            *self.sent_again.entry(code).or_default() += times;
        }
    }
}

/// Counts a refusal by its code, the first word of its message.
fn count_code(codes: &mut BTreeMap<String, u64>, message: &str) {
    let code = message.split(' ').next().unwrap_or(message);
    match codes.get_mut(code) {
        Some(times) => *times += 1,
        None => {
            codes.insert(code.to_owned(), 1);
        }
    }
}

/// Counts the results of one thread.
pub(super) struct Tally {
    schedule: Schedule,
    tick: Tick,
    /// The latest latency, and how many replies in a row had it. Requests that are sent in one
    /// batch and answered in one batch have the same latency, and are recorded in one step.
    latency: u64,
    times: u64,
    tick_end: u64,
    totals: Totals,
    /// The number of the server that is being used.
    server: u16,
    /// Whether to collect `unanswered_topics`.
    track_unanswered: bool,
    events: Sender<Event>,
}

impl Tally {
    pub(super) fn new(
        schedule: Schedule,
        servers: usize,
        history: History,
        track_unanswered: bool,
        events: Sender<Event>,
    ) -> Result<Self> {
        Ok(Self {
            tick: Tick::new(0, &schedule)?,
            latency: 0,
            times: 0,
            tick_end: schedule.start + schedule.tick,
            totals: Totals {
                by_server: vec![ServerCounts::default(); servers],
                history,
                ..Totals::default()
            },
            server: 0,
            schedule,
            track_unanswered,
            events,
        })
    }

    /// Says which server the following events are of.
    #[inline]
    pub(super) fn select(&mut self, server: u16) {
        self.server = server;
    }

    fn counts(&mut self) -> &mut ServerCounts {
        &mut self.totals.by_server[usize::from(self.server)]
    }

    /// Records a reply that arrived at `now`.
    #[inline]
    pub(super) fn reply(&mut self, pending: &Pending, outcome: &Outcome, now: u64) {
        self.totals.ended = now;
        // A run of a fixed number of requests has no end by the clock: there, all replies count but
        // those to requests of the warm-up.
        let counts = match self.schedule.end {
            u64::MAX => pending.due >= self.schedule.start,
            end => (self.schedule.start..end).contains(&now),
        };
        if counts {
            self.totals.replies += 1;
            self.tick.replies += 1;
            self.counts().replies += 1;
        }
        let missing_matters = matches!(pending.op, Op::Count | Op::Add(_));
        match outcome {
            Outcome::Refused(message) => {
                self.record_fate(pending, Fate::of(message), now);
                return self.record_refusal(message, counts);
            }
            Outcome::Missing if missing_matters => return self.record_refusal("NOT_FOUND", counts),
            _ => {}
        }
        if pending.due >= self.schedule.start {
            self.record_latency(now.saturating_sub(pending.due));
        }
        if self.totals.history.is_recording() {
            self.record_history(pending, outcome, now);
        }
    }

    /// Records a request of an open loop that was due and, by `now`, could not be made.
    pub(super) fn never_sent(&mut self, due: u64, now: u64) {
        self.totals.never_sent += 1;
        if due >= self.schedule.start {
            self.record_latency(now.saturating_sub(due));
        }
    }

    #[inline]
    fn record_latency(&mut self, latency: u64) {
        if latency != self.latency {
            self.flush_latency();
            self.latency = latency;
        }
        self.times += 1;
    }

    /// Adds the latest latency to the histogram, as often as it occurred.
    fn flush_latency(&mut self) {
        let times = std::mem::take(&mut self.times);
        if times > 0 {
            let latency = &mut self.tick.latency;
            latency.saturating_record_n(self.latency, times);
        }
    }

    /// Records that the reply to a request which had timed out has arrived.
    pub(super) fn late(&mut self, pending: &Pending) {
        self.totals.late += u64::from(pending.due >= self.schedule.start);
    }

    /// Records a request that timed out.
    pub(super) fn lost(&mut self, pending: &Pending) {
        self.totals.lost += u64::from(pending.due >= self.schedule.start);
        self.failure(pending.sent);
    }

    /// Records a request that will never be answered.
    pub(super) fn unanswered(&mut self, pending: &Pending) {
        self.counts().lost += 1;
        self.may_be_applied(pending);
    }

    /// Records a request that may have been applied, without a number for anybody.
    fn may_be_applied(&mut self, pending: &Pending) {
        let request = self.sent(pending);
        self.totals.history.unanswered(request);
        if self.track_unanswered {
            self.totals.unanswered_topics.push(pending.topic);
        }
    }

    fn sent(&self, pending: &Pending) -> Sent {
        Sent {
            topic: pending.topic,
            op: pending.op,
            at: pending.sent,
            server: self.server,
        }
    }

    /// Records that the server failed at some time from `from` until now.
    pub(super) fn failure(&mut self, from: u64) {
        self.totals.history.failure(from, self.schedule.now());
    }

    /// Records a connection that ended, and its requests without a reply.
    pub(super) fn connection_lost<'a>(&mut self, unanswered: impl Iterator<Item = &'a Pending>) {
        self.counts().reconnects.lost += 1;
        let mut from = self.schedule.now();
        for pending in unanswered {
            self.counts().reconnects.unanswered += 1;
            self.unanswered(pending);
            from = from.min(pending.sent);
        }
        self.failure(from);
    }

    /// Records a connection that was opened in the place of one that ended.
    pub(super) fn reconnected(&mut self) {
        self.counts().reconnects.reopened += 1;
    }

    /// Records connections or datagrams that were refused because nobody receives them.
    pub(super) fn refused_connections(&mut self, times: u64) {
        self.counts().reconnects.refused += times;
        self.failure(self.schedule.now());
    }

    /// Records a request that was refused at `now`, was not applied, and will be sent again.
    #[cold]
    pub(super) fn refused_for_now(&mut self, pending: &Pending, message: &str, now: u64) {
        self.record_fate(pending, Fate::of(message), now);
        count_code(&mut self.totals.sent_again, message);
    }

    /// Records requests that could not be sent again before the end.
    pub(super) fn not_sent_again(&mut self, requests: u64) {
        self.totals.not_sent_again += requests;
    }

    /// Records what a refusal at `now` says about its request and its server.
    fn record_fate(&mut self, pending: &Pending, fate: Fate, now: u64) {
        self.counts().refusal(fate);
        match fate {
            Fate::Unavailable => self.totals.history.failure(pending.sent, now),
            Fate::Unknown => {
                self.may_be_applied(pending);
                self.totals.history.failure(pending.sent, now);
            }
            Fate::Busy | Fate::Refused => {}
        }
    }

    /// Records a reply that matches no request.
    pub(super) fn unmatched(&mut self) {
        self.totals.unmatched += 1;
    }

    fn record_history(&mut self, pending: &Pending, outcome: &Outcome, now: u64) {
        let sum = match outcome {
            Outcome::Sum(sum) => *sum,
            Outcome::Missing => 0,
            Outcome::Done | Outcome::Refused(_) => return,
        };
        let request = self.sent(pending);
        self.totals.history.reply(request, sum, now);
    }

    /// Records a refusal; the first word of the message is its code. `counts` says whether it came
    /// during the measurement.
    #[cold]
    fn record_refusal(&mut self, message: &str, counts: bool) {
        if self.totals.first_refusal.is_none() {
            self.totals.first_refusal = Some(message.to_owned());
        }
        if !counts {
            return;
        }
        count_code(&mut self.totals.refused, message);
    }

    /// Returns the server's first refusal, in its own words.
    pub(super) fn first_refusal(&self) -> Option<&str> {
        self.totals.first_refusal.as_deref()
    }

    /// Returns whether no more replies can be kept.
    pub(super) fn is_full(&self) -> bool {
        self.totals.history.is_full()
    }

    /// Returns when the last reply arrived.
    pub(super) fn last_reply(&self) -> u64 {
        self.totals.ended
    }

    /// Hands over the current tick if it is over.
    #[inline]
    pub(super) fn tick(&mut self, now: u64) -> Result<()> {
        if now < self.tick_end || now >= self.schedule.end {
            return Ok(());
        }
        let at = (now - self.schedule.start) / self.schedule.tick;
        self.tick_end = self.schedule.start + (at + 1) * self.schedule.tick;
        self.hand_over(at)
    }

    fn hand_over(&mut self, next: u64) -> Result<()> {
        self.flush_latency();
        let next = Tick::new(next, &self.schedule)?;
        let past = std::mem::replace(&mut self.tick, next);
        // The receiver is gone if another thread has failed.
        let _ = self.events.send(Event::Tick(Box::new(past)));
        Ok(())
    }

    /// Hands over the last tick and returns the totals.
    pub(super) fn finish(mut self) -> Result<Totals> {
        self.hand_over(u64::MAX)?;
        self.totals.full = self.is_full();
        Ok(self.totals)
    }
}
