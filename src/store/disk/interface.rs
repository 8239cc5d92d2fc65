//! The traits of a disk and of an open file.

use std::fmt;
use std::io;
use std::path::Path;

/// Files and directories on some medium.
///
/// A change of a directory (a new, renamed or removed file) survives a power cut once
/// [`sync_directory`](Self::sync_directory) has returned; the contents of a file do once
/// [`DiskFile::sync`] has.
pub(in crate::store) trait Disk: fmt::Debug + Send + Sync {
    /// Creates a directory with its missing parents, durably.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// Returns the names of the entries of a directory, in no particular order.
    fn entries(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// Opens a file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Creates an empty file, or empties an existing one, and opens it for reading and writing.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Renames a file. A file that has the new name already is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the changes to a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Reads a whole file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    }
}

/// An open file.
pub(in crate::store) trait DiskFile: fmt::Debug + Send + Sync {
    /// Returns the length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Reads bytes from `offset` on until `bytes` is full or the file ends. Returns how many.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the contents durable, and the length if it changed.
    fn sync(&self) -> io::Result<()>;
}
