//! What a run came to, as people and programs read it: a table, JSON, a page. Everything is derived
//! here once, from what [`crate::drive`] measured.

mod file;
mod html;
mod json;
mod plot;
pub(crate) mod progress;
pub(crate) mod table;

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::drive::{Measured, Moment};
use crate::observe::{Environment, Process};
use crate::plan::{Pace, Plan, Until};
use crate::verify::Verdict;

pub(crate) use file::ReportFile;
pub(crate) use html::page;
pub(crate) use json::json;

/// All there is to say about a run, or about the steps of a ramp.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) environment: Environment,
    pub(crate) load: Load,
    /// The run; of a ramp, its best step.
    pub(crate) result: Option<Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ramp: Option<Ramp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verified: Option<Verdict>,
}

/// What was asked for, as the flags say it.
#[derive(Debug, Serialize)]
pub(crate) struct Load {
    pub(crate) target: &'static str,
    /// Whether datagrams carry it, which can be lost.
    pub(crate) udp: bool,
    pub(crate) server: String,
    pub(crate) connections: usize,
    /// Requests in flight on each connection; none in an open loop.
    pub(crate) pipeline: Option<usize>,
    /// Requests a second that were asked for; none in a closed loop.
    pub(crate) rate: Option<f64>,
    pub(crate) arrivals: Option<&'static str>,
    pub(crate) per_datagram: usize,
    pub(crate) gso: bool,
    pub(crate) shard_aware: bool,
    pub(crate) threads: usize,
    pub(crate) topics: u32,
    pub(crate) topic_len: usize,
    pub(crate) distribution: String,
    pub(crate) mix: String,
    pub(crate) seed: u64,
    pub(crate) warm_up_seconds: f64,
    pub(crate) seconds: Option<f64>,
    pub(crate) requests: Option<u64>,
}

/// What was measured. Latencies are microseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    pub(crate) seconds: f64,
    pub(crate) replies: u64,
    /// Replies a second.
    pub(crate) rate: f64,
    pub(crate) latency: Latency,
    /// Replies that refused, by code.
    pub(crate) errors: BTreeMap<String, u64>,
    /// The first of them in the server's own words.
    pub(crate) first_error: Option<String>,
    pub(crate) lost: u64,
    pub(crate) late: u64,
    pub(crate) unasked: u64,
    /// Requests of an open loop that were due and could not be made.
    pub(crate) never_sent: u64,
    pub(crate) server: Option<Server>,
    /// (percentile, microseconds), for a plot.
    pub(crate) percentiles: Vec<(f64, f64)>,
    pub(crate) over_time: Vec<Point>,
}

/// The percentiles that people ask for, in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    #[serde(rename = "p99.9")]
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// The server's process while it was measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) pid: i32,
    /// Processor time of each reply, in nanoseconds.
    pub(crate) nanos_per_reply: f64,
    /// How many processors it kept busy.
    pub(crate) processors_busy: f64,
    /// Bytes.
    pub(crate) resident: u64,
}

/// A short while of a run.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Point {
    /// Seconds since measuring began, at its end.
    pub(crate) at: f64,
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// A search for the highest rate at which p99 stays low enough.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Ramp {
    /// The limit on p99, in microseconds.
    pub(crate) slo: f64,
    /// The highest rate that kept it, if any did.
    pub(crate) highest: Option<f64>,
    /// In the order they were run.
    pub(crate) steps: Vec<Step>,
}

/// One rate of a ramp.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Step {
    /// Requests a second that were asked for.
    pub(crate) asked: f64,
    pub(crate) rate: f64,
    pub(crate) latency: Latency,
    pub(crate) kept: bool,
    /// Why there is nothing to tell of it.
    pub(crate) failed: Option<String>,
}

impl Load {
    pub(crate) fn of(plan: &Plan) -> Self {
        let (pipeline, rate, arrivals) = match plan.pace {
            Pace::Closed { pipeline } => (Some(pipeline), None, None),
            Pace::Open { rate, spacing } => {
                let arrivals = match spacing {
                    crate::workload::Spacing::Fixed => "fixed",
                    crate::workload::Spacing::Poisson => "poisson",
                };
                (None, Some(rate), Some(arrivals))
            }
        };
        let (seconds, requests) = match plan.until {
            Until::Elapsed(duration) => (Some(duration.as_secs_f64()), None),
            Until::Requests(requests) => (None, Some(requests)),
        };
        Self {
            target: plan.target.name(),
            udp: plan.target.transport().is_udp(),
            server: plan.server.to_string(),
            connections: plan.connections,
            pipeline,
            rate,
            arrivals,
            per_datagram: plan.per_datagram,
            gso: plan.gso,
            shard_aware: plan.shard_aware,
            threads: plan.threads,
            topics: plan.workload.names.count(),
            topic_len: plan.workload.names.len(),
            distribution: plan.workload.distribution.to_string(),
            mix: plan.workload.mix.to_string(),
            seed: plan.workload.seed,
            warm_up_seconds: plan.warm_up.as_secs_f64(),
            seconds,
            requests,
        }
    }
}

impl Summary {
    pub(crate) fn of(measured: &Measured, process: Option<&Process>) -> Self {
        let seconds = measured.elapsed.as_secs_f64();
        let server = process
            .zip(measured.usage.as_ref())
            .zip(measured.processor_nanos())
            .map(|((process, usage), nanos_per_reply)| Server {
                name: process.name().to_owned(),
                pid: process.pid(),
                nanos_per_reply,
                processors_busy: usage.processor.as_secs_f64() / seconds,
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
            unasked: measured.unasked,
            never_sent: measured.never_sent,
            server,
            percentiles: percentiles(&measured.latency),
            over_time: points(&measured.moments, seconds),
        }
    }
}

impl Step {
    /// One that could not be measured.
    pub(crate) fn failed(asked: f64, error: &anyhow::Error) -> Self {
        Self {
            asked,
            rate: 0.0,
            latency: Latency::default(),
            kept: false,
            failed: Some(format!("{error:#}")),
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

/// Latency by percentile: dense where it changes, towards 100.
fn percentiles(latency: &Histogram<u64>) -> Vec<(f64, f64)> {
    /// Of each step that halves what is left to 100.
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

fn points(moments: &[Moment], seconds: f64) -> Vec<Point> {
    /// A last one that is cut short says little about the rate.
    const SHORTEST: f64 = 0.5;
    let point = |moment: &Moment| {
        let (from, length) = (moment.from as f64 / 1e9, moment.length as f64 / 1e9);
        let to = (from + length).min(seconds);
        (to - from >= SHORTEST * length).then(|| Point {
            at: to,
            rate: moment.replies as f64 / (to - from),
            p50: micros(moment.p50),
            p99: micros(moment.p99),
            max: micros(moment.max),
        })
    };
    moments.iter().filter_map(point).collect()
}
