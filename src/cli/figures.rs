//! How numbers, times and topics are written for people, in the same way as on the page.

/// Writes a number with three digits and the unit that fits.
fn with_unit(mut number: f64, units: &[&str], base: f64) -> String {
    let mut unit = 0;
    // 999.6 would be written as 1000.
    while number.abs() >= base * 0.9995 && unit + 1 < units.len() {
        number /= base;
        unit += 1;
    }
    let number = if unit == 0 && number.fract() == 0.0 {
        format!("{number:.0}")
    } else {
        three_digits(number)
    };
    match units[unit] {
        "" => number,
        unit => format!("{number} {unit}"),
    }
}

fn three_digits(number: f64) -> String {
    let decimals = match number.abs() {
        size if size < 9.995 => 2,
        size if size < 99.95 => 1,
        _ => 0,
    };
    format!("{number:.decimals$}")
}

/// Writes a count or a rate: `12.3`, `612`, `4.12 k`.
pub(super) fn count(number: f64) -> String {
    let tenths = (number * 10.0).round() / 10.0;
    if tenths >= 999.95 {
        with_unit(number, &["", "k", "M", "G", "T"], 1000.0)
    } else if tenths.fract() == 0.0 {
        format!("{tenths:.0}")
    } else {
        format!("{tenths:.1}")
    }
}

/// Writes a number of bytes: `12.1 MiB`.
pub(super) fn bytes(number: f64) -> String {
    with_unit(number.round(), &["B", "KiB", "MiB", "GiB", "TiB"], 1024.0)
}

/// Writes all digits of a number: `10,000`.
pub(super) fn whole(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes all digits of a number of less than six, else three of them.
pub(super) fn amount(number: u64) -> String {
    if number < 100_000 {
        whole(number)
    } else {
        count(number as f64)
    }
}

/// Writes a part of a whole, 0 to 1, as a percentage.
pub(super) fn percent(part: f64) -> String {
    let decimals = usize::from(part < 0.1);
    format!("{:.decimals$} %", part * 100.0)
}

/// Writes a time in seconds: `81.2 µs`. A time that was not measured is a dash.
pub(super) fn time(seconds: Option<f64>) -> String {
    match seconds {
        None => "–".to_owned(),
        Some(seconds) if seconds < 999.5e-9 => format!("{:.0} ns", seconds * 1e9),
        Some(seconds) if seconds < 999.5e-6 => format!("{} µs", three_digits(seconds * 1e6)),
        Some(seconds) if seconds < 0.9995 => format!("{} ms", three_digits(seconds * 1e3)),
        Some(seconds) => format!("{} s", three_digits(seconds)),
    }
}

/// Writes an age in seconds with its two greatest units: `3 min 2 s`.
pub(super) fn age(seconds: u64) -> String {
    let parts = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let Some(at) = parts.iter().position(|(length, _)| seconds >= *length) else {
        return "0 s".to_owned();
    };
    let (length, unit) = parts[at];
    let first = format!("{} {unit}", seconds / length);
    match parts.get(at + 1) {
        Some((next, unit)) if seconds % length >= *next => {
            format!("{first} {} {unit}", seconds % length / next)
        }
        _ => first,
    }
}

/// Escapes the characters of a peer's text that a terminal would obey or not show: control characters
/// and those that change the direction of text.
pub(super) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\'' => printable.push(character),
            _ => printable.extend(character.escape_debug()),
        }
    }
    printable
}

/// Writes a topic; the empty one gets a name.
pub(super) fn topic(topic: &str) -> String {
    match topic {
        "" => "(empty)".to_owned(),
        topic => printable(topic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        for (number, text) in [
            (0.0, "0"),
            (0.04, "0"),
            (3.25, "3.3"),
            (612.0, "612"),
            (999.94, "999.9"),
            (999.96, "1.00 k"),
            (4_123.0, "4.12 k"),
            (999_600.0, "1.00 M"),
            (20_000_000.0, "20.0 M"),
        ] {
            assert_eq!(count(number), text, "{number}");
        }
        for (number, text) in [
            (0.0, "0 B"),
            (1000.0, "1000 B"),
            (1024.0, "1.00 KiB"),
            (33_554_432.0, "32.0 MiB"),
        ] {
            assert_eq!(bytes(number), text, "{number}");
        }
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (12_345_678, "12,345,678"),
        ] {
            assert_eq!(whole(number), text);
        }
        assert_eq!(percent(0.012_34), "1.2 %");
        assert_eq!(percent(0.5), "50 %");
    }

    #[test]
    fn times_have_the_unit_that_fits() {
        for (seconds, text) in [
            (850e-9, "850 ns"),
            (999.6e-9, "1.00 µs"),
            (81.23e-6, "81.2 µs"),
            (999.6e-6, "1.00 ms"),
            (0.25, "250 ms"),
            (1.0, "1.00 s"),
        ] {
            assert_eq!(time(Some(seconds)), text);
        }
        assert_eq!(time(None), "–");
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (182, "3 min 2 s"),
            (86_400, "1 d"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(age(seconds), text);
        }
    }

    #[test]
    fn a_topic_cannot_command_the_terminal() {
        let hostile = "a\u{1b}[31mb\u{7}\r\n\t\u{9b}2J\u{202e}\u{200f}\\";
        let shown = topic(hostile);
        assert_eq!(shown, r"a\u{1b}[31mb\u{7}\r\n\t\u{9b}2J\u{202e}\u{200f}\\");
        assert_eq!(topic("it's \"ж🎉\""), "it's \"ж🎉\"");
        assert_eq!(topic(""), "(empty)");
    }
}
