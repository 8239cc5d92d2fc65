//! Plots as SVG elements of a page: transparent, in colours that are readable on light and dark, with
//! text in the page's own colour.

use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

use super::units::{cpu_time, grouped};

const WIDTH: u32 = 760;
const HEIGHT: u32 = 300;

/// The grid's grey, halfway between light and dark.
const GRID: RGBColor = RGBColor(128, 128, 128);

/// The colours of a plot's lines, in order. People who cannot tell red from green can tell them apart.
const COLOURS: [RGBColor; 4] = [
    RGBColor(0x33, 0x8a, 0xe6),
    RGBColor(0xe6, 0x8a, 0x1f),
    RGBColor(0xc0, 0x4f, 0xb0),
    RGBColor(0x00, 0x9e, 0x73),
];

/// A line of a plot.
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    pub(crate) points: Vec<(f64, f64)>,
    /// Single measurements, drawn as dots beside the line.
    pub(crate) dots: Vec<(f64, f64)>,
}

/// What an axis measures, which decides how it is divided and labelled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Axis {
    Seconds,
    /// Requests per second.
    Rate,
    /// Nanoseconds of CPU time.
    CpuTime,
    /// A number of shards on a logarithmic scale: each gridline is twice the one before.
    Shards,
    /// Microseconds on a logarithmic scale: each gridline is ten times the one before.
    Latency,
    /// Percentiles on a logarithmic scale: each additional nine takes the same space.
    Percentile,
}

impl Axis {
    /// Returns the position of a value on the axis.
    fn place(self, value: f64) -> f64 {
        match self {
            Self::Seconds | Self::Rate | Self::CpuTime => value,
            Self::Shards => value.max(1.0).log2(),
            Self::Latency => value.max(0.1).log10(),
            Self::Percentile => -(1.0 - value.min(99.9999) / 100.0).log10(),
        }
    }

    /// Returns the label for a position.
    fn label(self, place: f64) -> String {
        match self {
            Self::Seconds => format!("{place} s"),
            Self::Rate => grouped(place as u64),
            Self::CpuTime => cpu_time(place),
            Self::Shards if place == 0.0 => "1 shard".to_owned(),
            Self::Shards => format!("{} shards", place.exp2()),
            Self::Latency => {
                let micros = 10f64.powf(place);
                match place {
                    ..3.0 => format!("{micros} µs"),
                    ..6.0 => format!("{} ms", micros / 1e3),
                    _ => format!("{} s", micros / 1e6),
                }
            }
            Self::Percentile => {
                let nines = place.round().max(0.0) as usize;
                let text = format!(
                    "{:.*}",
                    nines.saturating_sub(2),
                    100.0 - 100.0 * 0.1f64.powf(place)
                );
                format!("{text}%")
            }
        }
    }

    fn is_logarithmic(self) -> bool {
        matches!(self, Self::Latency | Self::Percentile | Self::Shards)
    }

    /// Returns the range of the axis for these values.
    fn range(self, values: impl Iterator<Item = f64>) -> Marked {
        let places: Vec<f64> = values.map(|value| self.place(value)).collect();
        let least = places.iter().copied().reduce(f64::min).unwrap_or(0.0);
        let most = places.iter().copied().fold(0.0, f64::max);
        let (from, to) = match self {
            Self::Latency => (least.floor(), most.ceil().max(least.floor() + 1.0)),
            Self::Percentile => (0.0, most.max(1.0)),
            Self::Seconds => (0.0, most.max(0.1)),
            Self::Rate | Self::CpuTime => (0.0, most.max(1.0) * 1.05),
            // Points at the edges would lie on the frame.
            Self::Shards => (least - 0.2, most.max(least + 1.0) + 0.2),
        };
        Marked {
            axis: self,
            from,
            to,
        }
    }
}

/// An axis with its range.
struct Marked {
    axis: Axis,
    from: f64,
    to: f64,
}

impl Ranged for Marked {
    type FormatOption = plotters::coord::ranged1d::NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, limit: (i32, i32)) -> i32 {
        let share = (place - self.from) / (self.to - self.from);
        limit.0 + (f64::from(limit.1 - limit.0) * share).round() as i32
    }

    fn key_points<Hint: plotters::coord::ranged1d::KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if self.axis.is_logarithmic() {
            let (first, last) = (self.from.ceil() as i32, self.to.floor() as i32);
            return (first..=last).map(f64::from).collect();
        }
        let linear: plotters::coord::types::RangedCoordf64 = (self.from..self.to).into();
        linear.key_points(hint)
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Marked {
    fn format_ext(&self, place: &f64) -> String {
        self.axis.label(*place)
    }
}

/// Draws lines as an SVG element. A line of fewer than two points becomes a dot.
///
/// # Errors
///
/// The plot cannot be drawn.
pub(super) fn svg(x: Axis, y: Axis, lines: &[Line<'_>]) -> Result<String> {
    let mut out = String::new();
    draw(x, y, lines, &mut out).map_err(|error| anyhow!("drawing a plot: {error}"))?;
    Ok(out)
}

fn draw(
    x: Axis,
    y: Axis,
    lines: &[Line<'_>],
    out: &mut String,
) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(out, (WIDTH, HEIGHT)).into_drawing_area();
    let points = || {
        lines
            .iter()
            .flat_map(|line| line.points.iter().chain(&line.dots))
    };
    let mut chart = ChartBuilder::on(&root)
        .margin(8)
        .margin_right(24)
        .x_label_area_size(28)
        .y_label_area_size(76)
        .build_cartesian_2d(
            x.range(points().map(|point| point.0)),
            y.range(points().map(|point| point.1)),
        )?;
    chart
        .configure_mesh()
        .axis_style(GRID)
        .bold_line_style(GRID.mix(0.3))
        .light_line_style(TRANSPARENT)
        .x_labels(8)
        .y_labels(6)
        .label_style(("sans-serif", 12))
        .draw()?;
    for (line, &colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let placed = line.points.iter().map(|&(a, b)| (x.place(a), y.place(b)));
        if line.points.len() < 2 {
            chart.draw_series(placed.map(|point| Circle::new(point, 3, colour.filled())))?;
        } else {
            chart.draw_series(LineSeries::new(placed, colour.stroke_width(2)))?;
        }
        let dots = line.dots.iter().map(|&(a, b)| (x.place(a), y.place(b)));
        chart.draw_series(dots.map(|dot| Circle::new(dot, 3, colour.mix(0.5).filled())))?;
    }
    root.present()?;
    Ok(())
}

/// Returns the legend of the colours, as HTML.
pub(super) fn key(lines: &[Line<'_>]) -> String {
    let entry = |(line, colour): (&Line<'_>, &RGBColor)| {
        let RGBColor(red, green, blue) = colour;
        format!(
            "<span><i style=\"background:rgb({red},{green},{blue})\"></i>{}</span>",
            line.name
        )
    };
    lines
        .iter()
        .zip(COLOURS.iter().cycle())
        .map(entry)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_suit_their_axis() {
        assert_eq!(Axis::Latency.label(Axis::Latency.place(1_000.0)), "1 ms");
        assert_eq!(Axis::Latency.label(2.0), "100 µs");
        assert_eq!(Axis::Latency.label(7.0), "10 s");
        assert_eq!(
            Axis::Percentile.label(Axis::Percentile.place(99.9)),
            "99.9%"
        );
        assert_eq!(Axis::Percentile.label(0.0), "0%");
        assert_eq!(Axis::Percentile.label(1.0), "90%");
        assert_eq!(Axis::Percentile.label(4.0), "99.99%");
        assert_eq!(Axis::Rate.label(12_000.0), "12,000");
        assert_eq!(Axis::CpuTime.label(1_500.0), "1.50 µs");
        assert_eq!(Axis::Shards.label(Axis::Shards.place(4.0)), "4 shards");
        assert_eq!(Axis::Shards.label(0.0), "1 shard");
    }

    #[test]
    fn plots_of_anything_can_be_drawn() {
        let plots = [vec![], vec![(1.0, 10.0)], vec![(0.0, 0.0), (5.0, 3e6)]];
        for points in plots {
            for (x, y) in [
                (Axis::Seconds, Axis::Rate),
                (Axis::Percentile, Axis::Latency),
                (Axis::Shards, Axis::CpuTime),
            ] {
                let line = Line {
                    name: "line",
                    points: points.clone(),
                    dots: points.clone(),
                };
                let svg = svg(x, y, &[line]).unwrap();
                assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        }
    }
}
