//! The memory of the segments: chunks that are never moved, so a growing table copies no rows and
//! the number of a segment tells its address. The system fills a chunk with zeros when it is first
//! touched, a page at a time, so a small table takes little.

use std::alloc::{Layout, handle_alloc_error};

use memmap2::{Advice, MmapMut};

use super::segment::{GROUP_BYTES, PLACES, ROW_BYTES, Row, SEGMENT_BYTES, Segment};

/// The size of a chunk: a huge page.
const CHUNK_BYTES: usize = 2 * 1024 * 1024;

/// Segments of a chunk; the last 2 KiB are unused. The tags of a segment are beside its rows, so one
/// huge page has both.
const CHUNK_SEGMENTS: usize = CHUNK_BYTES / SEGMENT_BYTES;

/// Addresses in a chunk are counted in rows, so that they fit into 16 bits.
const CHUNK_ROWS: usize = CHUNK_BYTES / ROW_BYTES;

/// The rows that would fit into a segment, those in whose place are tags included.
const SEGMENT_ROWS: usize = SEGMENT_BYTES / ROW_BYTES;

/// The rows in whose place a segment has tags.
const TAG_ROWS: usize = PLACES / ROW_BYTES;

/// Segments begin at multiples of this many rows.
const ALIGN_ROWS: usize = 32;

/// The bits of a [`SegmentId`] for the address in the chunk.
const START_BITS: u32 = (CHUNK_ROWS / ALIGN_ROWS).ilog2();

const _: () = assert!(SEGMENT_ROWS.is_multiple_of(ALIGN_ROWS) && CHUNK_ROWS == 1 << u16::BITS);

/// Identifies a segment by its address: the number of its chunk, and where it begins there in units
/// of [`ALIGN_ROWS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentId(u32);

/// Where a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::shard) struct Place {
    chunk: u32,
    /// The address in the chunk.
    row: u16,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Memory {
    chunks: Vec<MmapMut>,
    segments: usize,
}

impl SegmentId {
    pub(super) const FIRST: Self = Self(0);

    /// Returns the id of the segment that was added after `index` others.
    pub(super) fn of_index(index: usize) -> Self {
        let chunk = index / CHUNK_SEGMENTS;
        let start = index % CHUNK_SEGMENTS * SEGMENT_ROWS / ALIGN_ROWS;
        // There are far fewer than 2^21 chunks, which is 4 TiB.
        Self((chunk << START_BITS | start) as u32)
    }

    /// Returns how many segments were added before this one.
    pub(super) fn index(self) -> usize {
        self.chunk() * CHUNK_SEGMENTS + self.start() / SEGMENT_ROWS
    }

    #[inline]
    fn chunk(self) -> usize {
        (self.0 >> START_BITS) as usize
    }

    /// Returns where the segment begins, in rows.
    #[inline]
    fn start(self) -> usize {
        (self.0 as usize & ((1 << START_BITS) - 1)) * ALIGN_ROWS
    }

    /// Returns where a row of this segment is.
    #[inline]
    pub(super) fn place(self, place: usize) -> Place {
        Place {
            chunk: self.chunk() as u32,
            row: (self.start() + TAG_ROWS + place) as u16,
        }
    }
}

impl Place {
    /// The place of no row.
    pub(super) const NONE: Self = Self {
        chunk: u32::MAX,
        row: 0,
    };

    /// Returns the segment, and the place in it.
    pub(super) fn in_segment(self) -> (SegmentId, usize) {
        let row = usize::from(self.row);
        let id = SegmentId::of_index(self.chunk as usize * CHUNK_SEGMENTS + row / SEGMENT_ROWS);
        (id, row % SEGMENT_ROWS - TAG_ROWS)
    }
}

impl Memory {
    /// Adds a segment without rows.
    pub(super) fn add(&mut self) -> SegmentId {
        if self.segments == self.chunks.len() * CHUNK_SEGMENTS {
            if let Some(full) = self.chunks.last() {
                ask_for_huge_page(full);
            }
            self.chunks.push(new_chunk());
        }
        self.segments += 1;
        SegmentId::of_index(self.segments - 1)
    }

    /// Returns how many segments were added.
    pub(super) fn segments(&self) -> usize {
        self.segments
    }

    /// Returns a segment, if it was added: a table without rows has no segment.
    #[inline]
    pub(super) fn segment(&self, id: SegmentId) -> Option<&Segment> {
        let chunk = self.chunks.get(id.chunk())?;
        chunk[id.start() * ROW_BYTES..].first_chunk()
    }

    #[inline]
    pub(super) fn segment_mut(&mut self, id: SegmentId) -> &mut Segment {
        let chunk = &mut self.chunks[id.chunk()];
        let segment = chunk[id.start() * ROW_BYTES..].first_chunk_mut();
        segment.expect("a chunk has whole segments")
    }

    /// Returns the tags of a group of a segment.
    #[inline]
    pub(super) fn tags(&self, id: SegmentId, group: usize) -> &[u8; GROUP_BYTES] {
        let (groups, _) = self.chunks[id.chunk()].as_chunks();
        &groups[id.start() * (ROW_BYTES / GROUP_BYTES) + group]
    }

    #[inline]
    pub(super) fn row(&self, place: Place) -> &Row {
        let (rows, _) = self.chunks[place.chunk as usize].as_chunks();
        &rows[usize::from(place.row)]
    }

    #[inline]
    pub(super) fn row_mut(&mut self, place: Place) -> &mut Row {
        let (rows, _) = self.chunks[place.chunk as usize].as_chunks_mut();
        &mut rows[usize::from(place.row)]
    }
}

/// Returns a chunk of zeros.
fn new_chunk() -> MmapMut {
    MmapMut::map_anon(CHUNK_BYTES)
        .unwrap_or_else(|_| handle_alloc_error(Layout::new::<[u8; CHUNK_BYTES]>()))
}

/// Lets the kernel replace the pages of a full chunk by a huge page, which it does in the
/// background. With them, a request in a batch to 10 million topics takes 44 ns instead of 71.
///
/// Not sooner: the insert that touched a new chunk first would wait until 2 MiB are filled with
/// zeros (up to 16 ms on a virtual machine), and a table of few topics would take a whole huge page.
fn ask_for_huge_page(chunk: &MmapMut) {
    // A kernel without huge pages refuses. Then the small pages stay.
    let _ = chunk.advise(Advice::HugePage);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_lies_in_one_cache_line_of_its_own_segment() {
        let mut memory = Memory::default();
        let mut last = None;
        for index in 0..3 * CHUNK_SEGMENTS {
            let id = memory.add();
            assert_eq!((id, id.index()), (SegmentId::of_index(index), index));
            let segment = memory.segment(id).expect("just added").as_ptr_range();
            assert_eq!(segment.start.addr() % 64, 0);
            for number in [0, 1, PLACES - 1] {
                let place = id.place(number);
                assert_eq!(place.in_segment(), (id, number));
                let row = memory.row(place).as_ptr_range();
                assert_eq!(row.start.addr() % ROW_BYTES, 0);
                let offset = row.start.addr() - segment.start.addr();
                assert_eq!(offset, PLACES + number * ROW_BYTES);
                assert!(row.end <= segment.end);
            }
            // Neighbours in a chunk do not overlap.
            if !index.is_multiple_of(CHUNK_SEGMENTS) {
                assert_eq!(last, Some(segment.start));
            }
            last = Some(segment.end);
        }
        assert_eq!(memory.chunks.len(), 3);
        assert_eq!(memory.segments(), 3 * CHUNK_SEGMENTS);
    }

    #[test]
    fn memory_without_segments_allocates_nothing() {
        let memory = Memory::default();
        assert_eq!(memory.chunks.capacity(), 0);
        assert!(memory.segment(SegmentId::FIRST).is_none());
    }
}
