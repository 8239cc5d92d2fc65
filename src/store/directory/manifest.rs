//! The manifest: which checkpoint is valid, from where the log has to be applied, and how the last
//! server ended.

use std::fmt::Write;
use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::path::Path;

use super::replace::replace;
use crate::store::disk::Disk;
use crate::store::encoding::Seed;
use crate::store::error::StoreError;
use crate::store::layout::MANIFEST_FILE;
use crate::store::log::{Place, SegmentSize};

/// See the [module](self).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Manifest {
    /// The length of the log's segments. It never changes.
    pub(in crate::store) segment: SegmentSize,
    /// The number of the checkpoint. 0 stands for none; it has no parts.
    pub(in crate::store) checkpoint: u64,
    /// The run of the server that wrote the checkpoint.
    pub(in crate::store) run: u32,
    /// The files of the checkpoint.
    pub(in crate::store) parts: Vec<Part>,
    /// The first record of the log that the checkpoint may lack.
    pub(in crate::store) log: Place,
    /// The number of the last record of the log that was durable when the manifest was written.
    pub(in crate::store) durable: u64,
    /// Whether the last server ended cleanly, if `durable` is still the last record.
    pub(in crate::store) clean: bool,
}

/// A file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Part {
    /// The points of its topics.
    pub(in crate::store) points: RangeInclusive<u16>,
    /// The number of topics.
    pub(in crate::store) topics: u64,
    /// The length of the file in bytes.
    pub(in crate::store) bytes: u64,
    /// The checksum of the last block, which depends on all blocks before it.
    pub(in crate::store) digest: u64,
}

impl Manifest {
    /// Returns the manifest of an empty directory.
    pub(in crate::store) fn new(segment: SegmentSize) -> Self {
        Self {
            segment,
            checkpoint: 0,
            run: 0,
            parts: Vec::new(),
            log: Place::START,
            durable: 0,
            clean: false,
        }
    }

    /// Returns the length of the checkpoint's files in bytes.
    pub(in crate::store) fn checkpoint_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// Reads the manifest of the directory whose checksums have this seed.
    pub(in crate::store) fn read(
        disk: &dyn Disk,
        directory: &Path,
        seed: Seed,
    ) -> Result<Self, StoreError> {
        let path = directory.join(MANIFEST_FILE);
        let bytes = disk.read(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => StoreError::damaged(&path, "it is missing"),
            _ => StoreError::io(&path, "read")(error),
        })?;
        let manifest = std::str::from_utf8(&bytes).ok();
        let manifest = manifest.and_then(|text| Self::parse(text, seed));
        manifest.ok_or_else(|| StoreError::damaged(&path, "its checksum is wrong"))
    }

    /// Replaces the manifest, atomically and durably.
    pub(in crate::store) fn write(
        &self,
        disk: &dyn Disk,
        directory: &Path,
        seed: Seed,
    ) -> Result<(), StoreError> {
        replace(disk, directory, MANIFEST_FILE, &self.text(seed))
    }

    fn text(&self, seed: Seed) -> String {
        let Place {
            segment,
            offset,
            number,
            previous,
        } = self.log;
        let mut text = format!(
            "segments of {} bytes\ncheckpoint {} run {}\nlog segment {segment} offset {offset} record \
             {number} after {previous:016x}\ndurable {}\nclean {}\n",
            self.segment.bytes(),
            self.checkpoint,
            self.run,
            self.durable,
            self.clean
        );
        for part in &self.parts {
            let (start, end) = (part.points.start(), part.points.end());
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "part {start} to {end} topics {} bytes {} digest {:016x}",
                part.topics, part.bytes, part.digest
            );
        }
        let checksum = seed.checksum(text.as_bytes());
        let _ = writeln!(text, "checksum {checksum:016x}");
        text
    }

    fn parse(text: &str, seed: Seed) -> Option<Self> {
        let (fields, checksum) = text.strip_suffix('\n')?.rsplit_once('\n')?;
        let fields = &text[..=fields.len()];
        let checksum = u64::from_str_radix(checksum.strip_prefix("checksum ")?, 16).ok()?;
        if checksum != seed.checksum(fields.as_bytes()) {
            return None;
        }
        let mut lines = fields.lines();
        let segment = lines
            .next()?
            .strip_prefix("segments of ")?
            .strip_suffix(" bytes")?;
        let mut manifest = Self::new(SegmentSize::of_bytes(segment.parse().ok()?)?);
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let hexadecimal = |word: &str| u64::from_str_radix(word, 16).ok();
            match words[..] {
                ["checkpoint", number, "run", run] => {
                    manifest.checkpoint = number.parse().ok()?;
                    manifest.run = run.parse().ok()?;
                }
                [
                    "log",
                    "segment",
                    segment,
                    "offset",
                    offset,
                    "record",
                    number,
                    "after",
                    previous,
                ] => {
                    manifest.log = Place {
                        segment: segment.parse().ok()?,
                        offset: offset.parse().ok()?,
                        number: number.parse().ok()?,
                        previous: hexadecimal(previous)?,
                    };
                }
                ["durable", durable] => manifest.durable = durable.parse().ok()?,
                ["clean", clean] => manifest.clean = clean.parse().ok()?,
                [
                    "part",
                    start,
                    "to",
                    end,
                    "topics",
                    topics,
                    "bytes",
                    bytes,
                    "digest",
                    digest,
                ] => {
                    manifest.parts.push(Part {
                        points: start.parse().ok()?..=end.parse().ok()?,
                        topics: topics.parse().ok()?,
                        bytes: bytes.parse().ok()?,
                        digest: hexadecimal(digest)?,
                    });
                }
                _ => return None,
            }
        }
        // A number can be written in several ways; only one is valid.
        (manifest.text(seed) == text).then_some(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_as_it_was_written_and_refused_with_any_bit_flipped() {
        let manifest = Manifest {
            segment: SegmentSize::of_sectors(16),
            checkpoint: 12,
            run: 3,
            parts: vec![
                Part {
                    points: 0..=32_767,
                    topics: 1_000,
                    bytes: 20_480,
                    digest: u64::MAX,
                },
                Part {
                    points: 32_768..=65_535,
                    topics: 0,
                    bytes: 0,
                    digest: 7,
                },
            ],
            log: Place {
                segment: 4,
                offset: 8_192,
                number: u64::MAX,
                previous: 1 << 60,
            },
            durable: 99,
            clean: true,
        };
        let seed = Seed::of(7);
        let text = manifest.text(seed);
        assert_eq!(Manifest::parse(&text, seed), Some(manifest));
        assert_eq!(Manifest::parse(&text, Seed::of(8)), None);
        for at in 0..8 * text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at / 8] ^= 1 << (at % 8);
            let read = std::str::from_utf8(&bytes).ok();
            let read = read.and_then(|text| Manifest::parse(text, seed));
            assert!(read.is_none(), "bit {at}");
        }
        for end in 0..text.len() {
            assert_eq!(Manifest::parse(&text[..end], seed), None);
        }
    }
}
