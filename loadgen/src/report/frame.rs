//! The frame of an HTML page that needs nothing else: no scripts, no fonts, no network.

use std::fmt::Write;

use anyhow::Result;

use super::plot::{Axis, Line, key, svg};
use super::units::bytes;
use crate::observe::Environment;

/// The style, and the placeholders to fill in.
const FRAME: &str = include_str!("page.html");

/// Returns the whole page. `title` and `load` are text, `body` is HTML.
pub(crate) fn frame(title: &str, load: &str, body: &str, here: &Environment) -> String {
    FRAME
        .replace("{{title}}", &escape(title))
        .replace("{{load}}", &escape(load))
        .replace("{{body}}", body)
        .replace("{{environment}}", &environment(here))
}

/// Adds a plot with its title and legend to `out`.
///
/// # Errors
///
/// The plot cannot be drawn.
pub(crate) fn plot(
    title: &str,
    x: Axis,
    y: Axis,
    lines: &[Line<'_>],
    out: &mut String,
) -> Result<()> {
    let _ = writeln!(
        out,
        "<h2>{}</h2>\n<p class=\"key\">{}</p>\n{}",
        escape(title),
        key(lines),
        svg(x, y, lines)?
    );
    Ok(())
}

/// Makes text safe to stand in HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn environment(here: &Environment) -> String {
    let line = format!(
        "{} · {} CPUs · {} of memory · Linux {} · {} · loadgen {}",
        here.processor,
        here.processors,
        bytes(here.memory),
        here.kernel,
        here.date,
        here.version
    );
    format!(
        "{}<br><code>{}</code>",
        escape(&line),
        escape(&here.command)
    )
}
