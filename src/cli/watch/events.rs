//! Reading server-sent events: bytes in, events out
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use anyhow::{Result, ensure};

/// An event with a name and data of one line, the only kind that the admin port sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) data: Vec<u8>,
}

/// Finds events in bytes that arrive in pieces.
pub(super) struct EventReader {
    /// The bytes that have arrived and are not read yet.
    bytes: Vec<u8>,
    /// This many of `bytes` have no end of a line.
    searched: usize,
    /// The most bytes of an event.
    limit: usize,
    name: String,
    data: Vec<u8>,
}

impl EventReader {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            searched: 0,
            limit,
            name: String::new(),
            data: Vec::new(),
        }
    }

    /// Adds bytes that have arrived.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the next event that has arrived completely.
    ///
    /// # Errors
    ///
    /// An event is longer than the limit.
    pub(super) fn next(&mut self) -> Result<Option<Event>> {
        while let Some(end) = self.bytes[self.searched..].iter().position(|b| *b == b'\n') {
            let end = self.searched + end;
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            self.searched = 0;
            let line = line.trim_ascii_end();
            if let Some(name) = field(line, b"event:") {
                self.name = String::from_utf8_lossy(name).into_owned();
            } else if let Some(data) = field(line, b"data:") {
                self.data = data.to_vec();
            } else if line.is_empty() && !self.data.is_empty() {
                return Ok(Some(Event {
                    name: std::mem::take(&mut self.name),
                    data: std::mem::take(&mut self.data),
                }));
            }
            // Any other line is a comment or a field without a meaning here.
        }
        self.searched = self.bytes.len();
        ensure!(self.searched <= self.limit, "an event is too long");
        Ok(None)
    }
}

/// Returns the value of a field, without the space before it.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    Some(line.strip_prefix(name)?.trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_wherever_the_bytes_are_cut() {
        let bytes =
            b": hello\n\nevent: history\ndata: [1]\n\nevent:second\r\ndata:{}\r\n\r\nevent: cut";
        for size in 1..bytes.len() {
            let mut reader = EventReader::new(100);
            let mut found = Vec::new();
            for piece in bytes.chunks(size) {
                reader.push(piece);
                while let Some(event) = reader.next().unwrap() {
                    found.push((event.name, String::from_utf8(event.data).unwrap()));
                }
            }
            let expected = [("history", "[1]"), ("second", "{}")];
            let expected = expected.map(|(name, data)| (name.to_owned(), data.to_owned()));
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut reader = EventReader::new(10);
        reader.push(b"data: 0123");
        assert!(reader.next().unwrap().is_none());
        reader.push(b"4");
        assert!(reader.next().is_err());
    }
}
