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
    let target = match row.target_at_most {
        Some(bytes)
            if row
                .entries
                .iter()
                .any(|entry| entry.bytes_per_topic.is_some()) =>
        {
            format!(" · target: at most {bytes} B")
        }
        Some(ratio) => format!(" · target: at most {ratio} ×"),
        None => String::new(),
    };
    let _ = writeln!(out, "\n{} · {}{target}", row.name, row.about);
    for entry in &row.entries {
        entry_line(entry, row.target_at_most, &mut out);
    }
    out
}

fn entry_line(entry: &EntryResult, target_at_most: Option<f64>, out: &mut String) {
    let _ = write!(out, "  {:<40}", entry.server);
    if let Some(missing) = &entry.missing {
        let _ = writeln!(out, " {missing}");
        return;
    }
    if let Some(bytes) = entry.bytes_per_topic {
        let verdict = verdict(entry.ours, Some(bytes), target_at_most);
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
        verdict(entry.ours, entry.ratio, target_at_most),
        match entry.lost {
            0 => String::new(),
            lost => format!("  {} datagrams lost", grouped(lost)),
        },
    );
}

fn verdict(ours: bool, value: Option<f64>, target_at_most: Option<f64>) -> &'static str {
    match (ours, value, target_at_most) {
        (true, Some(value), Some(most)) if value <= most => "  target met",
        (true, Some(_), Some(_)) => "  target missed",
        _ => "",
    }
}
