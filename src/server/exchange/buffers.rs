//! Buffers that are used again and again, without keeping the room of the largest use for ever.

/// Gives back room that a buffer has no more use for: it keeps what twice its items need, and `keep`.
pub(crate) fn shrink<T>(buffer: &mut Vec<T>, keep: usize) {
    let needed = buffer.len().max(keep);
    if buffer.capacity() / 2 > needed {
        buffer.shrink_to(needed);
    }
}

/// Empties a buffer; one with room for more than `keep` items is freed.
pub(crate) fn empty<T>(buffer: &mut Vec<T>, keep: usize) {
    buffer.clear();
    if buffer.capacity() > keep {
        *buffer = Vec::new();
    }
}
