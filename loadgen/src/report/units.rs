//! Formats numbers and their units for people.

/// Formats a number with its thousands separated.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Formats microseconds, in the unit that reads best.
pub(crate) fn duration(micros: f64) -> String {
    if micros < 1_000.0 {
        format!("{micros:.1} µs")
    } else if micros < 1_000_000.0 {
        format!("{:.2} ms", micros / 1e3)
    } else {
        format!("{:.2} s", micros / 1e6)
    }
}

/// Formats nanoseconds of CPU time, in the unit that reads best.
pub(crate) fn cpu_time(nanos: f64) -> String {
    if nanos < 1_000.0 {
        format!("{nanos:.0} ns")
    } else {
        format!("{:.2} µs", nanos / 1e3)
    }
}

/// Formats bytes, in the unit that reads best.
pub(crate) fn bytes(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes < 1024.0 {
        format!("{mebibytes:.1} MiB")
    } else {
        format!("{:.1} GiB", mebibytes / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(12_345_678), "12,345,678");
        assert_eq!(duration(12.34), "12.3 µs");
        assert_eq!(duration(200_000.0), "200.00 ms");
        assert_eq!(duration(2_500_000.0), "2.50 s");
        assert_eq!(cpu_time(64.6), "65 ns");
        assert_eq!(cpu_time(1_843.0), "1.84 µs");
        assert_eq!(bytes(3 << 19), "1.5 MiB");
        assert_eq!(bytes(3 << 29), "1.5 GiB");
    }
}
