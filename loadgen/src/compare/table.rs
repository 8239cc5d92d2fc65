//! The tables of a comparison, for people.

use std::fmt::Write;

use super::results::{EntryResult, RowResult};
use super::rows::Row;
use super::servers::Installed;
use crate::report::{duration, grouped};

/// Lists the rows' names and descriptions.
pub(super) fn list(rows: &[Row]) -> String {
    let mut out = String::new();
    for row in rows {
        let _ = writeln!(out, "{:<16} {}", row.name, row.about);
    }
    out
}

/// Lists the rivals, with their versions.
pub(super) fn servers(installed: &Installed) -> String {
    let mut out = String::new();
    for (name, program) in installed.rivals() {
        let _ = match program {
            Some(program) => writeln!(out, "{name}: {}", program.version),
            None => writeln!(out, "{name}: not installed (Debian package: {name})"),
        };
    }
    out
}

/// Formats one row's results.
pub(super) fn row(row: &RowResult) -> String {
    let mut out = String::new();
    let goal = match row.to_reach {
        Some(bytes)
            if row
                .entries
                .iter()
                .any(|entry| entry.bytes_per_topic.is_some()) =>
        {
            format!(" · to reach: at most {bytes} B")
        }
        Some(ratio) => format!(" · to reach: at most {ratio} ×"),
        None => String::new(),
    };
    let _ = writeln!(out, "\n{} · {}{goal}", row.name, row.about);
    for entry in &row.entries {
        entry_line(entry, row.to_reach, &mut out);
    }
    out
}

fn entry_line(entry: &EntryResult, to_reach: Option<f64>, out: &mut String) {
    let _ = write!(out, "  {:<40}", entry.server);
    if let Some(missing) = &entry.missing {
        let _ = writeln!(out, " {missing}");
        return;
    }
    if let Some(bytes) = entry.bytes_per_topic {
        let verdict = verdict(entry.ours, Some(bytes), to_reach);
        let _ = writeln!(out, " {bytes:>6.1} B per topic{verdict}");
        return;
    }
    let (Some(rate), Some(nanos)) = (entry.rate, entry.nanos_per_reply) else {
        let _ = writeln!(out, " –");
        return;
    };
    let ratio = match entry.ratio {
        Some(ratio) => format!("{ratio:>6.2} ×"),
        None => format!("{:>6}  ", "–"),
    };
    let latency = |micros: Option<f64>| micros.map_or_else(String::new, duration);
    let _ = writeln!(
        out,
        " {:>10}/s {:>8.0} ns {ratio}  p50 {:>9}  p99 {:>9}{}{}",
        grouped(rate as u64),
        nanos,
        latency(entry.p50),
        latency(entry.p99),
        verdict(entry.ours, entry.ratio, to_reach),
        match entry.lost {
            0 => String::new(),
            lost => format!("  {} datagrams lost", grouped(lost)),
        },
    );
}

fn verdict(ours: bool, value: Option<f64>, to_reach: Option<f64>) -> &'static str {
    match (ours, value, to_reach) {
        (true, Some(value), Some(most)) if value <= most => "  reached",
        (true, Some(_), Some(_)) => "  not reached",
        _ => "",
    }
}
