//! A place in the log.

/// The place where a record is, or where the next one will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Place {
    /// The number of the segment. If the record does not fit into the rest of this segment, it is at
    /// the beginning of another one.
    pub(in crate::store) segment: u32,
    /// The offset in the segment, in bytes.
    pub(in crate::store) offset: u64,
    /// The number of the record; the first is 1.
    pub(in crate::store) number: u64,
    /// The checksum of the record before; 0 if there is none.
    pub(in crate::store) previous: u64,
}

impl Place {
    /// The place of the first record of a new log.
    pub(in crate::store) const START: Self = Self {
        segment: 0,
        offset: 0,
        number: 1,
        previous: 0,
    };
}
