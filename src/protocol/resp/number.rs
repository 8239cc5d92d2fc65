//! Decimal numbers in commands, parsed as Redis parses them.

/// Parses a whole number without sign, spaces or leading zeros, as Redis does.
#[must_use]
pub fn number(text: &[u8]) -> Option<u64> {
    match text {
        [b'0'] => Some(0),
        [b'1'..=b'9', ..] => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

/// Whether `text` is a number below 0.
pub(super) fn is_negative(text: &[u8]) -> bool {
    text.strip_prefix(b"-").and_then(number).is_some()
}

/// Parses a decimal number with a minus sign if it is below 0.
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-") {
        Some(digits) => number(digits).and_then(|n| 0i64.checked_sub_unsigned(n)),
        None => number(text).and_then(|n| n.try_into().ok()),
    }
}
