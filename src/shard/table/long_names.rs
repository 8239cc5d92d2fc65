//! Names that are too long for a row, each on the heap and found by its number.

/// Names of a block. Blocks are never moved, so an insert never copies all of them.
const BLOCK: usize = 1_024;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct LongNames {
    blocks: Vec<Vec<Entry>>,
    /// The first of the free entries, which form a list, or [`NONE`].
    free: usize,
    /// The length of all names.
    names_len: usize,
}

/// The end of the list of free entries.
const NONE: usize = usize::MAX;

#[derive(Debug)]
enum Entry {
    Name(Box<[u8]>),
    /// The next free entry, or [`NONE`].
    Free(usize),
}

impl Default for LongNames {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            free: NONE,
            names_len: 0,
        }
    }
}

impl LongNames {
    /// Stores a name and returns its number.
    pub(super) fn insert(&mut self, name: &[u8]) -> usize {
        self.names_len += name.len();
        let name = Entry::Name(name.into());
        if self.free != NONE {
            let number = self.free;
            let entry = &mut self.blocks[number / BLOCK][number % BLOCK];
            if let Entry::Free(next) = std::mem::replace(entry, name) {
                self.free = next;
            }
            return number;
        }
        let full = self.blocks.last().is_none_or(|block| block.len() == BLOCK);
        if full {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        let before = (self.blocks.len() - 1) * BLOCK;
        let block = self.blocks.last_mut().expect("a block was just added");
        block.push(name);
        before + block.len() - 1
    }

    /// Returns a name; an empty one for a number that is free.
    pub(super) fn name(&self, number: usize) -> &[u8] {
        match &self.blocks[number / BLOCK][number % BLOCK] {
            Entry::Name(name) => name,
            Entry::Free(_) => &[],
        }
    }

    /// Returns how many bytes the names take, without what the allocator adds.
    pub(super) fn bytes(&self) -> usize {
        self.blocks.len() * BLOCK * size_of::<Entry>() + self.names_len
    }

    /// Returns how many names are stored.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let entries = self.blocks.iter().flatten();
        entries
            .filter(|entry| matches!(entry, Entry::Name(_)))
            .count()
    }

    /// Frees a name.
    pub(super) fn remove(&mut self, number: usize) {
        self.names_len -= self.name(number).len();
        self.blocks[number / BLOCK][number % BLOCK] = Entry::Free(self.free);
        self.free = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_removed_names_are_used_again() {
        let mut names = LongNames::default();
        for n in 0..3_000 {
            assert_eq!(names.insert(format!("{n}").as_bytes()), n);
        }
        names.remove(2_000);
        names.remove(7);
        assert_eq!(names.insert(b"a"), 7);
        assert_eq!(names.insert(b"b"), 2_000);
        assert_eq!(names.insert(b"c"), 3_000);
        assert_eq!((names.name(7), names.name(8)), (&b"a"[..], &b"8"[..]));
        assert_eq!(names.blocks.len(), 3);
    }

    #[test]
    fn an_entry_is_two_words() {
        assert_eq!(size_of::<Entry>(), 16);
    }
}
