//! How a run goes while it goes, on standard error: only where that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::units::{duration, grouped};
use crate::drive::Tick;
use crate::plan::{Plan, Until};

/// A bar that fills over the time or the requests of a run, with rate and p99.
pub(crate) struct Progress {
    bar: ProgressBar,
    by_time: bool,
    /// What all threads saw in the latest tick.
    now: Option<Tick>,
}

impl Progress {
    /// The bar of a run, headed by `name`.
    pub(crate) fn of(plan: &Plan, name: &str) -> Self {
        let (length, by_time) = match plan.until {
            Until::Elapsed(duration) => (duration.as_millis() as u64, true),
            Until::Requests(requests) => (requests, false),
        };
        let bar = ProgressBar::new(length);
        let template = "{prefix} {wide_bar:.cyan} {percent:>3}%  {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        Self {
            bar,
            by_time,
            now: None,
        }
    }

    /// Takes in what a thread saw.
    pub(crate) fn tick(&mut self, tick: &Tick) {
        if self.by_time {
            let at = Duration::from_nanos((tick.at + 1) * tick.length);
            self.bar.set_position(at.as_millis() as u64);
        } else {
            self.bar.inc(tick.replies);
        }
        match &mut self.now {
            // Of one shape, so that adding can't fail.
            Some(now) if now.at == tick.at => drop(now.add(tick)),
            now => *now = Some(tick.clone()),
        }
        if let Some(now) = &self.now {
            let rate = now.replies as f64 * 1e9 / tick.length as f64;
            let p99 = duration(now.latency.value_at_quantile(0.99) as f64 / 1e3);
            self.bar
                .set_message(format!("{}/s, p99 {p99}", grouped(rate as u64)));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A bar that fills with measurements of a row.
pub(crate) struct Rounds(ProgressBar);

impl Rounds {
    pub(crate) fn of(row: &str, measurements: u64) -> Self {
        let bar = ProgressBar::new(measurements);
        if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar:.cyan} {pos} of {len}")
        {
            bar.set_style(style);
        }
        bar.set_prefix(row.to_owned());
        Self(bar)
    }

    /// One more is done.
    pub(crate) fn inc(&self) {
        self.0.inc(1);
    }
}

impl Drop for Rounds {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
