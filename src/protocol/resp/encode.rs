//! Encodes replies in either version of the protocol, and the commands of a client.

use std::fmt::{self, Write};

use super::Version;

/// Appends replies to a buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    version: Version,
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Creates a writer that appends to `out` in this version of the protocol.
    pub fn new(version: Version, out: &'a mut Vec<u8>) -> Self {
        Self { version, out }
    }

    /// Appends a short word, such as OK: a simple string.
    pub fn simple(&mut self, word: &str) {
        self.line(b'+', word.as_bytes());
    }

    /// Appends an error. Its first word, in capitals, is its kind. Line ends become spaces, so that
    /// it can quote the command.
    pub fn error(&mut self, error: impl fmt::Display) {
        self.out.push(b'-');
        // Writing to a vector cannot fail. If a Display fails, the rest of its text is missing.
        let _ = write!(OneLine(self.out), "{error}");
        self.out.extend_from_slice(b"\r\n");
    }

    /// Appends a number, at most [`MAX_SUM`](super::MAX_SUM): clients read it as signed.
    pub fn integer(&mut self, number: u64) {
        // Nearly every reply is a number, so this is a single write.
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number).as_bytes();
        let mut line = [0; 1 + 20 + 2];
        line[0] = b':';
        line[1..=digits.len()].copy_from_slice(digits);
        line[1 + digits.len()..][..2].copy_from_slice(b"\r\n");
        self.out.extend_from_slice(&line[..digits.len() + 3]);
    }

    /// Appends a number that may be below 0.
    pub fn signed(&mut self, number: i64) {
        self.line(b':', itoa::Buffer::new().format(number).as_bytes());
    }

    /// Appends any bytes: a bulk string.
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.length(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Appends replies that are encoded already.
    pub fn encoded(&mut self, replies: &[u8]) {
        self.out.extend_from_slice(replies);
    }

    /// Appends a number as a bulk string, as GET returns it.
    pub fn number(&mut self, number: u64) {
        self.bulk(itoa::Buffer::new().format(number).as_bytes());
    }

    /// Appends text for people; RESP3 has a type of its own for it.
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

    /// Appends null, for a value that does not exist.
    pub fn null(&mut self) {
        self.out.extend_from_slice(match self.version {
            Version::Resp2 => b"$-1\r\n",
            Version::Resp3 => b"_\r\n",
        });
    }

    /// Starts a list: the caller appends this many items.
    pub fn array(&mut self, items: usize) {
        self.length(b'*', items);
    }

    /// Starts a set, a list without order: the caller appends this many items.
    pub fn set(&mut self, items: usize) {
        match self.version {
            Version::Resp2 => self.array(items),
            Version::Resp3 => self.length(b'~', items),
        }
    }

    /// Starts a map: the caller appends this many keys, each followed by its value.
    pub fn map(&mut self, entries: usize) {
        match self.version {
            Version::Resp2 => self.array(2 * entries),
            Version::Resp3 => self.length(b'%', entries),
        }
    }

    /// Appends a key of a map and its value, both text.
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

/// Replaces line ends by spaces, so that the written text stays on one line.
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

/// Appends a command; the first of `arguments` is its name.
pub fn encode_command(arguments: &[&[u8]], out: &mut Vec<u8>) {
    let mut writer = Writer::new(Version::Resp2, out);
    writer.array(arguments.len());
    for argument in arguments {
        writer.bulk(argument);
    }
}

/// Appends a number as decimal digits.
pub fn encode_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}
