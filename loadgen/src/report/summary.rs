//! The results of one run.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::drive::{Measured, Reconnects, ServerCounts, TickSummary};
use crate::observe::Process;

/// The results of one run. Latencies are in microseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    pub(crate) seconds: f64,
    pub(crate) replies: u64,
    /// Replies per second.
    pub(crate) rate: f64,
    pub(crate) latency: Latency,
    /// Refusals, by code.
    pub(crate) errors: BTreeMap<String, u64>,
    /// The first refusal in the server's own words.
    pub(crate) first_error: Option<String>,
    /// Refusals of requests that were sent again, by code; also in the warm-up.
    pub(crate) sent_again: BTreeMap<String, u64>,
    /// Those of them that could not be sent again before the end.
    pub(crate) not_sent_again: u64,
    pub(crate) lost: u64,
    pub(crate) late: u64,
    /// Datagrams that match no request.
    pub(crate) unmatched: u64,
    /// Requests of an open loop that were due and could not be made.
    pub(crate) never_sent: u64,
    pub(crate) reconnects: Reconnects,
    /// What became of the requests to each server, in the order of the flags.
    pub(crate) by_server: Vec<ByServer>,
    pub(crate) server: Option<Server>,
    /// Pairs of percentile and latency, for a plot.
    pub(crate) percentiles: Vec<(f64, f64)>,
    pub(crate) over_time: Vec<Point>,
}

/// What became of the requests to one server.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ByServer {
    pub(crate) server: String,
    /// Replies per second.
    pub(crate) rate: f64,
    #[serde(flatten)]
    pub(crate) counts: ServerCounts,
}

/// The usual percentiles, in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    #[serde(rename = "p99.9")]
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// The server's process during the measurement.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) pid: i32,
    /// CPU time per reply, in nanoseconds.
    pub(crate) nanos_per_reply: f64,
    /// CPU time per second: how many cores it used on average.
    pub(crate) cores: f64,
    /// Resident memory, in bytes.
    pub(crate) resident: u64,
}

/// A short interval of a run.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Point {
    /// The end of the interval, in seconds since measuring began.
    pub(crate) at: f64,
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Summary {
    pub(crate) fn of(measured: &Measured, process: Option<&Process>) -> Self {
        let seconds = measured.elapsed.as_secs_f64();
        let by_server = measured.by_server.iter().map(|&(server, counts)| ByServer {
            server: server.to_string(),
            rate: counts.replies as f64 / seconds,
            counts,
        });
        let server = process
            .zip(measured.usage.as_ref())
            .zip(measured.processor_nanos())
            .map(|((process, usage), nanos_per_reply)| Server {
                name: process.name().to_owned(),
                pid: process.pid(),
                nanos_per_reply,
                cores: usage.processor.as_secs_f64() / seconds,
                resident: usage.resident,
            });
        Self {
            seconds,
            replies: measured.replies,
            rate: measured.rate(),
            latency: Latency::of(&measured.latency),
            errors: measured.refused.clone(),
            first_error: measured.first_refusal.clone(),
            lost: measured.lost,
            late: measured.late,
            unmatched: measured.unmatched,
            never_sent: measured.never_sent,
            sent_again: measured.sent_again.clone(),
            not_sent_again: measured.not_sent_again,
            reconnects: measured.reconnects(),
            by_server: by_server.collect(),
            server,
            percentiles: percentiles(&measured.latency),
            over_time: points(&measured.ticks, seconds),
        }
    }
}

impl Latency {
    pub(crate) fn of(latency: &Histogram<u64>) -> Self {
        let at = |quantile| micros(latency.value_at_quantile(quantile));
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: micros(latency.max()),
        }
    }
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

/// Returns latency by percentile, with more points towards 100, where it changes most.
fn percentiles(latency: &Histogram<u64>) -> Vec<(f64, f64)> {
    /// Points in each step that halves the distance to 100.
    const STEPS_A_HALF: u32 = 5;
    let mut curve: Vec<(f64, f64)> = latency
        .iter_quantiles(STEPS_A_HALF)
        .map(|value| {
            (
                value.quantile_iterated_to() * 100.0,
                micros(value.value_iterated_to()),
            )
        })
        .collect();
    curve.dedup_by(|next, last| next.0 == last.0);
    curve
}

fn points(ticks: &[TickSummary], seconds: f64) -> Vec<Point> {
    /// The shortest last interval, as part of a whole one: a shorter one says little about the rate.
    const SHORTEST: f64 = 0.5;
    let point = |tick: &TickSummary| {
        let (from, length) = (tick.from as f64 / 1e9, tick.length as f64 / 1e9);
        let to = (from + length).min(seconds);
        (to - from >= SHORTEST * length).then(|| Point {
            at: to,
            rate: tick.replies as f64 / (to - from),
            p50: micros(tick.p50),
            p99: micros(tick.p99),
            max: micros(tick.max),
        })
    };
    ticks.iter().filter_map(point).collect()
}
