//! What was measured, as a table.

use std::io::{self, Write};

use crate::load::Measured;

/// Prints the rate and the latencies in microseconds.
pub(crate) fn print(measured: &Measured) -> io::Result<()> {
    let latency = &measured.latency;
    let seconds = measured.elapsed.as_secs_f64();
    let mut out = io::stdout().lock();
    writeln!(out, "requests   {:>12}", latency.len())?;
    writeln!(out, "per second {:>12.0}", latency.len() as f64 / seconds)?;
    for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)] {
        let micros = latency.value_at_quantile(quantile) as f64 / 1e3;
        writeln!(out, "{name:<10} {micros:>12.1} µs")?;
    }
    writeln!(out, "max        {:>12.1} µs", latency.max() as f64 / 1e3)
}
