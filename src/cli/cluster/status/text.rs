//! The report for people.

use std::fmt::Write;

use super::report::{MemberAnswer, MemberReport, NodeReport, Report, State};
use crate::cli::figures::{age, bytes, printable, whole};

/// The heads of the columns of a node.
const COLUMNS: [&str; 7] = [
    "NODE", "ADDRESS", "VERSION", "UP", "LEASE", "OWNS", "ASSIGNED",
];

impl Report {
    /// Returns the report as lines of text.
    pub(super) fn text(&self) -> String {
        let state = match self.state {
            State::Absent => "absent",
            State::Down => "down",
            State::Incomplete => "incomplete",
            State::Moving => "moving",
            State::Whole => "whole",
        };
        let mut text = format!("{state}: {}\n\n", self.message);
        // Writing to a string cannot fail.
        let _ = write!(text, "cluster  {}", printable(&self.cluster));
        if let Some(revision) = self.revision {
            let _ = write!(text, ", revision {}", whole(revision));
        }
        text.push('\n');
        for member in &self.etcd {
            let _ = writeln!(text, "etcd     {}", member_text(member));
        }
        if !self.nodes.is_empty() {
            text.push('\n');
            text += &table(&self.nodes);
        }
        text
    }
}

fn member_text(member: &MemberReport) -> String {
    let endpoint = printable(&member.endpoint);
    match &member.answer {
        MemberAnswer::Failed { error } => format!("{endpoint}: {}", printable(error)),
        MemberAnswer::Status {
            version,
            leads,
            database_bytes,
            database_bytes_in_use,
            alarms,
        } => {
            let role = match leads {
                Some(true) => "leader",
                Some(false) => "follower",
                None => "knows no leader",
            };
            let mut text = format!(
                "{endpoint}: {role}, version {}, database {} ({} in use)",
                printable(version),
                bytes(*database_bytes as f64),
                bytes(*database_bytes_in_use as f64)
            );
            for alarm in alarms {
                text += &format!("; {}", printable(alarm));
            }
            text
        }
    }
}

/// Returns a line for each node, in columns.
fn table(nodes: &[NodeReport]) -> String {
    let head = COLUMNS.map(str::to_owned);
    let rows: Vec<_> = [head].into_iter().chain(nodes.iter().map(cells)).collect();
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths);
        let cells = cells.map(|(cell, &width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    });
    lines.collect()
}

fn cells(node: &NodeReport) -> [String; COLUMNS.len()] {
    let mark = if node.draining { " (draining)" } else { "" };
    let lease = node
        .lease_seconds_left
        .map_or_else(|| "–".to_owned(), |seconds| format!("{seconds} s left"));
    [
        printable(&node.name) + mark,
        printable(&node.address),
        printable(&node.version),
        age(node.up_seconds),
        lease,
        whole(node.ranges_owned as u64),
        whole(node.ranges_assigned as u64),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, draining: bool) -> NodeReport {
        NodeReport {
            name: name.to_owned(),
            address: "10.0.0.1:9999".to_owned(),
            version: "0.1.0".to_owned(),
            started: 0,
            up_seconds: 182,
            draining,
            lease_seconds_left: (!draining).then_some(3),
            ranges_owned: 512,
            ranges_assigned: 1_024,
        }
    }

    #[test]
    fn a_report_is_easy_to_read() {
        let report = Report {
            cluster: "etcd://a:1,b:1/test".to_owned(),
            state: State::Moving,
            message: "each range is owned".to_owned(),
            ranges: Some(1_024),
            ranges_without_owner: 0,
            ranges_moving: 512,
            revision: Some(1_234),
            nodes: vec![node("a", false), node("b\u{1b}[31m", true)],
            etcd: vec![
                MemberReport {
                    endpoint: "a:1".to_owned(),
                    answer: MemberAnswer::Status {
                        version: "3.5.21".to_owned(),
                        leads: Some(true),
                        database_bytes: 3 * 1024 * 1024,
                        database_bytes_in_use: 1024 * 1024,
                        alarms: vec!["etcdserver: mvcc: database space exceeded".to_owned()],
                    },
                },
                MemberReport {
                    endpoint: "b:1".to_owned(),
                    answer: MemberAnswer::Failed {
                        error: "etcd did not answer in time".to_owned(),
                    },
                },
            ],
        };
        let expected = "\
moving: each range is owned

cluster  etcd://a:1,b:1/test, revision 1,234
etcd     a:1: leader, version 3.5.21, database 3.00 MiB (1.00 MiB in use); etcdserver: mvcc: database space exceeded
etcd     b:1: etcd did not answer in time

NODE                    ADDRESS        VERSION  UP         LEASE     OWNS  ASSIGNED
a                       10.0.0.1:9999  0.1.0    3 min 2 s  3 s left  512   1,024
b\\u{1b}[31m (draining)  10.0.0.1:9999  0.1.0    3 min 2 s  –         512   1,024
";
        assert_eq!(report.text(), expected);
    }
}
