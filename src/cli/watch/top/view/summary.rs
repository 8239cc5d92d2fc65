//! Lines of figures of the last second.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::theme::Theme;
use crate::admin::{Cluster, Commits, Sample};
use crate::cli::figures::{age, bytes, count, printable, time, whole};

/// The width of the names at the left.
const NAMES: usize = 12;

/// Returns how many lines there are.
pub(super) fn height(now: &Sample) -> u16 {
    let durability = match (&now.commits, &now.cluster) {
        // etcd has no checkpoints.
        (Some(_), None) => 2,
        _ => 1,
    };
    3 + durability + if now.cluster.is_some() { 2 } else { 0 }
}

pub(super) fn draw(frame: &mut Frame, area: Rect, now: &Sample, theme: Theme) {
    let line = |name: &str, first: String, rest: String| {
        Line::from(vec![
            Span::styled(format!("{name:<NAMES$}"), theme.faint()),
            Span::styled(first, theme.title()),
            Span::raw(rest),
        ])
    };
    let mut lines = vec![
        line(
            "requests",
            format!("{}/s", count(now.requests.all)),
            requests(now),
        ),
        line(
            "latency",
            format!("p99 {}", time(now.latency.p99)),
            latency(now),
        ),
        line("process", format!("{:.2} cores", now.cpu), process(now)),
    ];
    if let Some(commits) = &now.commits {
        let durability = printable(&now.durability);
        lines.push(line("durability", durability, last_commit(commits)));
        if now.cluster.is_none() {
            let mut checkpoint = line("", String::new(), checkpoints(commits, now.skipped_numbers));
            if commits.checkpoints_failed > 0 {
                checkpoint = checkpoint.style(theme.warning());
            }
            lines.push(checkpoint);
        }
    } else {
        let rest = "  topics are only in memory".to_owned();
        lines.push(line("durability", "none".to_owned(), rest));
    }
    if let Some(cluster) = &now.cluster {
        let mut owned = line("cluster", lease(cluster), ranges(cluster));
        if cluster.lease_seconds_left <= 0.0 || cluster.ranges.without_owner > 0 {
            owned = owned.style(theme.warning());
        }
        lines.extend([owned, line("", String::new(), forwards(cluster))]);
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn requests(now: &Sample) -> String {
    let requests = &now.requests;
    let dialects = [
        ("framed", requests.framed),
        ("classic", requests.classic),
        ("Redis", requests.resp),
    ];
    let mut text = String::new();
    for (dialect, rate) in dialects {
        if rate > 0.0 {
            text += &format!("  {dialect} {}", count(rate));
        }
    }
    if requests.all > 0.0 {
        text += &format!("  {:.1} per read", requests.batch);
    }
    text
}

fn latency(now: &Sample) -> String {
    let (p50, p999) = (time(now.latency.p50), time(now.latency.p999));
    format!("  p50 {p50}  p99.9 {p999}  from read to reply")
}

fn process(now: &Sample) -> String {
    format!(
        "  {} resident  receives {}/s  sends {}/s",
        bytes(now.resident_bytes as f64),
        bytes(now.received_bytes),
        bytes(now.sent_bytes)
    )
}

fn last_commit(commits: &Commits) -> String {
    format!(
        "  last commit {}  {} commits/s, {} each",
        ago(commits.last_commit_seconds),
        count(commits.commits),
        time(commits.seconds)
    )
}

fn checkpoints(commits: &Commits, skipped: u64) -> String {
    let mut text = format!(
        "log {}  checkpoint {} {}",
        bytes(commits.log.used as f64),
        bytes(commits.checkpoint_bytes as f64),
        ago(commits.last_checkpoint_seconds)
    );
    if commits.checkpoints_failed > 0 {
        text += &format!(", {} failed", whole(commits.checkpoints_failed));
    }
    if skipped > 0 {
        text += &format!("  skipped ≤ {}", whole(skipped));
    }
    text
}

fn lease(cluster: &Cluster) -> String {
    match cluster.in_session {
        true if cluster.lease_seconds_left > 0.0 => {
            format!("lease {:.1} s", cluster.lease_seconds_left)
        }
        true => "lease over".to_owned(),
        false => "no session".to_owned(),
    }
}

fn ranges(cluster: &Cluster) -> String {
    let ranges = &cluster.ranges;
    let all =
        ranges.serving + ranges.loading + ranges.leaving + ranges.others + ranges.without_owner;
    let mut text = format!("  serves {} of {all} ranges", ranges.serving);
    for (number, state) in [
        (ranges.loading, "loading"),
        (ranges.leaving, "leaving"),
        (ranges.without_owner, "without owner"),
    ] {
        if number > 0 {
            text += &format!("  {number} {state}");
        }
    }
    text + &format!("  {} nodes", cluster.nodes)
}

fn forwards(cluster: &Cluster) -> String {
    let (forwards, moves) = (&cluster.forwards, &cluster.moves);
    let waiting = forwards.waiting + forwards.held_by_shards;
    let failed = forwards.unavailable + forwards.unknown;
    format!(
        "forwards {}/s, {} waiting, {} failed/s  takes {}/s  lost {} ranges",
        count(forwards.sent),
        whole(waiting),
        count(failed),
        count(forwards.received),
        whole(moves.lost)
    )
}

fn ago(seconds: Option<u64>) -> String {
    seconds.map_or_else(
        || "none yet".to_owned(),
        |seconds| format!("{} ago", age(seconds)),
    )
}
