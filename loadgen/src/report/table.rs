//! The report for people, in a terminal.

use std::fmt::Write;

use super::{Latency, Load, Ramp, Report, Summary};

/// The whole report.
pub(crate) fn report(report: &Report) -> String {
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

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Microseconds, in the unit that reads best.
pub(crate) fn duration(micros: f64) -> String {
    if micros < 1_000.0 {
        format!("{micros:.1} µs")
    } else if micros < 1_000_000.0 {
        format!("{:.2} ms", micros / 1e3)
    } else {
        format!("{:.2} s", micros / 1e6)
    }
}

/// Bytes, in the unit that reads best.
pub(crate) fn bytes(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes < 1024.0 {
        format!("{mebibytes:.1} MiB")
    } else {
        format!("{:.1} GiB", mebibytes / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(12_345_678), "12,345,678");
        assert_eq!(duration(12.34), "12.3 µs");
        assert_eq!(duration(200_000.0), "200.00 ms");
        assert_eq!(duration(2_500_000.0), "2.50 s");
        assert_eq!(bytes(3 << 19), "1.5 MiB");
        assert_eq!(bytes(3 << 29), "1.5 GiB");
    }
}
