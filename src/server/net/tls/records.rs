//! The lengths of the records that a peer sends, to know how much of an incomplete one is held.

/// The length of a record's header, whose last two bytes are the length of the rest (RFC 8446, section
/// 5.1).
const HEADER_LEN: usize = 5;

/// How far the last record has been received.
#[derive(Debug, Default)]
pub(super) struct Records {
    header: [u8; HEADER_LEN],
    /// The number of bytes of the record, its header included.
    received: usize,
}

impl Records {
    /// Follows received bytes.
    pub(super) fn receive(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let end = match self.received {
                ..HEADER_LEN => HEADER_LEN,
                _ => self.len(),
            };
            let taken = bytes.len().min(end - self.received);
            if self.received < HEADER_LEN {
                self.header[self.received..][..taken].copy_from_slice(&bytes[..taken]);
            }
            self.received += taken;
            bytes = &bytes[taken..];
            if self.received >= HEADER_LEN && self.received == self.len() {
                self.received = 0;
            }
        }
    }

    /// Returns the length of the record whose header is received.
    fn len(&self) -> usize {
        HEADER_LEN + usize::from(u16::from_be_bytes([self.header[3], self.header[4]]))
    }

    /// Returns how many bytes of an incomplete record were received; 0 between two records.
    pub(super) fn incomplete(&self) -> usize {
        self.received
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_followed_however_they_are_cut() {
        let record = |len: usize| [&[23, 3, 3, 0, len as u8][..], &vec![9; len]].concat();
        let stream = [record(3), record(0), record(7)].concat();
        let ends = [8, 13, 25];
        for cut in 1..stream.len() {
            let mut records = Records::default();
            let mut at = 0;
            for piece in stream.chunks(cut) {
                records.receive(piece);
                at += piece.len();
                let begin = ends.iter().rfind(|&&end| end <= at).unwrap_or(&0);
                assert_eq!(records.incomplete(), at - begin, "{at} in pieces of {cut}");
            }
        }
    }
}
