//! The memory of the segments: chunks that are never moved, so a growing table copies no rows and
//! the number of a segment tells its address. The system fills a chunk with zeros when it is first
//! touched, a page at a time, so a small table takes little.

use std::alloc::{Layout, handle_alloc_error};

use memmap2::{Advice, MmapMut};

use super::segment::{PLACES, ROW_BYTES, SEGMENT_BYTES, Segment};

/// The size of a chunk: a huge page.
const CHUNK_BYTES: usize = 2 * 1024 * 1024;

/// Segments of a chunk; the last 2 KiB are unused. The tags of a segment are beside its rows, so one
/// huge page has both.
const CHUNK_SEGMENTS: usize = CHUNK_BYTES / SEGMENT_BYTES;

/// The bits of a [`SegmentId`] that number the segments of a chunk.
const SLOT_BITS: u32 = CHUNK_SEGMENTS.ilog2() + 1;

/// The first chunk that asks for a huge page. The chunks before it only take the pages that they
/// use, since 256 small shards may share a server: a huge page is at most a sixteenth of the table.
const FIRST_HUGE: usize = 16;

/// The number of a segment: that of its chunk, and that within the chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentId(u32);

/// Where a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::shard) struct Place {
    chunk: u32,
    /// The offset of the row's first byte in the chunk.
    offset: u32,
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
        let (chunk, slot) = (index / CHUNK_SEGMENTS, index % CHUNK_SEGMENTS);
        // There are far fewer than 2^26 chunks, which is 128 TiB.
        Self((chunk << SLOT_BITS | slot) as u32)
    }

    /// Returns how many segments were added before this one.
    pub(super) fn index(self) -> usize {
        self.chunk() * CHUNK_SEGMENTS + self.slot()
    }

    fn chunk(self) -> usize {
        (self.0 >> SLOT_BITS) as usize
    }

    fn slot(self) -> usize {
        (self.0 & ((1 << SLOT_BITS) - 1)) as usize
    }

    /// Returns where a row of this segment is.
    #[inline]
    pub(super) fn place(self, place: usize) -> Place {
        Place {
            chunk: self.chunk() as u32,
            offset: (self.slot() * SEGMENT_BYTES + PLACES + place * ROW_BYTES) as u32,
        }
    }
}

impl Place {
    /// Returns the segment, and the place in it.
    pub(super) fn in_segment(self) -> (SegmentId, usize) {
        let (slot, offset) = (
            self.offset as usize / SEGMENT_BYTES,
            self.offset as usize % SEGMENT_BYTES,
        );
        let id = SegmentId(self.chunk << SLOT_BITS | slot as u32);
        (id, (offset - PLACES) / ROW_BYTES)
    }
}

impl Memory {
    /// Adds a segment without rows.
    pub(super) fn add(&mut self) -> SegmentId {
        if self.segments == self.chunks.len() * CHUNK_SEGMENTS {
            self.chunks.push(chunk(self.chunks.len() >= FIRST_HUGE));
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
        chunk[id.slot() * SEGMENT_BYTES..].first_chunk()
    }

    #[inline]
    pub(super) fn segment_mut(&mut self, id: SegmentId) -> &mut Segment {
        let rest = &mut self.chunks[id.chunk()][id.slot() * SEGMENT_BYTES..];
        rest.first_chunk_mut().expect("a chunk has whole segments")
    }

    #[inline]
    pub(super) fn row(&self, place: Place) -> &[u8; ROW_BYTES] {
        let rest = &self.chunks[place.chunk as usize][place.offset as usize..];
        rest.first_chunk().expect("a chunk has whole rows")
    }

    #[inline]
    pub(super) fn row_mut(&mut self, place: Place) -> &mut [u8; ROW_BYTES] {
        let rest = &mut self.chunks[place.chunk as usize][place.offset as usize..];
        rest.first_chunk_mut().expect("a chunk has whole rows")
    }
}

/// Returns a chunk of zeros.
fn chunk(huge: bool) -> MmapMut {
    let Ok(chunk) = MmapMut::map_anon(CHUNK_BYTES) else {
        handle_alloc_error(Layout::new::<[u8; CHUNK_BYTES]>());
    };
    if huge {
        // A system without huge pages refuses; then the chunk has small pages.
        let _ = chunk.advise(Advice::HugePage);
    }
    chunk
}
