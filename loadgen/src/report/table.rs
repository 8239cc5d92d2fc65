//! The report for people, in a terminal.

use std::fmt::Write;

use super::contents::{Load, Report};
use super::ramp::Ramp;
use super::summary::{Latency, Summary};
use super::units::{bytes, duration, grouped};

/// The whole report.
pub(crate) fn table(report: &Report) -> String {
    let mut out = String::new();
    if let Some(ramp) = &report.ramp {
        ramp_table(ramp, &mut out);
    } else if let Some(result) = &report.result {
        summary_table(&report.load, result, &mut out);
    }
    if let Some(verdict) = &report.verified {
        let gaps = match verdict.gaps {
            0 => "no gaps".to_owned(),
            gaps => format!("{} numbers went to requests that were lost", grouped(gaps)),
        };
        row(
            &mut out,
            "verified",
            &format!(
                "{} replies of {} topics in one order, {gaps}",
                grouped(verdict.replies),
                grouped(verdict.topics)
            ),
        );
    }
    out
}

fn row(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(out, "{name:<18} {value}");
}

fn summary_table(load: &Load, summary: &Summary, out: &mut String) {
    let seconds = format!("{} in {:.2} s", grouped(summary.replies), summary.seconds);
    row(out, "requests", &seconds);
    if let Some(asked) = load.rate {
        row(out, "rate asked", &per_second(asked));
    }
    row(out, "rate achieved", &per_second(summary.rate));
    if summary.never_sent > 0 {
        let text = format!("{} that were due", grouped(summary.never_sent));
        row(out, "never sent", &text);
    }
    let Latency {
        p50,
        p90,
        p99,
        p999,
        max,
    } = summary.latency;
    let latencies = [
        ("p50", p50),
        ("p90", p90),
        ("p99", p99),
        ("p99.9", p999),
        ("max", max),
    ];
    for (name, value) in latencies {
        row(out, &format!("latency {name}"), &duration(value));
    }
    if summary.errors.is_empty() {
        row(out, "errors", "none");
    }
    for (code, times) in &summary.errors {
        row(out, "errors", &format!("{} {code}", grouped(*times)));
    }
    if let Some(said) = &summary.first_error
        && !summary.errors.contains_key(said)
    {
        row(out, "first error", said);
    }
    if load.udp {
        let text = format!(
            "{} lost, {} late",
            grouped(summary.lost),
            grouped(summary.late)
        );
        row(out, "datagrams", &text);
        if summary.unasked > 0 {
            row(
                out,
                "",
                &format!("{} replies to nothing asked", grouped(summary.unasked)),
            );
        }
    }
    if let Some(server) = &summary.server {
        let cost = format!(
            "{:.0} ns of processor time a request, {:.2} processors busy",
            server.nanos_per_reply, server.processors_busy
        );
        row(
            out,
            "server",
            &format!("{} (process {})", server.name, server.pid),
        );
        row(out, "", &cost);
        row(out, "", &format!("{} resident", bytes(server.resident)));
    }
}

fn ramp_table(ramp: &Ramp, out: &mut String) {
    let _ = writeln!(
        out,
        "{:>12} {:>12} {:>10} {:>10} {:>10} {:>10}",
        "rate asked", "achieved", "p50", "p99", "p99.9", "max"
    );
    for step in &ramp.steps {
        if let Some(failed) = &step.failed {
            let _ = writeln!(out, "{:>12} not kept: {failed}", grouped(step.asked as u64));
            continue;
        }
        let Latency {
            p50,
            p99,
            p999,
            max,
            ..
        } = step.latency;
        let _ = writeln!(
            out,
            "{:>12} {:>12} {:>10} {:>10} {:>10} {:>10}  {}",
            grouped(step.asked as u64),
            grouped(step.rate as u64),
            duration(p50),
            duration(p99),
            duration(p999),
            duration(max),
            if step.kept { "kept" } else { "not kept" }
        );
    }
    let slo = duration(ramp.slo);
    let _ = match ramp.highest {
        Some(rate) => writeln!(
            out,
            "highest rate with p99 up to {slo}: {}",
            per_second(rate)
        ),
        None => writeln!(out, "no rate kept p99 up to {slo}"),
    };
}

fn per_second(rate: f64) -> String {
    format!("{}/s", grouped(rate.round() as u64))
}
