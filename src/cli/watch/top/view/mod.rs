//! Draws what is known of a server: the same figures as on the page. It only reads the model.
//!
//! - [`theme`]: colours, or none
//! - [`panel`]: a title above a part of the screen
//! - [`summary`]: lines of figures
//! - [`chart`]: the last minutes
//! - [`tables`]: shards, hot topics, limits, trouble

mod chart;
mod panel;
mod summary;
mod tables;
#[cfg(test)]
mod tests;
mod theme;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::model::{Link, Model};
use crate::admin::Sample;
use crate::cli::figures::{age, printable};
pub(super) use theme::Theme;

/// A terminal with fewer columns has its panels one below the other.
const TWO_COLUMNS: u16 = 72;

/// A terminal with fewer rows has no charts.
const WITH_CHARTS: u16 = 20;

/// Draws the model.
pub(super) fn draw(frame: &mut Frame, model: &Model, theme: Theme) {
    let [top, body] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(frame.area());
    heading(frame, top, model, theme);
    let Some(now) = model.now() else {
        let waits = match model.link {
            Link::Connecting => "connecting …",
            Link::Open => {
                "the server has no figures yet: it is loading its topics, or has just started"
            }
            Link::Gone(_) => "",
        };
        frame.render_widget(Paragraph::new(waits).alignment(Alignment::Center), body);
        return;
    };
    if body.width >= TWO_COLUMNS {
        wide(frame, body, model, now, theme);
    } else {
        narrow(frame, body, model, now, theme);
    }
    if matches!(model.link, Link::Gone(_)) {
        let old = Style::new().add_modifier(Modifier::DIM);
        frame.buffer_mut().set_style(body, old);
    }
}

/// Two columns below the summary.
fn wide(frame: &mut Frame, area: Rect, model: &Model, now: &Sample, theme: Theme) {
    let charts = match area.height {
        height if height < WITH_CHARTS => 0,
        height => (height / 6).clamp(4, 12),
    };
    let [figures, charts, middle, bottom] = Layout::vertical([
        Constraint::Length(summary::height(now)),
        Constraint::Length(charts),
        Constraint::Fill(1),
        Constraint::Length(tables::TROUBLE_HEIGHT),
    ])
    .areas(area);
    summary::draw(frame, figures, now, theme);
    let [left, right] = halves(charts);
    chart::requests(frame, left, &model.seconds, theme);
    chart::latency(frame, right, &model.seconds, theme);
    let [left, right] = halves(middle);
    tables::shards(frame, left, now, theme);
    tables::hot(frame, right, &model.hot, theme);
    let [left, right] = halves(bottom);
    tables::limits(frame, left, now, theme);
    tables::trouble(frame, right, &model.seconds, theme);
}

/// One column; the last panels are left out if there is no room.
fn narrow(frame: &mut Frame, area: Rect, model: &Model, now: &Sample, theme: Theme) {
    let shards = (now.workers.len() as u16).saturating_add(2).min(6);
    let [figures, chart, shards, hot, trouble] = Layout::vertical([
        Constraint::Length(summary::height(now)),
        Constraint::Length(if area.height < WITH_CHARTS { 0 } else { 4 }),
        Constraint::Length(shards),
        Constraint::Fill(1),
        Constraint::Length(tables::TROUBLE_HEIGHT),
    ])
    .areas(area);
    summary::draw(frame, figures, now, theme);
    chart::requests(frame, chart, &model.seconds, theme);
    tables::shards(frame, shards, now, theme);
    tables::hot(frame, hot, &model.hot, theme);
    tables::trouble(frame, trouble, &model.seconds, theme);
}

/// Divides a row of panels in two.
fn halves(area: Rect) -> [Rect; 2] {
    Layout::horizontal([Constraint::Fill(1); 2])
        .spacing(2)
        .areas(area)
}

fn heading(frame: &mut Frame, area: Rect, model: &Model, theme: Theme) {
    let address = &model.address;
    if let Link::Gone(reason) = &model.link {
        let reason = printable(reason);
        let text = format!(" no answer from {address}, trying again (q quits): {reason}");
        frame.render_widget(Line::from(text).style(theme.alarm()), area);
        return;
    }
    let version = model.version.as_deref().map(printable).unwrap_or_default();
    let mut left = vec![
        Span::styled(format!("globalcounter {version}"), theme.title()),
        Span::raw(format!("  {address}")),
    ];
    let mut right = vec![];
    if let Some(now) = model.now() {
        left.push(Span::raw(format!("  up {}", age(now.uptime_seconds))));
        let style = if now.state == "ready" {
            theme.good()
        } else {
            theme.alarm()
        };
        right.push(Span::styled(printable(&now.state), style));
    }
    right.push(Span::styled("  q quits", theme.faint()));
    let right = Line::from(right).right_aligned();
    let width = (right.width() as u16).min(area.width);
    let [start, end] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(width)]).areas(area);
    frame.render_widget(Line::from(left), start);
    frame.render_widget(right, end);
}
