//! The names of topics: all of one length, written from their numbers when needed, so that ten
//! million names take no memory and no time to look up.

use anyhow::{Result, ensure};
use globalcounter::topic::TOPIC_LEN_LIMIT;

/// The beginning of a name, as far as it fits before the digits.
const PREFIX: &[u8] = b"topic-";

/// The most digits of a number: those of `u32::MAX`.
const MAX_DIGITS: usize = 10;

/// The names of a number of topics: "topic-", as far as it fits, then digits.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    count: u32,
    /// A name whose digits are all zero.
    template: Box<[u8]>,
    /// How many digits at its end can differ from zero.
    digits: usize,
}

impl Names {
    /// Returns `count` names of `len` bytes each.
    ///
    /// # Errors
    ///
    /// `len` bytes are too few for `count` different names or too many for a topic, or `count` is 0.
    pub(crate) fn new(count: u32, len: usize) -> Result<Self> {
        ensure!(count > 0, "there must be a topic to count");
        let digits = (count - 1).max(1).ilog10() as usize + 1;
        ensure!(
            len >= digits,
            "{count} topics need names of {digits} bytes at least, not {len}"
        );
        ensure!(
            len <= TOPIC_LEN_LIMIT,
            "topics are at most {TOPIC_LEN_LIMIT} bytes, not {len}"
        );
        let mut template = vec![b'0'; len];
        let prefix = PREFIX.len().min(len - digits);
        template[..prefix].copy_from_slice(&PREFIX[..prefix]);
        Ok(Self {
            count,
            template: template.into(),
            digits,
        })
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Returns the bytes of each name.
    pub(crate) fn len(&self) -> usize {
        self.template.len()
    }

    /// Returns a buffer for [`write`](Self::write).
    pub(crate) fn buffer(&self) -> Box<[u8]> {
        self.template.clone()
    }

    /// Writes the name of topic number `topic` into `buffer`.
    #[inline]
    pub(crate) fn write<'a>(&self, topic: u32, buffer: &'a mut [u8]) -> &'a [u8] {
        debug_assert!(topic < self.count && self.digits <= MAX_DIGITS);
        let mut rest = topic;
        for digit in buffer.iter_mut().rev().take(self.digits) {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        buffer
    }

    /// Returns the name of topic number `topic`.
    pub(crate) fn of(&self, topic: u32) -> String {
        let mut buffer = self.buffer();
        String::from_utf8_lossy(self.write(topic, &mut buffer)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_length_and_differ() {
        let names = Names::new(10_000_000, 16).unwrap();
        assert_eq!(names.of(0), "topic-0000000000");
        assert_eq!(names.of(9_999_999), "topic-0009999999");
        assert_eq!(Names::new(10_000, 4).unwrap().of(42), "0042");
        assert_eq!(Names::new(1, 1).unwrap().of(0), "0");
        assert_eq!(Names::new(100, 40).unwrap().of(99).len(), 40);
    }

    #[test]
    fn too_short_names_are_refused() {
        let error = Names::new(10_001, 4).unwrap_err().to_string();
        assert_eq!(error, "10001 topics need names of 5 bytes at least, not 4");
        assert!(Names::new(0, 4).is_err());
        assert!(Names::new(1, TOPIC_LEN_LIMIT + 1).is_err());
    }
}
