//! What a thread sees: replies, latencies, refusals, losses; by ticks, so that a plot can be made.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;

use anyhow::Result;
use globalcounter::protocol::Op;
use hdrhistogram::Histogram;

use super::flight::Asked;
use super::schedule::Schedule;
use crate::target::Outcome;
use crate::verify::History;

/// The longest latency that is told apart from longer ones, in nanoseconds: a minute.
const LONGEST: u64 = 60_000_000_000;

/// What a thread tells the one that started it.
#[derive(Debug)]
pub(super) enum Event {
    /// All its connections are open.
    Connected,
    Tick(Box<Tick>),
    Ended(Totals),
    Failed(anyhow::Error),
}

/// What was seen in a short while.
#[derive(Debug, Clone)]
pub(crate) struct Tick {
    /// Its number since measuring began.
    pub(crate) at: u64,
    /// How long a tick is, in nanoseconds.
    pub(crate) length: u64,
    /// Replies that came.
    pub(crate) replies: u64,
    /// Latencies of those that were due since measuring began, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
}

/// What is kept of a tick.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// When it began, in nanoseconds since measuring began.
    pub(crate) from: u64,
    /// How long it was, in nanoseconds.
    pub(crate) length: u64,
    /// Replies that came.
    pub(crate) replies: u64,
    /// Latencies, in nanoseconds.
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

/// What was seen over a whole run.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// Replies while it was measured.
    pub(super) replies: u64,
    pub(super) refused: BTreeMap<String, u64>,
    /// The first refusal in the server's own words.
    pub(super) first_refusal: Option<String>,
    pub(super) lost: u64,
    pub(super) late: u64,
    pub(super) unasked: u64,
    /// Requests of an open loop that were due and could not be made.
    pub(super) never_sent: u64,
    /// The topics that no reply came for, where each is asked for once.
    pub(super) silent: Vec<u32>,
    /// Whether the run ended because no more replies could be kept.
    pub(super) full: bool,
    /// When the last reply came.
    pub(super) ended: u64,
    pub(super) history: History,
}

/// An empty histogram of latencies.
///
/// # Errors
///
/// None that can happen: the bounds are fixed.
pub(super) fn new_histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LONGEST, 3)?)
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

    /// What is kept of it: a histogram takes 200 KiB, and a run can have many ticks.
    pub(super) fn moment(&self) -> Moment {
        Moment {
            from: self.at * self.length,
            length: self.length,
            replies: self.replies,
            p50: self.latency.value_at_quantile(0.5),
            p99: self.latency.value_at_quantile(0.99),
            max: self.latency.max(),
        }
    }

    /// Adds what another thread saw at the same time.
    pub(crate) fn add(&mut self, other: &Self) -> Result<()> {
        self.replies += other.replies;
        Ok(self.latency.add(&other.latency)?)
    }
}

impl Moment {
    /// Adds what a thread tells that was far behind the others; of the percentiles the greater ones
    /// are kept.
    pub(super) fn add_late(&mut self, tick: &Tick) {
        let late = tick.moment();
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
        self.unasked += other.unasked;
        self.never_sent += other.never_sent;
        self.silent.extend(other.silent);
        self.first_refusal = self.first_refusal.take().or(other.first_refusal);
        self.full |= other.full;
        self.ended = self.ended.max(other.ended);
        self.history.add(other.history);
        for (code, times) in other.refused {
            *self.refused.entry(code).or_default() += times;
        }
    }
}

/// Counts what one thread sees.
pub(super) struct Tally {
    schedule: Schedule,
    tick: Tick,
    /// The latest latency, and how many replies in a row had it: what was asked in one go and
    /// answered in one go has the same, and is recorded in one go.
    latency: u64,
    times: u64,
    tick_end: u64,
    totals: Totals,
    /// Whether topics are noted that no reply came for.
    notes_silent: bool,
    events: Sender<Event>,
}

impl Tally {
    pub(super) fn new(
        schedule: Schedule,
        history: History,
        notes_silent: bool,
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
            notes_silent,
            events,
        })
    }

    /// Books a reply that came at `now`.
    #[inline]
    pub(super) fn reply(&mut self, asked: &Asked, outcome: &Outcome, now: u64) {
        self.totals.ended = now;
        // A run of so many requests has no end by the clock: those of its warm-up don't count.
        let counts = match self.schedule.end {
            u64::MAX => asked.due >= self.schedule.start,
            end => (self.schedule.start..end).contains(&now),
        };
        if counts {
            self.totals.replies += 1;
            self.tick.replies += 1;
        }
        let missing_matters = matches!(asked.op, Op::Count | Op::Add(_));
        match outcome {
            Outcome::Refused(said) => return self.refuse(said, counts),
            Outcome::Missing if missing_matters => return self.refuse("NOT_FOUND", counts),
            _ => {}
        }
        if asked.due >= self.schedule.start {
            self.took(now.saturating_sub(asked.due));
        }
        if self.totals.history.keeps() {
            self.keep(asked, outcome, now);
        }
    }

    /// Books a request that was due, and by `now` could not be made.
    pub(super) fn never_sent(&mut self, due: u64, now: u64) {
        self.totals.never_sent += 1;
        if due >= self.schedule.start {
            self.took(now.saturating_sub(due));
        }
    }

    #[inline]
    fn took(&mut self, latency: u64) {
        if latency != self.latency {
            self.record();
            self.latency = latency;
        }
        self.times += 1;
    }

    /// Records the replies in a row that had the same latency.
    fn record(&mut self) {
        let times = std::mem::take(&mut self.times);
        if times > 0 {
            let latency = &mut self.tick.latency;
            latency.saturating_record_n(self.latency, times);
        }
    }

    /// Books a reply to a request that was given up.
    pub(super) fn late(&mut self, asked: &Asked, outcome: &Outcome, now: u64) {
        self.totals.late += u64::from(asked.due >= self.schedule.start);
        self.reply(asked, outcome, now);
    }

    /// Books a request that was given up.
    pub(super) fn lost(&mut self, asked: &Asked) {
        self.totals.lost += u64::from(asked.due >= self.schedule.start);
    }

    /// Books a request whose reply never came.
    pub(super) fn unanswered(&mut self, asked: &Asked) {
        self.totals.history.unanswered(asked.topic, asked.op);
        if self.notes_silent {
            self.totals.silent.push(asked.topic);
        }
    }

    /// Books a reply to nothing.
    pub(super) fn unasked(&mut self) {
        self.totals.unasked += 1;
    }

    fn keep(&mut self, asked: &Asked, outcome: &Outcome, now: u64) {
        let sum = match outcome {
            Outcome::Sum(sum) => *sum,
            Outcome::Missing => 0,
            Outcome::Done | Outcome::Refused(_) => return,
        };
        let (topic, sent) = (asked.topic, asked.sent);
        self.totals.history.reply(topic, asked.op, sum, sent, now);
    }

    /// Books a refusal, whose first word is its code; whether it `counts` is as with any reply.
    #[cold]
    fn refuse(&mut self, said: &str, counts: bool) {
        if self.totals.first_refusal.is_none() {
            self.totals.first_refusal = Some(said.to_owned());
        }
        if !counts {
            return;
        }
        let code = said.split(' ').next().unwrap_or(said);
        match self.totals.refused.get_mut(code) {
            Some(times) => *times += 1,
            None => {
                self.totals.refused.insert(code.to_owned(), 1);
            }
        }
    }

    /// What the server refused first, in its own words.
    pub(super) fn first_refusal(&self) -> Option<&str> {
        self.totals.first_refusal.as_deref()
    }

    /// Whether no more replies can be kept.
    pub(super) fn is_full(&self) -> bool {
        self.totals.history.is_full()
    }

    /// When the last reply came.
    pub(super) fn last_reply(&self) -> u64 {
        self.totals.ended
    }

    /// Hands over the tick that is past.
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
        self.record();
        let next = Tick::new(next, &self.schedule)?;
        let past = std::mem::replace(&mut self.tick, next);
        // Nobody hears it where another thread has failed.
        let _ = self.events.send(Event::Tick(Box::new(past)));
        Ok(())
    }

    /// Hands over the last tick, and all else that was seen.
    pub(super) fn finish(mut self) -> Result<Totals> {
        self.hand_over(u64::MAX)?;
        self.totals.full = self.is_full();
        Ok(self.totals)
    }
}
