//! The last minutes as rows of bars.

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Sparkline;

use super::panel::panel;
use super::theme::Theme;
use crate::admin::Sample;
use crate::cli::figures::{age, count, time};

/// How many seconds a bar may stand for. The first one with which all seconds fit is taken.
const STEPS: [u64; 12] = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 30, 60];

/// The powers of ten below the greatest value that a logarithmic scale shows.
const DECADES: f64 = 3.0;

/// A panel with fewer columns has a short title.
const LONG_TITLE: u16 = 54;

/// How high a bar is.
#[derive(Debug, Clone, Copy)]
enum Scale {
    Linear,
    /// One slow second would make all others invisible otherwise.
    Logarithmic,
}

impl Scale {
    /// Returns the height of a value, 0 to 1, if `most` has the height 1.
    fn height(self, value: f64, most: f64) -> f64 {
        match self {
            Self::Linear => value / most,
            Self::Logarithmic => (1.0 + (value / most).log10() / DECADES).max(0.0),
        }
    }
}

pub(super) fn requests(frame: &mut Frame, area: Rect, seconds: &VecDeque<Sample>, theme: Theme) {
    let values = seconds
        .iter()
        .map(|second| (second.time, Some(second.requests.all)));
    let bars = Bars::new(values, area.width);
    let title = format!("Requests/s, {}", bars.about(count));
    let area = panel(frame, area, &title, theme);
    bars.draw(frame, area, Scale::Linear, theme.requests());
}

pub(super) fn latency(frame: &mut Frame, area: Rect, seconds: &VecDeque<Sample>, theme: Theme) {
    let values = seconds
        .iter()
        .map(|second| (second.time, second.latency.p99));
    let bars = Bars::new(values, area.width);
    let name = match area.width {
        width if width < LONG_TITLE => "p99 (log)",
        _ => "Latency p99 (logarithmic)",
    };
    let title = format!("{name}, {}", bars.about(|seconds| time(Some(seconds))));
    let area = panel(frame, area, &title, theme);
    bars.draw(frame, area, Scale::Logarithmic, theme.latency());
}

/// The greatest value of each step of time, the newest last.
#[derive(Debug, PartialEq)]
struct Bars {
    /// How many seconds a bar stands for.
    step: u64,
    /// How many seconds all of them stand for.
    span: u64,
    values: Vec<Option<f64>>,
}

impl Bars {
    /// Makes at most `width` bars of values at times, in seconds and increasing. Steps begin at multiples
    /// of their length, so that a bar does not change while it moves to the left.
    fn new(values: impl Iterator<Item = (f64, Option<f64>)> + Clone, width: u16) -> Self {
        let mut bars = Self {
            step: 1,
            span: 0,
            values: Vec::new(),
        };
        let width = u64::from(width);
        let first = values.clone().next();
        let (Some((first, _)), Some((last, _))) = (first, values.clone().last()) else {
            return bars;
        };
        let number = |time: f64, step: u64| time.max(0.0) as u64 / step;
        let fits = |step: u64| number(last, step).saturating_sub(number(first, step)) < width;
        let step = STEPS.into_iter().find(|step| fits(*step));
        bars.step = step.unwrap_or(STEPS[STEPS.len() - 1]);
        bars.span = (last - first).max(0.0).round() as u64 + 1;
        let last = number(last, bars.step);
        let first = number(first, bars.step).max((last + 1).saturating_sub(width));
        // Empty if the clock was set back.
        bars.values = vec![None; (last + 1).saturating_sub(first) as usize];
        for (time, value) in values {
            let bar = number(time, bars.step).checked_sub(first);
            if let Some(bar) = bar.and_then(|bar| bars.values.get_mut(bar as usize)) {
                // `None` is less than any value.
                *bar = value.into_iter().chain(*bar).reduce(f64::max);
            }
        }
        bars
    }

    fn most(&self) -> f64 {
        self.values.iter().flatten().copied().fold(0.0, f64::max)
    }

    /// Tells which time the bars show, and the greatest value.
    fn about(&self, format: impl Fn(f64) -> String) -> String {
        let span = age(self.span.min(self.step * self.values.len() as u64));
        format!("{span}, max {}", format(self.most()))
    }

    fn draw(&self, frame: &mut Frame, area: Rect, scale: Scale, style: Style) {
        // A bar has eight steps a row.
        let steps = f64::from(area.height.max(1)) * 8.0;
        let most = self.most();
        let missing = usize::from(area.width).saturating_sub(self.values.len());
        let heights = self.values.iter().map(|value| match value {
            // What is not 0 can be seen.
            Some(value) if *value > 0.0 => {
                Some(((scale.height(*value, most) * steps) as u64).max(1))
            }
            value => value.map(|_| 0),
        });
        // The newest is at the right edge.
        let heights = std::iter::repeat_n(None, missing).chain(heights);
        let bars = Sparkline::default()
            .data(heights)
            .max(steps as u64)
            .style(style);
        frame.render_widget(bars, area);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_get_longer_steps_until_all_seconds_fit() {
        let seconds = |n: u32| (0..n).map(|i| (f64::from(i) + 0.5, Some(f64::from(i))));
        let bars = Bars::new(seconds(3), 3);
        assert_eq!(bars.step, 1);
        assert_eq!(bars.values, [Some(0.0), Some(1.0), Some(2.0)]);
        let bars = Bars::new(seconds(5), 3);
        assert_eq!(bars.step, 2);
        assert_eq!(bars.values, [Some(1.0), Some(3.0), Some(4.0)]);
        assert_eq!((bars.most(), bars.span), (4.0, 5));
        // Not even the longest steps fit: the newest ones are shown.
        let bars = Bars::new(seconds(600), 2);
        assert_eq!(bars.values, [Some(539.0), Some(599.0)]);
    }

    #[test]
    fn a_logarithmic_scale_shows_three_powers_of_ten() {
        let height = |value| (Scale::Logarithmic.height(value, 1.0) * 100.0).round();
        assert_eq!([1.0, 0.1, 0.001, 1e-9].map(height), [100.0, 67.0, 0.0, 0.0]);
        assert_eq!(Scale::Linear.height(1.0, 4.0), 0.25);
    }

    #[test]
    fn seconds_without_a_value_are_gaps() {
        let values = [(1.0, Some(5.0)), (2.0, None), (4.0, Some(0.0))];
        let bars = Bars::new(values.into_iter(), 10);
        assert_eq!(bars.values, [Some(5.0), None, None, Some(0.0)]);
        assert_eq!(Bars::new(std::iter::empty(), 10).values, []);
        let set_back = [(100.0, Some(1.0)), (3.0, Some(2.0))];
        assert_eq!(Bars::new(set_back.into_iter(), 10).values, []);
    }
}
