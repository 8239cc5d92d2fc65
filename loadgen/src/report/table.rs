//! The report for people, in a terminal.

use std::fmt::Write;

use super::contents::{Load, Report};
use super::notes;
use super::ramp::Ramp;
use super::summary::{ByServer, Latency, Server, Summary};
use super::units::{bytes, cpu_time, duration, grouped};
use crate::drive::{Reconnects, ServerCounts};
use crate::verify::Verdict;

/// Returns the whole report as text.
pub(crate) fn table(report: &Report) -> String {
    let mut out = String::new();
    if let Some(ramp) = &report.ramp {
        ramp_table(ramp, &mut out);
    } else if let Some(result) = &report.result {
        summary_table(&report.load, result, &mut out);
    }
    if let Some(verdict) = &report.verified {
        verdict_rows(verdict, report.result.as_ref(), &mut out);
    }
    let hint = notes::pinning(&report.shared_processors);
    for (i, line) in hint.iter().enumerate() {
        row(&mut out, if i == 0 { "note" } else { "" }, line);
    }
    out
}

fn row(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(out, "{name:<18} {value}");
}

fn verdict_rows(verdict: &Verdict, result: Option<&Summary>, out: &mut String) {
    let gaps = match verdict.gaps {
        0 => "no gaps".to_owned(),
        gaps => format!("{} numbers without a reply", grouped(gaps)),
    };
    let text = format!(
        "{} replies of {} topics in one order, {gaps}",
        grouped(verdict.replies),
        grouped(verdict.topics)
    );
    row(out, "verified", &text);
    if verdict.gaps > 0 {
        let text = format!("{} numbers", grouped(verdict.largest_gap));
        row(out, "largest gap", &text);
    }
    let silence = &verdict.silence;
    row(out, "longest silence", &duration(silence.all));
    let servers = result.map_or(&[][..], |result| &result.by_server);
    if servers.len() > 1 {
        for (server, &longest) in servers.iter().zip(&silence.by_server) {
            let text = format!("{} from {}", duration(longest), server.server);
            row(out, "", &text);
        }
    }
    let text = format!(
        "{} from one topic (p50 of all topics; max {})",
        duration(silence.topic_p50),
        duration(silence.topic_max)
    );
    row(out, "", &text);
}

fn summary_table(load: &Load, summary: &Summary, out: &mut String) {
    let requests = format!("{} in {:.2} s", grouped(summary.replies), summary.seconds);
    row(out, "requests", &requests);
    if let Some(target) = load.rate {
        row(out, "target rate", &per_second(target));
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
    error_rows(summary, out);
    resend_rows(summary, out);
    if load.udp {
        datagram_rows(summary, out);
    } else if load.reconnect_seconds.is_some() {
        connection_rows(summary.reconnects, out);
    }
    if summary.by_server.len() > 1 {
        for server in &summary.by_server {
            one_of_several(server, out);
        }
    }
    if let Some(server) = &summary.server {
        server_rows(server, out);
    }
}

/// What became of the requests to one of several servers. What did not happen is left out.
fn one_of_several(server: &ByServer, out: &mut String) {
    let ServerCounts {
        replies,
        unavailable,
        busy,
        unknown,
        lost,
        reconnects,
    } = server.counts;
    let mut text = format!("{}, {} answered", per_second(server.rate), grouped(replies));
    for (times, what) in [
        (unavailable, "unavailable"),
        (busy, "busy"),
        (unknown, "unknown"),
        (lost, "lost"),
        (reconnects.reopened, "connections opened again"),
    ] {
        if times > 0 {
            let _ = write!(text, ", {} {what}", grouped(times));
        }
    }
    row(out, &server.server, &text);
}

fn error_rows(summary: &Summary, out: &mut String) {
    if summary.errors.is_empty() {
        row(out, "errors", "none");
    }
    for (code, times) in &summary.errors {
        row(out, "errors", &format!("{} {code}", grouped(*times)));
    }
    if let Some(message) = &summary.first_error
        && !summary.errors.contains_key(message)
    {
        row(out, "first error", message);
    }
}

fn resend_rows(summary: &Summary, out: &mut String) {
    for (code, times) in &summary.sent_again {
        row(out, "sent again", &format!("{} {code}", grouped(*times)));
    }
    if summary.not_sent_again > 0 {
        let text = format!(
            "{} of them not before the end",
            grouped(summary.not_sent_again)
        );
        row(out, "", &text);
    }
}

fn datagram_rows(summary: &Summary, out: &mut String) {
    let text = format!(
        "{} lost, {} late",
        grouped(summary.lost),
        grouped(summary.late)
    );
    row(out, "datagrams", &text);
    if summary.reconnects.refused > 0 {
        let text = format!(
            "{} refused: nobody received them",
            grouped(summary.reconnects.refused)
        );
        row(out, "", &text);
    }
    if summary.unmatched > 0 {
        let text = format!(
            "{} replies that match no request",
            grouped(summary.unmatched)
        );
        row(out, "", &text);
    }
}

fn connection_rows(reconnects: Reconnects, out: &mut String) {
    let Reconnects {
        lost,
        reopened,
        refused,
        unanswered,
    } = reconnects;
    let text = format!(
        "{} lost, {} opened again; {} attempts refused",
        grouped(lost),
        grouped(reopened),
        grouped(refused)
    );
    row(out, "connections", &text);
    if unanswered > 0 {
        let text = format!("{} requests without a reply", grouped(unanswered));
        row(out, "", &text);
    }
}

fn server_rows(server: &Server, out: &mut String) {
    let process = format!("{} (process {})", server.name, server.pid);
    row(out, "server", &process);
    let cost = format!(
        "CPU time {} per request, {:.2} cores",
        cpu_time(server.nanos_per_reply),
        server.cores
    );
    row(out, "", &cost);
    row(out, "", &format!("{} resident", bytes(server.resident)));
}

fn ramp_table(ramp: &Ramp, out: &mut String) {
    let _ = writeln!(
        out,
        "{:>12} {:>12} {:>10} {:>10} {:>10} {:>10} {:>6}",
        "target rate", "achieved", "p50", "p99", "p99.9", "max", "tries"
    );
    for step in &ramp.steps {
        let target = grouped(step.target_rate as u64);
        if let Some(failed) = &step.failed {
            let tries = match step.tries {
                1 => "1 try".to_owned(),
                tries => format!("{tries} tries"),
            };
            let _ = writeln!(out, "{target:>12} not sustained: {failed} ({tries})");
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
            "{target:>12} {:>12} {:>10} {:>10} {:>10} {:>10} {:>6}  {}",
            grouped(step.rate as u64),
            duration(p50),
            duration(p99),
            duration(p999),
            duration(max),
            step.tries,
            if step.sustained {
                "sustained"
            } else {
                "not sustained"
            }
        );
    }
    if let Some(repeats) = ramp.repeats() {
        let _ = writeln!(out, "{repeats}");
    }
    let slo = duration(ramp.slo);
    let _ = match ramp.highest {
        Some(rate) => writeln!(
            out,
            "highest rate with p99 up to {slo}: {}",
            per_second(rate)
        ),
        None => writeln!(out, "no rate had a p99 of at most {slo}"),
    };
}

fn per_second(rate: f64) -> String {
    format!("{}/s", grouped(rate.round() as u64))
}

#[cfg(test)]
mod tests {
    use super::super::ramp::tests::noisy;
    use super::*;

    #[test]
    fn a_ramp_says_how_often_each_rate_was_tried() {
        let mut out = String::new();
        ramp_table(&noisy(), &mut out);
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines[0].ends_with(" tries"), "{out}");
        assert!(lines[1].ends_with(" 1  sustained"), "{out}");
        assert!(lines[2].ends_with(" 3  sustained"), "{out}");
        assert!(
            lines[3].ends_with("not sustained: the server vanished (3 tries)"),
            "{out}"
        );
        assert!(
            lines[4].starts_with("2 of 3 rates took more than one try"),
            "{out}"
        );
        assert_eq!(lines[5], "highest rate with p99 up to 1.00 ms: 2,000/s");
    }

    #[test]
    fn the_servers_cost_reads_well() {
        let server = Server {
            name: "globalcounter".to_owned(),
            pid: 7,
            nanos_per_reply: 1_843.0,
            cores: 0.917,
            resident: 3 << 20,
        };
        let mut out = String::new();
        server_rows(&server, &mut out);
        assert!(
            out.contains(" CPU time 1.84 µs per request, 0.92 cores\n"),
            "{out}"
        );
    }
}
