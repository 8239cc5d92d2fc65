//! The results of a tuning.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::decision::Recommendation;
use super::setting::Setting;
use crate::drive::Measured;
use crate::measure;
use crate::observe::Environment;
use crate::report::{Latency, Load};
use crate::stats::median;

/// All results of a tuning.
#[derive(Debug, Serialize)]
pub(super) struct Tuning {
    pub(super) environment: Environment,
    /// The load in the closed loop.
    pub(super) load: Load,
    /// Where the servers kept their topics: the flags of `globalcounter serve`.
    pub(super) storage: String,
    pub(super) rounds: u32,
    /// How long each measurement took.
    pub(super) seconds: f64,
    /// The rate of the open loop, in requests per second.
    pub(super) rate: f64,
    /// Whether `--rate` gave it.
    pub(super) rate_given: bool,
    pub(super) server_processors: Vec<usize>,
    pub(super) load_processors: Vec<usize>,
    /// The processors that load and servers could both use.
    pub(super) shared_processors: Vec<usize>,
    /// How many cores other processes used meanwhile, if the system tells.
    pub(super) other_cores: Option<f64>,
    /// The settings, from the simplest on.
    pub(super) settings: Vec<SettingResult>,
    /// One for each goal.
    pub(super) recommendations: Vec<Recommended>,
}

/// The results of one setting.
#[derive(Debug, Serialize)]
pub(super) struct SettingResult {
    #[serde(flatten)]
    pub(super) setting: Setting,
    /// The command line to deploy.
    pub(super) command: String,
    /// Why it could not be measured.
    pub(super) failed: Option<String>,
    /// Whether it answered the requests of the open loop while they were due, in a third of the rounds.
    pub(super) sustained: bool,
    /// The medians of the rounds.
    pub(super) medians: Option<Medians>,
    /// The measurements, by round.
    pub(super) closed: Vec<Sample>,
    pub(super) open: Vec<Sample>,
}

/// The medians of the rounds of one setting.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Medians {
    /// Requests per second in the closed loop.
    pub(super) throughput: f64,
    /// How many cores the server used meanwhile.
    pub(super) cores: f64,
    /// Latencies in the open loop, in microseconds.
    pub(super) p50: f64,
    pub(super) p99: f64,
    /// CPU time per request in the open loop.
    pub(super) nanos_per_request: f64,
}

/// One measurement.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Sample {
    /// Requests per second.
    pub(super) rate: f64,
    /// CPU time of the server per request.
    pub(super) nanos_per_request: f64,
    /// CPU time of the server per second.
    pub(super) cores: f64,
    /// Latencies in microseconds.
    pub(super) p50: f64,
    /// Of all requests: a lost one counts as late as the timeout.
    pub(super) p99: f64,
    /// Requests over UDP without a reply in time.
    pub(super) lost: u64,
    /// Whether the server answered the requests while they were due.
    pub(super) sustained: bool,
}

/// What a setting is recommended for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Goal {
    /// The most requests per second, in the closed loop.
    Throughput,
    /// The lowest p99, in the open loop.
    P99,
    /// The least CPU time per request, in the open loop: there all settings do the same work.
    CpuTime,
}

/// A recommendation for a goal.
#[derive(Debug, Serialize)]
pub(super) struct Recommended {
    pub(super) goal: Goal,
    /// The command line to deploy.
    pub(super) command: String,
    /// The answer in words.
    pub(super) answer: String,
    #[serde(flatten)]
    pub(super) recommendation: Recommendation,
}

impl Goal {
    pub(super) const ALL: [Self; 3] = [Self::Throughput, Self::P99, Self::CpuTime];

    /// Returns by which factor a setting has to be better than a simpler one. A smaller gain is not worth
    /// another flag, and changes with the machine and the load. Most of all the p99 does: within an
    /// hour, the same setting had 0.8 to 4.8 ms on an idle virtual machine.
    pub(super) fn worthwhile(self) -> f64 {
        match self {
            Self::Throughput | Self::CpuTime => 1.03,
            Self::P99 => 1.25,
        }
    }

    /// Returns the figures that decide, by round. `None` if there are none.
    pub(super) fn figures(self, result: &SettingResult) -> Option<Vec<f64>> {
        let (samples, figure): (_, fn(&Sample) -> f64) = match self {
            Self::Throughput => (&result.closed, |sample| sample.rate),
            Self::P99 => (&result.open, |sample| sample.p99),
            Self::CpuTime => (&result.open, |sample| sample.nanos_per_request),
        };
        let usable = result.failed.is_none() && !samples.is_empty();
        usable.then(|| samples.iter().map(figure).collect())
    }
}

impl Sample {
    /// Returns the figures of a measurement. `None` if the server's CPU time was not read.
    pub(super) fn of(measured: &Measured, timeout: Duration) -> Option<Self> {
        let usage = measured.usage.as_ref()?;
        let lost = measured.lost + measured.late;
        Some(Self {
            rate: measured.rate(),
            nanos_per_request: measured.processor_nanos()?,
            cores: usage.processor.as_secs_f64() / measured.elapsed.as_secs_f64(),
            p50: Latency::of(&measured.latency).p50,
            p99: p99(&measured.latency, measured.lost, timeout),
            lost,
            sustained: measure::sustains(measured),
        })
    }
}

/// Returns p99 in microseconds. A request that was lost counts as late as `timeout`; otherwise a setting
/// that loses requests would look fast.
fn p99(latency: &Histogram<u64>, lost: u64, timeout: Duration) -> f64 {
    let due = latency.len() + lost;
    let quantile = 0.99 * due as f64 / latency.len() as f64;
    if latency.is_empty() || quantile > 1.0 {
        return timeout.as_secs_f64() * 1e6;
    }
    latency.value_at_quantile(quantile) as f64 / 1e3
}

/// Returns the medians of the rounds. `None` if a loop has no rounds.
pub(super) fn medians(closed: &[Sample], open: &[Sample]) -> Option<Medians> {
    let of = |samples: &[Sample], figure: fn(&Sample) -> f64| {
        median(samples.iter().map(figure).collect())
    };
    Some(Medians {
        throughput: of(closed, |sample| sample.rate)?,
        cores: of(closed, |sample| sample.cores)?,
        p50: of(open, |sample| sample.p50)?,
        p99: of(open, |sample| sample.p99)?,
        nanos_per_request: of(open, |sample| sample.nanos_per_request)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_requests_count_as_late() {
        let mut latency = Histogram::new_with_bounds(1, 1_000_000_000, 3).unwrap();
        for micros in 1..=1_000 {
            latency.record(micros * 1_000).unwrap();
        }
        let timeout = Duration::from_millis(100);
        let is_close = |p99: f64, expected: f64| (p99 / expected - 1.0).abs() < 0.01;
        assert!(is_close(p99(&latency, 0, timeout), 990.0));
        assert!(is_close(p99(&latency, 5, timeout), 995.0));
        assert_eq!(p99(&latency, 11, timeout), 100_000.0);
        latency.reset();
        assert_eq!(p99(&latency, 1, timeout), 100_000.0);
    }
}
