//! The report of a run or a ramp as an HTML page.

use std::fmt::Write;

use anyhow::Result;

use super::contents::{Load, Report};
use super::frame::{escape, frame, plot};
use super::notes;
use super::plot::{Axis, Line};
use super::ramp::{Ramp, Step};
use super::summary::{Latency, Point, Summary};
use super::table::table;
use super::units::{cpu_time, duration, grouped};
use crate::drive::Reconnects;

/// Returns the whole page.
///
/// # Errors
///
/// A plot cannot be drawn.
pub(crate) fn page(report: &Report) -> Result<String> {
    let mut body = String::new();
    if let Some(ramp) = &report.ramp {
        ramp_section(ramp, &mut body)?;
    }
    let hint = notes::pinning(&report.shared_processors);
    if !hint.is_empty() {
        let _ = writeln!(body, "<p class=\"note\">{}</p>", escape(&hint.join("; ")));
    }
    if let Some(result) = &report.result {
        headline(&report.load, result, &mut body);
        if report.ramp.is_none() {
            let lines = over_time(result);
            plot(
                "Rate over time",
                Axis::Seconds,
                Axis::Rate,
                &lines.0,
                &mut body,
            )?;
            plot(
                "Latency over time",
                Axis::Seconds,
                Axis::Latency,
                &lines.1,
                &mut body,
            )?;
        }
        let by_percentile = [Line {
            name: "latency",
            points: result.percentiles.clone(),
            dots: Vec::new(),
        }];
        plot(
            "Latency by percentile",
            Axis::Percentile,
            Axis::Latency,
            &by_percentile,
            &mut body,
        )?;
    }
    body.push_str("<h2>In figures</h2>\n<pre>");
    body.push_str(&escape(&table(report)));
    body.push_str("</pre>\n");
    let title = format!("{} at {}", report.load.target, report.load.server);
    let load = sentence(&report.load);
    Ok(frame(&title, &load, &body, &report.environment))
}

/// Describes the load in one sentence.
pub(crate) fn sentence(load: &Load) -> String {
    let pace = match (load.pipeline, load.rate) {
        (Some(pipeline), _) => format!("{} × {pipeline} in flight", load.connections),
        (None, Some(rate)) => format!(
            "{} requests per second ({} arrivals) on {} connections",
            grouped(rate as u64),
            load.arrivals.unwrap_or_default(),
            load.connections
        ),
        (None, None) => format!("{} connections", load.connections),
    };
    let topics = grouped(load.topics.into());
    format!(
        "{pace}, {topics} topics of {} bytes ({}), {}, seed {}",
        load.topic_len, load.distribution, load.mix, load.seed
    )
}

fn headline(load: &Load, result: &Summary, out: &mut String) {
    let mut tiles = vec![
        ("requests per second", grouped(result.rate.round() as u64)),
        ("p50", duration(result.latency.p50)),
        ("p99", duration(result.latency.p99)),
        ("p99.9", duration(result.latency.p999)),
        ("max", duration(result.latency.max)),
    ];
    if let Some(target) = load.rate {
        tiles.insert(1, ("target rate", grouped(target.round() as u64)));
    }
    if let Some(server) = &result.server {
        tiles.push((
            "server CPU time per request",
            cpu_time(server.nanos_per_reply),
        ));
    }
    let errors: u64 = result.errors.values().sum();
    tiles.push(("errors", grouped(errors)));
    if load.udp {
        tiles.push((
            "lost · late",
            format!("{} · {}", grouped(result.lost), grouped(result.late)),
        ));
    }
    if load.reconnect_seconds.is_some() {
        let Reconnects { lost, refused, .. } = result.reconnects;
        tiles.push((
            "connections lost · refused",
            format!("{} · {}", grouped(lost), grouped(refused)),
        ));
    }
    out.push_str("<div class=\"tiles\">");
    for (name, value) in tiles {
        let _ = write!(out, "<div><b>{}</b>{}</div>", escape(&value), escape(name));
    }
    out.push_str("</div>\n");
}

/// Returns the lines of rate and of latency over time.
fn over_time(result: &Summary) -> ([Line<'static>; 1], [Line<'static>; 3]) {
    let line = |name, of: fn(&Point) -> f64| Line {
        name,
        points: result
            .over_time
            .iter()
            .map(|point| (point.at, of(point)))
            .collect(),
        dots: Vec::new(),
    };
    (
        [line("requests per second", |point| point.rate)],
        [
            line("p50", |point| point.p50),
            line("p99", |point| point.p99),
            line("max", |point| point.max),
        ],
    )
}

fn ramp_section(ramp: &Ramp, out: &mut String) -> Result<()> {
    let verdict = match ramp.highest {
        Some(rate) => format!("{} per second", grouped(rate as u64)),
        None => "no rate".to_owned(),
    };
    let slo = duration(ramp.slo);
    let _ = writeln!(
        out,
        "<p class=\"verdict\"><b>{verdict}</b> with p99 up to {slo}</p>"
    );
    if let Some(repeats) = ramp.repeats() {
        let _ = writeln!(out, "<p class=\"note\">{}</p>", escape(&repeats));
    }
    let measured = ramp.steps.iter().filter(|step| step.failed.is_none());
    let mut steps: Vec<&Step> = measured.collect();
    steps.sort_by(|a, b| a.target_rate.total_cmp(&b.target_rate));
    let line = |name, of: fn(&Latency) -> f64| Line {
        name,
        points: steps
            .iter()
            .map(|step| (step.target_rate, of(&step.latency)))
            .collect(),
        dots: Vec::new(),
    };
    let lines = [
        line("p50", |latency| latency.p50),
        line("p99", |latency| latency.p99),
        line("p99.9", |latency| latency.p999),
    ];
    plot(
        "Latency by target rate",
        Axis::Rate,
        Axis::Latency,
        &lines,
        out,
    )
}

#[cfg(test)]
mod tests {
    use super::super::ramp::tests::noisy;
    use super::*;

    #[test]
    fn a_ramp_says_which_of_its_tries_were_noise() {
        let mut out = String::new();
        ramp_section(&noisy(), &mut out).unwrap();
        let note =
            "<p class=\"note\">2 of 3 rates took more than one try; 2 failed tries were noise";
        assert!(out.contains(note), "{out}");
    }
}
