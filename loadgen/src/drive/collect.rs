//! Merges the results of all threads of a run, and reads what the server's process uses meanwhile.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;

use super::measured::Measured;
use super::schedule::{LONGEST_TICK, Schedule};
use super::tally::{Event, Totals};
use super::tick::{Tick, TickSummary, new_histogram};
use crate::observe::{Process, Usage};
use crate::plan::Plan;

/// How many of the latest ticks stay open for the results of other threads. Threads are rarely
/// further apart than that.
const OPEN_TICKS: usize = 16;

/// A callback to watch a run: called with each tick of each thread.
pub(super) type Watch<'a> = &'a mut dyn FnMut(&Tick);

/// Starts the connected threads together and merges their results.
pub(super) fn collect(
    plan: &Plan,
    process: Option<&Process>,
    starts: &[Sender<Schedule>],
    events: &Receiver<Event>,
    watch: Watch<'_>,
) -> Result<Measured> {
    for _ in starts {
        match events.recv() {
            Ok(Event::Connected) => {}
            Ok(Event::Failed(error)) => return Err(error),
            Ok(Event::Tick(_) | Event::Ended(_)) | Err(_) => {
                bail!("a thread ended before it began")
            }
        }
    }
    let schedule = Schedule::of(plan);
    for start in starts {
        start
            .send(schedule)
            .context("a thread ended before it began")?;
    }
    let mut meter = process.map(|process| Meter::new(process, schedule));
    let mut merged = Merged::new()?;
    let mut running = starts.len();
    while running > 0 {
        let wait = meter.as_ref().map_or(LONGEST_TICK, Meter::until_next);
        match events.recv_timeout(wait) {
            Ok(Event::Tick(tick)) => {
                watch(&tick);
                merged.add_tick(*tick)?;
            }
            Ok(Event::Ended(totals)) => {
                running -= 1;
                merged.add_totals(*totals);
            }
            Ok(Event::Failed(error)) => return Err(error),
            Ok(Event::Connected) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("a thread ended without a result"),
        }
        if let Some(meter) = &mut meter {
            meter.read_if_due();
        }
    }
    let usage = meter.and_then(Meter::finish);
    Ok(merged.finish(&plan.servers, schedule, usage))
}

/// Reads the usage of the server's process when measuring begins and when it ends.
struct Meter<'a> {
    process: &'a Process,
    schedule: Schedule,
    before: Option<Usage>,
    after: Option<Usage>,
}

impl<'a> Meter<'a> {
    fn new(process: &'a Process, schedule: Schedule) -> Self {
        Self {
            process,
            schedule,
            before: None,
            after: None,
        }
    }

    /// Returns when the next reading is due.
    fn due(&self) -> u64 {
        match (&self.before, &self.after) {
            (None, _) => self.schedule.start,
            (_, None) => self.schedule.end,
            _ => u64::MAX,
        }
    }

    fn until_next(&self) -> Duration {
        let wait = Duration::from_nanos(self.due().saturating_sub(self.schedule.now()));
        wait.min(LONGEST_TICK)
    }

    fn read_if_due(&mut self) {
        if self.schedule.now() < self.due() {
            return;
        }
        let usage = self.process.usage();
        if self.before.is_none() {
            self.before = usage;
        } else {
            self.after = usage;
        }
    }

    fn finish(mut self) -> Option<Usage> {
        let before = self.before.take()?;
        let after = self.after.take().or_else(|| self.process.usage())?;
        Some(after.since(&before))
    }
}

/// The results of all threads.
struct Merged {
    /// The latest ticks, to which other threads may still add.
    open: BTreeMap<u64, Tick>,
    /// The ticks before those.
    closed: Vec<TickSummary>,
    latency: Histogram<u64>,
    totals: Totals,
}

impl Merged {
    fn new() -> Result<Self> {
        Ok(Self {
            open: BTreeMap::new(),
            closed: Vec::new(),
            latency: new_histogram()?,
            totals: Totals::default(),
        })
    }

    fn add_tick(&mut self, tick: Tick) -> Result<()> {
        self.latency.add(&tick.latency)?;
        if let Some(same) = self.open.get_mut(&tick.at) {
            return same.add(&tick);
        }
        let from = tick.at.saturating_mul(tick.length);
        if let Some(past) = self.closed.iter_mut().rfind(|past| past.from == from) {
            past.add_late(&tick);
            return Ok(());
        }
        self.open.insert(tick.at, tick);
        if self.open.len() > OPEN_TICKS
            && let Some((_, oldest)) = self.open.pop_first()
        {
            self.closed.push(oldest.summary());
        }
        Ok(())
    }

    fn add_totals(&mut self, totals: Totals) {
        self.totals.add(totals);
    }

    fn finish(self, servers: &[SocketAddr], schedule: Schedule, usage: Option<Usage>) -> Measured {
        // The clock decides, also if the server stopped answering before the end.
        let end = match schedule.end {
            u64::MAX => self.totals.ended,
            end if self.totals.full => end.min(self.totals.ended),
            end => end,
        };
        let mut ticks = self.closed;
        ticks.extend(self.open.values().map(Tick::summary));
        Measured {
            elapsed: Duration::from_nanos(end.saturating_sub(schedule.start).max(1)),
            replies: self.totals.replies,
            latency: self.latency,
            refused: self.totals.refused,
            first_refusal: self.totals.first_refusal,
            lost: self.totals.lost - self.totals.late.min(self.totals.lost),
            late: self.totals.late,
            unmatched: self.totals.unmatched,
            sent_again: self.totals.sent_again,
            not_sent_again: self.totals.not_sent_again,
            by_server: servers.iter().copied().zip(self.totals.by_server).collect(),
            never_sent: self.totals.never_sent,
            unanswered_topics: self.totals.unanswered_topics,
            full: self.totals.full,
            ticks,
            usage,
            history: self.totals.history,
        }
    }
}
