//! Parts of the text protocols: lines and decimal numbers.

use super::interface::InvalidReply;

/// Returns the line that `input` begins with, without its CR LF, and the start of the next line.
/// `None` if the line is not complete.
///
/// # Errors
///
/// The line has more than `limit` bytes.
pub(super) fn line(input: &[u8], limit: usize) -> Result<Option<(&[u8], usize)>, InvalidReply> {
    match input
        .windows(2)
        .take(limit)
        .position(|pair| pair == b"\r\n")
    {
        Some(end) => Ok(Some((&input[..end], end + 2))),
        None if input.len() > limit => Err(InvalidReply::at(input)),
        None => Ok(None),
    }
}

/// Parses a number of decimal digits and nothing else.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, &digit| {
        let value = u64::from(digit.wrapping_sub(b'0'));
        if value > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read() {
        for n in [0, 7, 10, 12_345, u64::MAX] {
            assert_eq!(number(n.to_string().as_bytes()), Some(n));
        }
        for text in [&b""[..], b"-1", b"1 ", b"18446744073709551616"] {
            assert_eq!(number(text), None);
        }
    }
}
