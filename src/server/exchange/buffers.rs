//! Buffers that are used again and again, without keeping the memory of the largest use for ever.

/// Frees memory of a buffer whose capacity is more than twice its length and more than twice `keep`
/// items. Afterwards it keeps room for its items, but at least for `keep`.
pub(crate) fn shrink<T>(buffer: &mut Vec<T>, keep: usize) {
    let needed = buffer.len().max(keep);
    if buffer.capacity() / 2 > needed {
        buffer.shrink_to(needed);
    }
}

/// Removes all items of a buffer. Frees its memory if it has room for more than `keep` items.
pub(crate) fn empty<T>(buffer: &mut Vec<T>, keep: usize) {
    buffer.clear();
    if buffer.capacity() > keep {
        *buffer = Vec::new();
    }
}
