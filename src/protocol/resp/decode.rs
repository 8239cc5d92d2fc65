//! From bytes to the arguments of one command: an array of strings, or a line of words.

use std::ops::Range;

use thiserror::Error;

use super::number::integer;
use super::{MAX_ARGUMENT, MAX_ARGUMENTS, MAX_COMMAND, MAX_INLINE};

/// The longest line that says a length, in bytes: the first of a command or an argument.
const MAX_LENGTH_LINE: usize = 32;

/// Where the arguments of a command are, in the bytes that it was read from. Used again and again,
/// so that reading a command allocates nothing.
#[derive(Debug, Default)]
pub struct Arguments {
    spans: Vec<(u32, u32)>,
}

impl Arguments {
    /// How many they are, the command's name included. None: an empty line, which asks nothing.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Where one of them is, counted from the command's first byte.
    #[must_use]
    pub fn span(&self, i: usize) -> Range<usize> {
        let (start, end) = self.spans[i];
        start as usize..end as usize
    }

    /// One of them, out of the bytes of the command.
    #[must_use]
    pub fn at<'a>(&self, i: usize, command: &'a [u8]) -> &'a [u8] {
        &command[self.span(i)]
    }

    /// Forgets them, and frees room that few commands need.
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

/// How far a command that breaks off has been read, so that one of a megabyte that comes byte by
/// byte is not read from its start each time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many bytes were read.
    at: usize,
    /// How many arguments begin behind them.
    left: usize,
}

/// The bytes are no command, and where the next one begins is unknown. The words are those of Redis,
/// where it has any for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The number of arguments is none, or over [`MAX_ARGUMENTS`].
    #[error("invalid multibulk length")]
    ArrayLength,
    /// An argument's length is none, or over [`MAX_ARGUMENT`].
    #[error("invalid bulk length")]
    StringLength,
    /// A line that should say a number of arguments does not end.
    #[error("too big mbulk count string")]
    ArrayLine,
    /// A line that should say a length does not end.
    #[error("too big bulk count string")]
    StringLine,
    /// An argument does not begin like one.
    #[error("expected '$', got '{}'", .0.escape_ascii())]
    NoString(u8),
    /// What follows an argument, or a length, is not CR LF.
    #[error("expected CR LF")]
    NoLineEnd,
    /// An inline command is over [`MAX_INLINE`].
    #[error("too big inline request")]
    InlineLength,
    /// An inline command has a quotation mark without its other half, or something right behind it.
    #[error("unbalanced quotes in request")]
    Quotes,
    /// A command is over [`MAX_COMMAND`].
    #[error("too big command")]
    CommandLength,
    /// The peer ended the connection inside a command.
    #[error("unexpected end of the connection inside a command")]
    BrokenOff,
}

/// Finds the arguments of the command that `input` begins with, and returns how many bytes it takes;
/// `None` where it breaks off. Then `progress` remembers how far, for a later call with more bytes
/// behind the same ones; [`Progress::default`] begins a command.
///
/// A line of words may have some in quotes, as in `INCR "page \x41"`: those are rewritten where they
/// are, without their quotes and escapes. That is why `input` is mutable; nothing else writes to it.
///
/// # Errors
///
/// [`ProtocolError`] where no command begins here.
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

/// As [`decode`], of a command that is an array of strings: what programs send.
///
/// # Errors
///
/// [`ProtocolError`] where no such command begins here.
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
        // Only the last ones were found now, but it is whole.
        return decode_array(input, progress, arguments);
    }
    Ok(Some(at))
}

/// The number of arguments of the array that `input` begins with, and where they begin. Redis takes
/// a number below 1 for a command without arguments, and so do clients that send one to be polite.
#[inline]
fn array_length(input: &[u8]) -> Result<Option<(usize, usize)>, ProtocolError> {
    if let [_, digit @ b'0'..=b'9', b'\r', b'\n', ..] = *input {
        return Ok(Some((usize::from(digit - b'0'), 4))); // nearly every command has a few
    }
    let Some((number, end)) = length_line(input, ProtocolError::ArrayLine)? else {
        return Ok(None);
    };
    match number {
        Some(count) if count <= MAX_ARGUMENTS as i64 => Ok(Some((count.max(0) as usize, end))),
        _ => Err(ProtocolError::ArrayLength),
    }
}

/// Where the string is that begins at `at`; `None` where it breaks off.
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

/// The number that the first line of `input` says after its first byte, and where the next line
/// begins. `Ok(None)` where the line breaks off; no number where it says none.
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

/// A line of words: what a person types into a plain connection.
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

/// Where the next word begins.
fn skip_spaces(line: &[u8], at: usize) -> Option<usize> {
    let word = line[at..].iter().position(|&byte| !is_space(byte))?;
    Some(at + word)
}

/// Takes the quotes and escapes out of the word at `start`. Returns where it is then, and where what
/// follows it begins. `None` where its quotes don't match up.
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
                // Nothing but a space, or the end, comes after a closing quote.
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

/// The byte that quoted text begins with, and how many it is written with.
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
