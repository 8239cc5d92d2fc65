//! The fuzz target of a file of a checkpoint, and the replay of its corpus.

use std::path::PathBuf;

use super::{PartWriter, read_part};
use crate::shard::Record;
use crate::store::directory::Part;
use crate::store::disk::{Disk, SimulatedDisk};
use crate::store::encoding::{Rows, Seed, decode};
use crate::store::error::StoreError;

/// The topics of a file.
type Topics = Vec<(Vec<u8>, Option<Record>)>;

/// Reads `bytes` as a file of a checkpoint, then as the topics of one. What was written must be found
/// again, and not if a bit of it is wrong.
pub fn checkpoint(bytes: &[u8]) {
    let (disk, seed, path) = (SimulatedDisk::new(), Seed::of(7), PathBuf::from("1.0"));
    let replace = |bytes: &[u8]| {
        let file = disk.create(&path).expect("the disk works");
        file.write_at(bytes, 0).expect("the disk works");
    };
    let read = |part: &Part| -> Result<Topics, StoreError> {
        let mut topics = Vec::new();
        read_part(&disk, &path, part, seed, |(topic, record)| {
            topics.push((topic.as_bytes().to_vec(), record));
        })?;
        Ok(topics)
    };
    replace(bytes);
    let points = 0..=u16::MAX;
    let claimed = Part {
        points: points.clone(),
        topics: 1,
        bytes: bytes.len() as u64,
        digest: 0,
    };
    assert!(
        read(&claimed).is_err(),
        "no file of one topic has this checksum"
    );

    let mut rows = Rows::new();
    let mut expected = Topics::new();
    for (topic, record) in decode(bytes).map_while(|row| row) {
        rows.push(topic, record);
        expected.push((topic.as_bytes().to_vec(), record));
    }
    let mut writer = PartWriter::create(&disk, path.clone(), points, seed).expect("the disk works");
    writer.write(&rows).expect("the disk works");
    let part = writer.finish().expect("the disk works");
    assert_eq!(read(&part).expect("it is whole"), expected);
    let mut file = disk.read(&path).expect("the disk works");
    if !file.is_empty() {
        let wrong = bytes.len() % file.len();
        file[wrong] ^= 1 << (bytes.len() % 8);
        replace(&file);
        assert!(read(&part).is_err(), "byte {wrong}");
    }
}

#[cfg(test)]
mod tests {
    use super::checkpoint;

    #[test]
    fn its_corpus_is_read() {
        crate::corpus::replay("checkpoint", checkpoint);
    }
}
