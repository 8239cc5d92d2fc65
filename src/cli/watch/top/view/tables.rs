//! Tables: shards, hot topics, limits, trouble.

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Row, Table};

use super::panel::panel;
use super::theme::Theme;
use crate::admin::{Sample, Use};
use crate::cli::figures::{age, amount, count, percent, time, topic};
use crate::cli::watch::top::model::HotTopic;

/// The rows of the trouble table, with its title and head. Limits have fewer.
pub(super) const TROUBLE_HEIGHT: u16 = 6;

/// Use above this share of a limit deserves a look, and above [`ALARM`] something must be done.
const WARNING: f64 = 0.8;
const ALARM: f64 = 0.95;

/// Each shard with its worker. If there is no room for all, those with most requests are shown.
pub(super) fn shards(frame: &mut Frame, area: Rect, now: &Sample, theme: Theme) {
    let mut shards: Vec<_> = now.workers.iter().enumerate().collect();
    let room = usize::from(area.height.saturating_sub(2));
    let mut title = "Shards".to_owned();
    if shards.len() > room {
        title = format!("Shards: the busiest {room} of {}", shards.len());
        shards.sort_by(|(_, one), (_, other)| other.requests.total_cmp(&one.requests));
        shards.truncate(room);
    }
    let area = panel(frame, area, &title, theme);
    let rows = shards.into_iter().map(|(number, worker)| {
        let waits = if worker.waiting_batches > 0 {
            theme.warning()
        } else {
            Style::new()
        };
        Row::new([
            Cell::new(number.to_string()),
            right(count(worker.requests)),
            right(percent(worker.cpu)),
            right(amount(worker.connections)),
            right(amount(worker.waiting_batches)).style(waits),
            right(time(worker.longest_turn)),
        ])
    });
    let widths = [5, 6, 5, 6, 4, 7].map(Constraint::Length);
    let head = ["shard", "req/s", "CPU", "conns", "wait", "turn ≤"];
    frame.render_widget(table(rows, widths, head, theme), area);
}

/// The topics with most requests.
pub(super) fn hot(frame: &mut Frame, area: Rect, hot: &[HotTopic], theme: Theme) {
    let area = panel(frame, area, "Hot topics, estimated", theme);
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(7),
        Constraint::Length(6),
    ];
    let room = usize::from(area.width).saturating_sub(7 + 6 + 2);
    let rows = hot.iter().map(|hot| {
        Row::new([
            Cell::new(shortened(topic(&hot.topic), room)),
            right(count(hot.requests_per_second)),
            right(percent(hot.share)),
        ])
    });
    frame.render_widget(
        table(rows, widths, ["topic", "req/s", "share"], theme),
        area,
    );
}

/// How near each limit is.
pub(super) fn limits(frame: &mut Frame, area: Rect, now: &Sample, theme: Theme) {
    let area = panel(frame, area, "Limits", theme);
    let limits = [
        ("connections", now.connections),
        ("topics", now.topics),
        ("open files", now.files),
    ];
    let rows = limits.map(|(name, Use { used, limit })| {
        let share = used as f64 / limit.max(1) as f64;
        let style = match share {
            share if share >= ALARM => theme.alarm(),
            share if share >= WARNING => theme.warning(),
            _ => Style::new(),
        };
        Row::new([
            Cell::new(name),
            right(amount(used)),
            right(amount(limit)),
            right(percent(share)),
        ])
        .style(style)
    });
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(6),
    ];
    let head = ["what", "used", "limit", ""];
    frame.render_widget(table(rows, widths, head, theme), area);
}

/// What went wrong, now and in all seconds that are known.
pub(super) fn trouble(frame: &mut Frame, area: Rect, seconds: &VecDeque<Sample>, theme: Theme) {
    let area = panel(frame, area, "Trouble", theme);
    let row = |name: &'static str, rate: fn(&Sample) -> f64| {
        let now = seconds.back().map_or(0.0, rate);
        let sum: f64 = seconds.iter().map(rate).sum();
        let style = if now > 0.0 {
            theme.warning()
        } else {
            Style::new()
        };
        let (now, sum) = (right(count(now)), right(amount(sum.round() as u64)));
        Row::new([Cell::new(name), now, sum]).style(style)
    };
    let rows = [
        row("requests refused", |second| second.requests.errors),
        row("connections refused", |second| second.connections_refused),
        row("datagrams dropped", |second| second.datagrams_dropped),
        row("reads put off", |second| second.stalls),
    ];
    let span = format!("in {}", age(seconds.len() as u64));
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(6),
        Constraint::Length(10),
    ];
    let head = ["what", "per s", &span];
    frame.render_widget(table(rows, widths, head, theme), area);
}

/// Makes a table. All columns but the first are aligned to the right.
fn table<'a, const COLUMNS: usize>(
    rows: impl IntoIterator<Item = Row<'a>>,
    widths: [Constraint; COLUMNS],
    head: [&str; COLUMNS],
    theme: Theme,
) -> Table<'a> {
    let head = head
        .into_iter()
        .enumerate()
        .map(|(column, name)| match column {
            0 => Cell::new(name.to_owned()),
            _ => right(name.to_owned()),
        });
    Table::new(rows, widths).header(Row::new(head).style(theme.faint()))
}

fn right<'a>(text: String) -> Cell<'a> {
    Cell::new(Line::from(text).right_aligned())
}

/// Shortens a text to the columns that it may take.
fn shortened(text: String, room: usize) -> String {
    if Span::raw(&text).width() <= room {
        return text;
    }
    let mut short = String::new();
    for character in text.chars() {
        short.push(character);
        if Span::raw(&short).width() >= room {
            short.pop();
            break;
        }
    }
    short + "…"
}
