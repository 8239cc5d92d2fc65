//! The tables of a comparison, for people.

use std::fmt::Write;

use super::results::{EntryResult, RowResult, TargetResult};
use super::rows::{Row, Target};
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

/// Formats one row's results: a line per entry, then a line per target.
pub(super) fn row(row: &RowResult) -> String {
    let mut out = format!("\n{} · {}\n", row.name, row.about);
    let entries = &row.entries;
    let columns = Columns {
        name: entries
            .iter()
            .map(|entry| entry.server.chars().count())
            .max()
            .unwrap_or(0),
        beyond_baseline: entries.iter().any(|entry| entry.beyond_baseline.is_some()),
    };
    for entry in entries {
        entry_line(entry, &columns, &mut out);
    }
    for target in &row.targets {
        let _ = writeln!(out, "  target: {}", target_line(target, entries));
    }
    out
}

/// Which columns a row's table has.
struct Columns {
    /// The width of the servers' names.
    name: usize,
    beyond_baseline: bool,
}

fn entry_line(entry: &EntryResult, columns: &Columns, out: &mut String) {
    let _ = write!(out, "  {:<width$}", entry.server, width = columns.name);
    if let Some(missing) = &entry.missing {
        let _ = writeln!(out, "  {missing}");
        return;
    }
    let medians = &entry.medians;
    if let Some(seconds) = medians.start_seconds {
        let _ = write!(out, "  {seconds:.2} s to start");
    }
    if let Some(bytes) = medians.bytes_per_topic {
        let _ = write!(out, "  {bytes:>6.1} B per topic");
    }
    if let (Some(rate), Some(nanos)) = (medians.rate, medians.nanos_per_reply) {
        let _ = write!(out, "  {:>10}/s {nanos:>8.0} ns ", grouped(rate as u64));
        let _ = match entry.ratio {
            Some(ratio) => write!(out, "{ratio:>6.2} ×"),
            None => write!(out, "{:>6}  ", "–"),
        };
        if columns.beyond_baseline {
            let _ = match entry.beyond_baseline {
                Some(nanos) => write!(out, "  beyond the baseline {nanos:>6.0} ns"),
                None => write!(out, "  {:29}", ""),
            };
        }
    }
    if let (Some(p50), Some(p99)) = (medians.p50, medians.p99) {
        let _ = write!(out, "  p50 {:>9}  p99 {:>9}", duration(p50), duration(p99));
    }
    if let Some(ratio) = entry.ratio_to_other_build {
        let _ = write!(out, "  {ratio:.3} × the other build");
    }
    if medians.lost > 0 {
        let _ = write!(out, "  {} datagrams lost", grouped(medians.lost));
    }
    out.push('\n');
}

/// Returns a target in words, what was measured, and the verdict.
fn target_line(result: &TargetResult, entries: &[EntryResult]) -> String {
    let name = |of: usize| &entries[of].server;
    let limit = match result.target {
        Target::CpuTime { at_most, of } => format!("at most {at_most} × {}", name(of)),
        Target::UserTime { at_most, of } => {
            format!("user time at most {at_most} × {}", name(of))
        }
        Target::BeyondBaseline { at_most } => format!("beyond the baseline at most {at_most} ns"),
        Target::Rate { at_least } => format!("at least {}/s", grouped(at_least as u64)),
        Target::Start { at_most } => format!("start within {at_most} s"),
        Target::Memory { at_most } => format!("at most {at_most} B per topic"),
    };
    let (Some(value), Some(met)) = (result.value, result.met) else {
        return format!("{limit}: not measured");
    };
    let value = match result.target {
        Target::CpuTime { .. } | Target::UserTime { .. } => format!("{value:.2} ×"),
        Target::BeyondBaseline { .. } => format!("{value:.0} ns"),
        Target::Rate { .. } => format!("{}/s", grouped(value as u64)),
        Target::Start { .. } => format!("{value:.2} s"),
        Target::Memory { .. } => format!("{value:.1} B"),
    };
    let verdict = if met { "met" } else { "missed" };
    format!("{limit}: {value}, {verdict}")
}

#[cfg(test)]
mod tests;
