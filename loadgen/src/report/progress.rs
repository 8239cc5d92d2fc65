//! Progress bars on standard error, shown only if that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::units::{duration, grouped};
use crate::drive::Tick;
use crate::plan::{Plan, Until};

/// The bar of a run: it fills with its time or its requests, and shows rate and p99.
pub(crate) struct Progress {
    bar: ProgressBar,
    by_time: bool,
    /// The latest tick, of all threads.
    latest: Option<Tick>,
}

impl Progress {
    /// Returns the bar of a run, with `name` in front.
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
            latest: None,
        }
    }

    /// Shows a tick of a thread.
    pub(crate) fn tick(&mut self, tick: &Tick) {
        if self.by_time {
            let at = Duration::from_nanos((tick.at + 1) * tick.length);
            self.bar.set_position(at.as_millis() as u64);
        } else {
            self.bar.inc(tick.replies);
        }
        match &mut self.latest {
            // Adding cannot fail: all histograms have the same bounds.
            Some(latest) if latest.at == tick.at => drop(latest.add(tick)),
            latest => *latest = Some(tick.clone()),
        }
        if let Some(latest) = &self.latest {
            let rate = latest.replies as f64 * 1e9 / tick.length as f64;
            let p99 = duration(latest.latency.value_at_quantile(0.99) as f64 / 1e3);
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

/// The bar of a row of a comparison: it fills with its measurements.
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

    /// Counts one more measurement.
    pub(crate) fn inc(&self) {
        self.0.inc(1);
    }
}

impl Drop for Rounds {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
