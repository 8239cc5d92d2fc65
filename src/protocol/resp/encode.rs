//! From what is to be said to bytes: replies in either version, and the commands of a client.

use std::fmt::{self, Write};

use super::Version;

/// Appends replies to a buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    version: Version,
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Appends to `out`.
    pub fn new(version: Version, out: &'a mut Vec<u8>) -> Self {
        Self { version, out }
    }

    /// A short word, as OK: a simple string.
    pub fn simple(&mut self, word: &str) {
        self.line(b'+', word.as_bytes());
    }

    /// An error; its first word, in capitals, says its kind. Line ends in it become spaces, so that
    /// it can quote what was asked.
    pub fn error(&mut self, error: impl fmt::Display) {
        self.out.push(b'-');
        // Writing to a vector can't fail; what a Display refuses to say is left out.
        let _ = write!(OneLine(self.out), "{error}");
        self.out.extend_from_slice(b"\r\n");
    }

    /// A number.
    ///
    /// Clients read it as signed: none over [`MAX_SUM`](super::MAX_SUM) is said like this.
    pub fn integer(&mut self, number: u64) {
        // The reply of nearly every request: one write.
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number).as_bytes();
        let mut line = [0; 1 + 20 + 2];
        line[0] = b':';
        line[1..=digits.len()].copy_from_slice(digits);
        line[1 + digits.len()..][..2].copy_from_slice(b"\r\n");
        self.out.extend_from_slice(&line[..digits.len() + 3]);
    }

    /// A number that may be below 0.
    pub fn signed(&mut self, number: i64) {
        self.line(b':', itoa::Buffer::new().format(number).as_bytes());
    }

    /// Any bytes: a bulk string.
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.length(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A number as a bulk string: what GET returns.
    pub fn number(&mut self, number: u64) {
        self.bulk(itoa::Buffer::new().format(number).as_bytes());
    }

    /// Text for people: RESP3 marks it as such.
    pub fn text(&mut self, text: &str) {
        match self.version {
            Version::Resp2 => self.bulk(text.as_bytes()),
            Version::Resp3 => {
                const KIND: &[u8] = b"txt:";
                self.length(b'=', KIND.len() + text.len());
                self.out.extend_from_slice(KIND);
                self.line_of(text.as_bytes());
            }
        }
    }

    /// Nothing there.
    pub fn null(&mut self) {
        self.out.extend_from_slice(match self.version {
            Version::Resp2 => b"$-1\r\n",
            Version::Resp3 => b"_\r\n",
        });
    }

    /// A list: that many items follow.
    pub fn array(&mut self, items: usize) {
        self.length(b'*', items);
    }

    /// A list without order: that many items follow.
    pub fn set(&mut self, items: usize) {
        match self.version {
            Version::Resp2 => self.array(items),
            Version::Resp3 => self.length(b'~', items),
        }
    }

    /// A map: that many keys follow, each with its value behind it.
    pub fn map(&mut self, entries: usize) {
        match self.version {
            Version::Resp2 => self.array(2 * entries),
            Version::Resp3 => self.length(b'%', entries),
        }
    }

    /// A key of a map and its value, both text.
    pub fn entry(&mut self, key: &str, value: &str) {
        self.bulk(key.as_bytes());
        self.bulk(value.as_bytes());
    }

    fn length(&mut self, kind: u8, length: usize) {
        self.out.push(kind);
        encode_number(length as u64, self.out);
        self.out.extend_from_slice(b"\r\n");
    }

    fn line(&mut self, kind: u8, line: &[u8]) {
        self.out.push(kind);
        self.line_of(line);
    }

    fn line_of(&mut self, line: &[u8]) {
        self.out.extend_from_slice(line);
        self.out.extend_from_slice(b"\r\n");
    }
}

/// Keeps what is written on one line.
struct OneLine<'a>(&'a mut Vec<u8>);

impl Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let one_line = |byte| match byte {
            b'\r' | b'\n' => b' ',
            other => other,
        };
        self.0.extend(text.bytes().map(one_line));
        Ok(())
    }
}

/// Appends a command of these arguments, the first of which is its name.
pub fn encode_command(arguments: &[&[u8]], out: &mut Vec<u8>) {
    let mut writer = Writer::new(Version::Resp2, out);
    writer.array(arguments.len());
    for argument in arguments {
        writer.bulk(argument);
    }
}

/// Appends a number in decimal digits.
pub fn encode_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}
