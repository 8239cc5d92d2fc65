//! The results of a tuning as an HTML page.

use std::fmt::Write;

use anyhow::Result;

use super::results::{Sample, SettingResult, Tuning};
use super::table::{by_command, notes, settings};
use crate::report::{Axis, Line, escape, frame, grouped, plot, sentence};
use crate::stats::median;

/// A kind of measurement to plot.
struct Figure {
    title: String,
    axis: Axis,
    samples: fn(&SettingResult) -> &[Sample],
    of: fn(&Sample) -> f64,
}

/// Returns the whole page.
///
/// # Errors
///
/// A plot cannot be drawn.
pub(super) fn page(tuning: &Tuning) -> Result<String> {
    let mut body = String::new();
    for (command, found) in by_command(tuning) {
        let _ = writeln!(body, "<pre>{}</pre>\n<ul>", escape(command));
        for found in found {
            let goal = escape(&found.goal.name(tuning.rate));
            let _ = writeln!(body, "<li><b>{goal}</b>: {}</li>", escape(&found.answer));
        }
        body.push_str("</ul>\n");
    }
    for figure in figures(tuning.rate) {
        draw(tuning, &figure, &mut body)?;
    }
    body.push_str("<h2>In figures</h2>\n<pre>");
    body.push_str(&escape(&settings(tuning)));
    body.push_str("</pre>\n");
    body.push_str(
        "<p class=\"note\">In the plots, lines are medians and dots are measurements.</p>\n",
    );
    for note in notes(tuning) {
        let _ = writeln!(body, "<p class=\"note\">{}</p>", escape(&note));
    }
    let load = format!("{} · {}", tuning.load.target, sentence(&tuning.load));
    let title = "globalcounter: shards under this load";
    Ok(frame(title, &load, &body, &tuning.environment))
}

fn figures(rate: f64) -> [Figure; 3] {
    let rate = grouped(rate as u64);
    [
        Figure {
            title: "Requests per second, closed loop".to_owned(),
            axis: Axis::Rate,
            samples: |result| &result.closed,
            of: |sample| sample.rate,
        },
        Figure {
            title: format!("p99 at {rate} requests per second"),
            axis: Axis::Latency,
            samples: |result| &result.open,
            of: |sample| sample.p99,
        },
        Figure {
            title: format!("CPU time per request at {rate} requests per second"),
            axis: Axis::CpuTime,
            samples: |result| &result.open,
            of: |sample| sample.nanos_per_request,
        },
    ]
}

/// Draws a figure by the number of shards: a line for each variant of the settings.
fn draw(tuning: &Tuning, figure: &Figure, out: &mut String) -> Result<()> {
    let mut variants: Vec<(String, Vec<&SettingResult>)> = Vec::new();
    for result in tuning
        .settings
        .iter()
        .filter(|result| result.failed.is_none())
    {
        let name = match result.setting.variant() {
            words if words.is_empty() => "defaults".to_owned(),
            words => words.join(", "),
        };
        match variants.iter_mut().find(|(known, _)| *known == name) {
            Some((_, results)) => results.push(result),
            None => variants.push((name, vec![result])),
        }
    }
    let lines: Vec<Line<'_>> = variants
        .iter()
        .enumerate()
        .map(|(number, (name, results))| line(name, number, results, figure))
        .collect();
    plot(&figure.title, Axis::Shards, figure.axis, &lines, out)
}

fn line<'a>(name: &'a str, number: usize, results: &[&SettingResult], figure: &Figure) -> Line<'a> {
    /// How far the dots of the next variant are to the right, so that they do not cover one another.
    const NEXT: f64 = 1.02;
    let mut line = Line {
        name,
        points: Vec::new(),
        dots: Vec::new(),
    };
    for result in results {
        let values = (figure.samples)(result).iter().map(figure.of);
        let values: Vec<f64> = values.collect();
        let shards = f64::from(result.setting.shards) * NEXT.powi(number as i32);
        line.dots
            .extend(values.iter().map(|&value| (shards, value)));
        if let Some(middle) = median(values) {
            line.points.push((shards, middle));
        }
    }
    line
}
