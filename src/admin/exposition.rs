//! Writes metrics as text, in the format of Prometheus (version 0.0.4) or of OpenMetrics (1.0.0). Both
//! are the same but for the names of counters, the units and the last line:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::{Display, Write};

/// Which of the two formats is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    /// Returns the format that a request's `Accept` header asks for.
    pub(super) fn accepted(accept: &str) -> Self {
        match accept.contains("application/openmetrics-text") {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    /// Returns the value of `Content-Type`.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The text so far.
#[derive(Debug)]
pub(super) struct Exposition {
    format: Format,
    text: String,
}

/// A summary, to which those of some values are added.
pub(super) struct Summary<'a> {
    all: &'a mut Exposition,
    name: String,
}

/// A metric, to which samples are added.
pub(super) struct Family<'a> {
    all: &'a mut Exposition,
    /// The name of its samples.
    name: String,
}

impl Exposition {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            text: String::new(),
        }
    }

    /// Begins a counter: a number that only grows while the process runs. `name` is without the
    /// `_total` at its end.
    pub(super) fn counter(&mut self, name: &str, help: &str) -> Family<'_> {
        let total = format!("{name}_total");
        let family = match self.format {
            Format::Prometheus => &total,
            Format::OpenMetrics => name,
        };
        self.begin(family, "counter", help);
        Family {
            all: self,
            name: total,
        }
    }

    /// Begins a gauge: a number that may grow and shrink.
    pub(super) fn gauge(&mut self, name: &str, help: &str) -> Family<'_> {
        self.begin(name, "gauge", help);
        Family {
            all: self,
            name: name.to_owned(),
        }
    }

    /// Adds a histogram without labels. `within` has bounds, increasing, each with the number of values
    /// up to it; `count` and `sum` are of all values.
    pub(super) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        within: &[(f64, u64)],
        count: u64,
        sum: f64,
    ) {
        self.begin(name, "histogram", help);
        for (bound, count) in within {
            let _ = writeln!(self.text, "{name}_bucket{{le=\"{bound}\"}} {count}");
        }
        let _ = writeln!(self.text, "{name}_bucket{{le=\"+Inf\"}} {count}");
        let _ = writeln!(self.text, "{name}_sum {sum}");
        let _ = writeln!(self.text, "{name}_count {count}");
    }

    /// Begins a summary: some quantiles of values, and how many there are.
    pub(super) fn summary(&mut self, name: &str, help: &str) -> Summary<'_> {
        self.begin(name, "summary", help);
        Summary {
            all: self,
            name: name.to_owned(),
        }
    }

    fn begin(&mut self, family: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {family} {}", escaped(help, false));
        let _ = writeln!(self.text, "# TYPE {family} {kind}");
    }

    /// Returns the whole text.
    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

impl Summary<'_> {
    /// Adds the quantiles, the number and the sum of values with this label.
    pub(super) fn values(
        &mut self,
        label: (&str, &str),
        quantiles: impl Iterator<Item = (f64, f64)>,
        count: u64,
        sum: f64,
    ) {
        for (quantile, value) in quantiles {
            let labels = [label, ("quantile", &*quantile.to_string())];
            self.family("").sample(&labels, value);
        }
        self.family("_sum").sample(&[label], sum);
        self.family("_count").sample(&[label], count);
    }

    fn family(&mut self, suffix: &str) -> Family<'_> {
        Family {
            name: format!("{}{suffix}", self.name),
            all: self.all,
        }
    }
}

impl Family<'_> {
    /// Adds the value of the metric without labels.
    pub(super) fn value(&mut self, value: impl Display) {
        self.sample(&[], value);
    }

    /// Adds the value of the metric with these labels.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        let text = &mut self.all.text;
        text.push_str(&self.name);
        for (i, (label, value)) in labels.iter().enumerate() {
            text.push(if i == 0 { '{' } else { ',' });
            let _ = write!(text, "{label}=\"{}\"", escaped(value, true));
        }
        if !labels.is_empty() {
            text.push('}');
        }
        let _ = writeln!(text, " {value}");
        self
    }
}

/// Returns a text in which backslashes and line ends, and in a label's value quotation marks, are
/// escaped.
fn escaped(text: &str, label: bool) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\n', "\\n");
    match label {
        true => escaped.replace('"', "\\\""),
        false => escaped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format) -> String {
        let mut all = Exposition::new(format);
        all.counter("requests", "Requests.")
            .sample(&[("dialect", "framed"), ("name", "a\"b\\c\nd")], 7)
            .sample(&[], 8);
        all.histogram("time", "Times.", &[(0.5, 1), (2.5, 3)], 4, 7.25);
        let quantiles = [(0.5, 1.5), (1.0, 2.0)].into_iter();
        all.summary("turn", "Turns.")
            .values(("worker", "0"), quantiles, 3, 4.5);
        all.gauge("seconds", "A line\nand \"another\".").value(0.5);
        all.finish()
    }

    #[test]
    fn both_formats_are_written_as_specified() {
        assert_eq!(
            written(Format::Prometheus),
            "# HELP requests_total Requests.\n\
             # TYPE requests_total counter\n\
             requests_total{dialect=\"framed\",name=\"a\\\"b\\\\c\\nd\"} 7\n\
             requests_total 8\n\
             # HELP time Times.\n\
             # TYPE time histogram\n\
             time_bucket{le=\"0.5\"} 1\n\
             time_bucket{le=\"2.5\"} 3\n\
             time_bucket{le=\"+Inf\"} 4\n\
             time_sum 7.25\n\
             time_count 4\n\
             # HELP turn Turns.\n\
             # TYPE turn summary\n\
             turn{worker=\"0\",quantile=\"0.5\"} 1.5\n\
             turn{worker=\"0\",quantile=\"1\"} 2\n\
             turn_sum{worker=\"0\"} 4.5\n\
             turn_count{worker=\"0\"} 3\n\
             # HELP seconds A line\\nand \"another\".\n\
             # TYPE seconds gauge\n\
             seconds 0.5\n"
        );
        assert_eq!(
            written(Format::OpenMetrics),
            "# HELP requests Requests.\n\
             # TYPE requests counter\n\
             requests_total{dialect=\"framed\",name=\"a\\\"b\\\\c\\nd\"} 7\n\
             requests_total 8\n\
             # HELP time Times.\n\
             # TYPE time histogram\n\
             time_bucket{le=\"0.5\"} 1\n\
             time_bucket{le=\"2.5\"} 3\n\
             time_bucket{le=\"+Inf\"} 4\n\
             time_sum 7.25\n\
             time_count 4\n\
             # HELP turn Turns.\n\
             # TYPE turn summary\n\
             turn{worker=\"0\",quantile=\"0.5\"} 1.5\n\
             turn{worker=\"0\",quantile=\"1\"} 2\n\
             turn_sum{worker=\"0\"} 4.5\n\
             turn_count{worker=\"0\"} 3\n\
             # HELP seconds A line\\nand \"another\".\n\
             # TYPE seconds gauge\n\
             seconds 0.5\n\
             # EOF\n"
        );
    }

    #[test]
    fn the_format_is_negotiated() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        for accept in ["", "*/*", "text/plain;version=0.0.4"] {
            assert_eq!(Format::accepted(accept), Format::Prometheus);
        }
    }
}
