//! Counts the results of one thread: replies, latencies, refusals and losses. They are divided into
//! ticks, so that they can be plotted over time.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;

use anyhow::Result;
use globalcounter::protocol::Op;
use hdrhistogram::Histogram;

use super::in_flight::Pending;
use super::reconnects::Reconnects;
use super::schedule::Schedule;
use crate::target::Outcome;
use crate::verify::History;

/// The longest latency that is recorded exactly, in nanoseconds: a minute. Longer ones count as this.
const LONGEST_LATENCY: u64 = 60_000_000_000;

/// Messages from a thread to the collector.
#[derive(Debug)]
pub(super) enum Event {
    /// All its connections are open.
    Connected,
    Tick(Box<Tick>),
    Ended(Box<Totals>),
    Failed(anyhow::Error),
}

/// The results of a short interval.
#[derive(Debug, Clone)]
pub(crate) struct Tick {
    /// The number of the tick, from the beginning of the measurement.
    pub(crate) at: u64,
    /// The length of a tick, in nanoseconds.
    pub(crate) length: u64,
    /// Replies that arrived.
    pub(crate) replies: u64,
    /// Latencies of the requests that were due since measuring began, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
}

/// A tick without its histogram.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TickSummary {
    /// When the tick began, in nanoseconds since measuring began.
    pub(crate) from: u64,
    /// The length of the tick, in nanoseconds.
    pub(crate) length: u64,
    /// Replies that arrived.
    pub(crate) replies: u64,
    /// Latencies, in nanoseconds.
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
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
    pub(super) reconnects: Reconnects,
    pub(super) unanswered_topics: Vec<u32>,
    pub(super) full: bool,
    /// When the last reply arrived.
    pub(super) ended: u64,
    pub(super) history: History,
}

/// Returns an empty histogram of latencies.
///
/// # Errors
///
/// Never: the bounds are valid constants.
pub(super) fn new_histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LONGEST_LATENCY, 3)?)
}

impl Tick {
    fn new(at: u64, schedule: &Schedule) -> Result<Self> {
        Ok(Self {
            at,
            length: schedule.tick,
            replies: 0,
            latency: new_histogram()?,
        })
    }

    /// Returns the tick without its histogram, which takes 200 KiB: a run can have many ticks.
    pub(super) fn summary(&self) -> TickSummary {
        TickSummary {
            from: self.at * self.length,
            length: self.length,
            replies: self.replies,
            p50: self.latency.value_at_quantile(0.5),
            p99: self.latency.value_at_quantile(0.99),
            max: self.latency.max(),
        }
    }

    /// Adds the results of another thread in the same tick.
    pub(crate) fn add(&mut self, other: &Self) -> Result<()> {
        self.replies += other.replies;
        Ok(self.latency.add(&other.latency)?)
    }
}

impl TickSummary {
    /// Adds the tick of a thread that is far behind the others. Each percentile becomes the greater
    /// of the two.
    pub(super) fn add_late(&mut self, tick: &Tick) {
        let late = tick.summary();
        self.replies += late.replies;
        self.p50 = self.p50.max(late.p50);
        self.p99 = self.p99.max(late.p99);
        self.max = self.max.max(late.max);
    }
}

impl Totals {
    pub(super) fn add(&mut self, other: Self) {
        self.replies += other.replies;
        self.lost += other.lost;
        self.late += other.late;
        self.unmatched += other.unmatched;
        self.never_sent += other.never_sent;
        self.reconnects.add(other.reconnects);
        self.unanswered_topics.extend(other.unanswered_topics);
        self.first_refusal = self.first_refusal.take().or(other.first_refusal);
        self.full |= other.full;
        self.ended = self.ended.max(other.ended);
        self.history.merge(other.history);
        for (code, times) in other.refused {
            *self.refused.entry(code).or_default() += times;
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
    /// Whether to collect `unanswered_topics`.
    track_unanswered: bool,
    events: Sender<Event>,
}

impl Tally {
    pub(super) fn new(
        schedule: Schedule,
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
                history,
                ..Totals::default()
            },
            schedule,
            track_unanswered,
            events,
        })
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
        }
        let missing_matters = matches!(pending.op, Op::Count | Op::Add(_));
        match outcome {
            Outcome::Refused(message) => return self.record_refusal(message, counts),
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

    /// Records a reply to a request that had timed out.
    pub(super) fn late(&mut self, pending: &Pending, outcome: &Outcome, now: u64) {
        self.totals.late += u64::from(pending.due >= self.schedule.start);
        self.reply(pending, outcome, now);
    }

    /// Records a request that timed out.
    pub(super) fn lost(&mut self, pending: &Pending) {
        self.totals.lost += u64::from(pending.due >= self.schedule.start);
    }

    /// Records a request that will never be answered.
    pub(super) fn unanswered(&mut self, pending: &Pending) {
        let Pending {
            topic, op, sent, ..
        } = *pending;
        self.totals.history.unanswered(topic, op, sent);
        if self.track_unanswered {
            self.totals.unanswered_topics.push(pending.topic);
        }
    }

    /// Records a connection that ended, and its requests without a reply.
    pub(super) fn connection_lost<'a>(&mut self, unanswered: impl Iterator<Item = &'a Pending>) {
        self.totals.reconnects.lost += 1;
        for pending in unanswered {
            self.totals.reconnects.unanswered += 1;
            self.unanswered(pending);
        }
    }

    /// Records a connection that was opened in the place of one that ended.
    pub(super) fn reconnected(&mut self) {
        self.totals.reconnects.reopened += 1;
    }

    /// Records connections or datagrams that were refused because nobody receives them.
    pub(super) fn refused_connections(&mut self, times: u64) {
        self.totals.reconnects.refused += times;
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
        let (topic, sent) = (pending.topic, pending.sent);
        self.totals.history.reply(topic, pending.op, sum, sent, now);
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
        let code = message.split(' ').next().unwrap_or(message);
        match self.totals.refused.get_mut(code) {
            Some(times) => *times += 1,
            None => {
                self.totals.refused.insert(code.to_owned(), 1);
            }
        }
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
