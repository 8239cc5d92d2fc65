//! Finds the arguments of one command in bytes: an array of strings, or a line of words.

use std::ops::Range;

use thiserror::Error;

use super::number::integer;
use super::{MAX_ARGUMENT, MAX_ARGUMENTS, MAX_COMMAND, MAX_INLINE};

/// The longest line that holds a length, in bytes: the first line of a command or an argument.
const MAX_LENGTH_LINE: usize = 32;

/// The positions of a command's arguments in the bytes it was decoded from. Reuse one value for all
/// commands: then decoding allocates nothing.
#[derive(Debug, Default)]
pub struct Arguments {
    spans: Vec<(u32, u32)>,
}

impl Arguments {
    /// Returns the number of arguments, including the command's name; 0 for an empty line, which
    /// needs no reply.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Returns whether there are no arguments.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Returns the position of argument `i`, relative to the first byte of the command.
    #[must_use]
    pub fn span(&self, i: usize) -> Range<usize> {
        let (start, end) = self.spans[i];
        start as usize..end as usize
    }

    /// Returns argument `i`; `command` holds the bytes of the command.
    #[must_use]
    pub fn at<'a>(&self, i: usize, command: &'a [u8]) -> &'a [u8] {
        &command[self.span(i)]
    }

    /// Frees memory that only few commands need, and clears the arguments if it does.
    pub fn trim(&mut self) {
        const KEEP: usize = 64;
        if self.spans.capacity() > KEEP {
            self.spans = Vec::new();
        }
    }

    fn push(&mut self, span: Range<usize>) {
        self.spans.push((span.start as u32, span.end as u32)); // below MAX_COMMAND
    }
}

/// How much of an incomplete command was decoded. It saves decoding a command of a megabyte from
/// its start each time that another byte arrives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The number of bytes decoded.
    at: usize,
    /// The number of arguments still missing.
    left: usize,
}

/// The bytes are not a command, so the start of the next command is unknown. The texts are those of
/// Redis, if it has one for the case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The number of arguments is not a number, or above [`MAX_ARGUMENTS`].
    #[error("invalid multibulk length")]
    ArrayLength,
    /// The length of an argument is not a number, negative, or above [`MAX_ARGUMENT`].
    #[error("invalid bulk length")]
    StringLength,
    /// The line with the number of arguments is too long.
    #[error("too big mbulk count string")]
    ArrayLine,
    /// The line with the length of an argument is too long.
    #[error("too big bulk count string")]
    StringLine,
    /// An argument does not begin with `$`.
    #[error("expected '$', got '{}'", .0.escape_ascii())]
    NoString(u8),
    /// An argument or a length is not followed by CR LF.
    #[error("expected CR LF")]
    NoLineEnd,
    /// An inline command is longer than [`MAX_INLINE`].
    #[error("too big inline request")]
    InlineLength,
    /// An inline command has an opening quote without a closing one, or a closing quote that no
    /// space follows.
    #[error("unbalanced quotes in request")]
    Quotes,
    /// A command is longer than [`MAX_COMMAND`].
    #[error("too big command")]
    CommandLength,
    /// The peer closed the connection inside a command.
    #[error("unexpected end of the connection inside a command")]
    BrokenOff,
    /// The rest of a command did not come in time.
    #[error("the rest of the command did not come in time")]
    TooSlow,
}

/// Finds the arguments of the command at the start of `input`, and returns the length of the
/// command in bytes; `None` if `input` ends inside the command. Pass [`Progress::default`] for a
/// new command. After `None`, pass the same `progress` again, with the same bytes and more after
/// them.
///
/// Words of a line may be quoted, as in `INCR "page \x41"`. They are rewritten in place, without
/// quotes and escapes. That is why `input` is mutable; nothing else writes to it.
///
/// # Errors
///
/// Returns [`ProtocolError`] if `input` does not start with a command.
#[inline(always)] // see `Session::next` of the server
pub fn decode(
    input: &mut [u8],
    progress: &mut Progress,
    arguments: &mut Arguments,
) -> Result<Option<usize>, ProtocolError> {
    match input.first() {
        None => Ok(None),
        Some(b'*') => decode_array(input, progress, arguments),
        Some(_) => decode_line(input, arguments),
    }
}

/// The same as [`decode`], for a command that is an array of strings: the form that programs send.
///
/// # Errors
///
/// Returns [`ProtocolError`] if `input` does not start with such a command.
pub fn decode_array(
    input: &[u8],
    progress: &mut Progress,
    arguments: &mut Arguments,
) -> Result<Option<usize>, ProtocolError> {
    arguments.spans.clear();
    let resumed = *progress != Progress::default();
    let Progress { mut at, mut left } = *progress;
    if !resumed {
        match array_length(input)? {
            Some((count, begin)) => (left, at) = (count, begin),
            None => return Ok(None),
        }
    }
    while left > 0 {
        let Some(span) = string(input, at)? else {
            *progress = Progress { at, left };
            return match input.len() > MAX_COMMAND {
                true => Err(ProtocolError::CommandLength),
                false => Ok(None),
            };
        };
        if span.end > MAX_COMMAND {
            return Err(ProtocolError::CommandLength);
        }
        at = span.end + 2;
        left -= 1;
        arguments.push(span);
    }
    *progress = Progress::default();
    if resumed {
        // This call found only the last arguments. The command is complete, so find all of them.
        return decode_array(input, progress, arguments);
    }
    Ok(Some(at))
}

/// Returns the number of arguments of the array at the start of `input`, and the position of the
/// first. Like Redis, it takes a number below 1 for a command without arguments: some clients send
/// one.
#[inline]
fn array_length(input: &[u8]) -> Result<Option<(usize, usize)>, ProtocolError> {
    if let [_, digit @ b'0'..=b'9', b'\r', b'\n', ..] = *input {
        return Ok(Some((usize::from(digit - b'0'), 4))); // nearly every command has fewer than ten
    }
    let Some((number, end)) = length_line(input, ProtocolError::ArrayLine)? else {
        return Ok(None);
    };
    match number {
        Some(count) if count <= MAX_ARGUMENTS as i64 => Ok(Some((count.max(0) as usize, end))),
        _ => Err(ProtocolError::ArrayLength),
    }
}

/// Returns the position of the content of the string that starts at `at`; `None` if `input` ends
/// inside it.
#[inline]
fn string(input: &[u8], at: usize) -> Result<Option<Range<usize>>, ProtocolError> {
    let rest = &input[at..];
    match rest.first() {
        None => return Ok(None),
        Some(b'$') => {}
        Some(&other) => return Err(ProtocolError::NoString(other)),
    }
    let (number, end) = match *rest {
        // Nearly every argument is shorter than a hundred bytes.
        [_, digit @ b'0'..=b'9', b'\r', b'\n', ..] => (Some(i64::from(digit - b'0')), 4),
        [_, tens @ b'0'..=b'9', ones @ b'0'..=b'9', b'\r', b'\n', ..] => (
            Some(i64::from(tens - b'0') * 10 + i64::from(ones - b'0')),
            5,
        ),
        _ => match length_line(rest, ProtocolError::StringLine)? {
            Some(line) => line,
            None => return Ok(None),
        },
    };
    let len = match number {
        Some(len @ 0..) if len <= MAX_ARGUMENT as i64 => len as usize,
        _ => return Err(ProtocolError::StringLength),
    };
    match rest.get(end + len..end + len + 2) {
        Some(b"\r\n") => Ok(Some(at + end..at + end + len)),
        Some(_) => Err(ProtocolError::NoLineEnd),
        None => Ok(None),
    }
}

/// Returns the number in the first line of `input`, after the byte for the kind, and the position
/// of the next line. Returns `Ok(None)` if `input` ends inside the line; the number is `None` if
/// the line holds none.
fn length_line(
    input: &[u8],
    too_long: ProtocolError,
) -> Result<Option<(Option<i64>, usize)>, ProtocolError> {
    let line = &input[..input.len().min(MAX_LENGTH_LINE)];
    let Some(end) = line.iter().position(|&byte| byte == b'\r') else {
        return match input.len() < MAX_LENGTH_LINE {
            true => Ok(None),
            false => Err(too_long),
        };
    };
    match input.get(end + 1) {
        None => Ok(None),
        Some(b'\n') => Ok(Some((integer(&input[1..end]), end + 2))),
        Some(_) => Err(ProtocolError::NoLineEnd),
    }
}

/// Finds the arguments of an inline command, a line of words as a person types it in netcat.
fn decode_line(
    input: &mut [u8],
    arguments: &mut Arguments,
) -> Result<Option<usize>, ProtocolError> {
    arguments.spans.clear();
    let within = input.len().min(MAX_INLINE);
    let Some(end) = input[..within].iter().position(|&byte| byte == b'\n') else {
        return match input.len() < MAX_INLINE {
            true => Ok(None),
            false => Err(ProtocolError::InlineLength),
        };
    };
    let line = &mut input[..end];
    let mut at = 0;
    while let Some(start) = skip_spaces(line, at) {
        let (word, next) = unquote(line, start).ok_or(ProtocolError::Quotes)?;
        arguments.push(word);
        at = next;
    }
    Ok(Some(end + 1))
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\0' | 0x0b | 0x0c)
}

/// Returns the position of the next word.
fn skip_spaces(line: &[u8], at: usize) -> Option<usize> {
    let word = line[at..].iter().position(|&byte| !is_space(byte))?;
    Some(at + word)
}

/// Removes the quotes and escapes of the word at `start`, in place. Returns the word's position
/// afterwards and the position of the text after it; `None` if its quotes are unbalanced.
fn unquote(line: &mut [u8], start: usize) -> Option<(Range<usize>, usize)> {
    let (mut read, mut written) = (start, start);
    let mut quote = None;
    while let Some(&byte) = line.get(read) {
        let (value, len) = match quote {
            None if is_space(byte) => break,
            None if matches!(byte, b'"' | b'\'') => {
                quote = Some(byte);
                read += 1;
                continue;
            }
            None => (byte, 1),
            Some(mark) if byte == mark => {
                // Only a space, or the end of the line, may follow a closing quote.
                return match line.get(read + 1) {
                    Some(&next) if !is_space(next) => None,
                    _ => Some((start..written, read + 1)),
                };
            }
            Some(mark) => escaped(&line[read..], mark),
        };
        line[written] = value;
        written += 1;
        read += len;
    }
    quote.is_none().then_some((start..written, read))
}

/// Returns the first byte that `text`, quoted with `mark`, stands for, and how many bytes of `text`
/// encode it.
fn escaped(text: &[u8], mark: u8) -> (u8, usize) {
    let hex = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    match (mark, text) {
        (b'\'', [b'\\', b'\'', ..]) => (b'\'', 2),
        (b'"', [b'\\', b'x', high, low, ..]) => match (hex(*high), hex(*low)) {
            (Some(high), Some(low)) => (high << 4 | low, 4),
            _ => (b'x', 2),
        },
        (b'"', [b'\\', letter, ..]) => match letter {
            b'n' => (b'\n', 2),
            b'r' => (b'\r', 2),
            b't' => (b'\t', 2),
            b'b' => (0x08, 2),
            b'a' => (0x07, 2),
            other => (*other, 2),
        },
        _ => (text[0], 1),
    }
}
