//! A disk for tests whose power fails: it forgets what was not synced. Of a write that was not
//! synced, any 512-byte sectors may survive, whatever became of other ones and of earlier writes; of
//! the changes to a directory, any may.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::interface::{Disk, DiskFile};

const SECTOR: usize = 512;

/// See the [module](self). Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Debug, Clone, Default)]
struct State {
    /// The names of the files, as they are now and as they survive a power cut for sure.
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// The changes of names that are not durable yet.
    pending_names: Vec<NameChange>,
    inodes: HashMap<usize, Inode>,
    next_inode: usize,
    /// How many operations changed something.
    operations: u64,
    /// The power fails during the operation with this number.
    cut_at: Option<u64>,
    /// Whether the disk has no more room.
    full: bool,
}

#[derive(Debug, Clone)]
enum NameChange {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf, usize),
    Remove(PathBuf),
}

#[derive(Debug, Clone, Default)]
struct Inode {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// Writes that are not synced, in order.
    pending: Vec<(usize, Vec<u8>)>,
}

/// What survives a power cut of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Survives {
    Nothing,
    Everything,
    /// Each sector and each name with a probability of one half, from this seed.
    Some(u64),
}

impl SimulatedDisk {
    pub(in crate::store) fn new() -> Self {
        Self::default()
    }

    /// Returns how many operations changed something so far.
    pub(in crate::store) fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Makes the power fail during the operation with this number, counted from 1.
    pub(in crate::store) fn cut_at(&self, operation: u64) {
        self.0.lock().cut_at = Some(operation);
    }

    /// Returns whether the power has failed.
    pub(in crate::store) fn is_cut(&self) -> bool {
        let state = self.0.lock();
        state.cut_at.is_some_and(|at| state.operations >= at)
    }

    /// Lets all writes fail for lack of room, or no longer.
    pub(in crate::store) fn set_full(&self, full: bool) {
        self.0.lock().full = full;
    }

    /// Returns an independent copy of the disk as it is now: what the next process finds if only this
    /// one ends. What was not synced can still be lost.
    pub(in crate::store) fn copy(&self) -> Self {
        let mut state = self.0.lock().clone();
        state.cut_at = None;
        Self(Arc::new(Mutex::new(state)))
    }

    /// Returns the disk as it is after a power cut at this moment.
    pub(in crate::store) fn after_power_cut(&self, survives: Survives) -> Self {
        let state = self.0.lock();
        let mut seed = match survives {
            Survives::Some(seed) => seed | 1,
            _ => 1,
        };
        let mut keep = || match survives {
            Survives::Nothing => false,
            Survives::Everything => true,
            Survives::Some(_) => {
                // xorshift
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                seed >> 32 & 1 == 1
            }
        };
        let mut names = state.durable_names.clone();
        for change in &state.pending_names {
            if keep() {
                change.apply(&mut names);
            }
        }
        let mut inodes = HashMap::new();
        for &inode in names.values() {
            let bytes = state.inodes[&inode].after_power_cut(&mut keep);
            let kept = Inode {
                durable: bytes.clone(),
                bytes,
                pending: Vec::new(),
            };
            inodes.insert(inode, kept);
        }
        Self(Arc::new(Mutex::new(State {
            durable_names: names.clone(),
            names,
            inodes,
            next_inode: state.next_inode,
            ..State::default()
        })))
    }

    /// Returns the paths of all files.
    pub(in crate::store) fn files(&self) -> Vec<PathBuf> {
        self.0.lock().names.keys().cloned().collect()
    }

    /// Returns the bytes of a file.
    pub(in crate::store) fn copy_of(&self, path: &Path) -> Vec<u8> {
        self.read(path).unwrap()
    }

    /// Changes the bytes of a file, durably.
    pub(in crate::store) fn change(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.0.lock();
        let inode = state.names[path];
        let inode = state.inodes.get_mut(&inode).unwrap();
        change(&mut inode.bytes);
        inode.durable = inode.bytes.clone();
        inode.pending.clear();
    }

    /// Begins an operation that changes something. An operation during which the power fails still
    /// has its effect, but not a durable one.
    fn operate(&self) -> io::Result<(MutexGuard<'_, State>, io::Result<()>)> {
        let mut state = self.0.lock();
        let cut = || io::Error::other("the power failed");
        if state.cut_at.is_some_and(|at| state.operations >= at) {
            return Err(cut());
        }
        state.operations += 1;
        let is_cut = state.cut_at == Some(state.operations);
        Ok((state, if is_cut { Err(cut()) } else { Ok(()) }))
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Create(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Self::Rename(from, to, inode) => {
                if names.get(from) == Some(inode) {
                    names.remove(from);
                }
                names.insert(to.clone(), *inode);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }

    fn directory(&self) -> Option<&Path> {
        match self {
            Self::Create(path, _) | Self::Rename(_, path, _) | Self::Remove(path) => path.parent(),
        }
    }
}

impl Inode {
    fn after_power_cut(&self, keep: &mut impl FnMut() -> bool) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for (offset, written) in &self.pending {
            let mut at = *offset;
            let end = offset + written.len();
            while at < end {
                let next = (at / SECTOR + 1) * SECTOR;
                let sector = &written[at - offset..next.min(end) - offset];
                if keep() {
                    let len = bytes.len().max(at + sector.len());
                    bytes.resize(len, 0);
                    bytes[at..at + sector.len()].copy_from_slice(sector);
                }
                at = next;
            }
        }
        bytes
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl State {
    /// Changes a name now, and durably at the next sync of its directory.
    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }
}

impl Disk for SimulatedDisk {
    fn create_directory(&self, _: &Path) -> io::Result<()> {
        // Directories are there and durable; only names of files are simulated.
        Ok(())
    }

    fn entries(&self, directory: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock();
        let names = state.names.keys().filter_map(|path| {
            let name = path.strip_prefix(directory).ok()?.components().next()?;
            Some(name.as_os_str().to_string_lossy().into_owned())
        });
        let mut names: Vec<String> = names.collect();
        names.dedup();
        Ok(names)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let state = self.0.lock();
        let inode = *state.names.get(path).ok_or_else(not_found)?;
        let disk = self.clone();
        Ok(Box::new(SimulatedFile { disk, inode }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let (mut state, result) = self.operate()?;
        if state.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = state.next_inode;
        state.next_inode += 1;
        state.inodes.insert(inode, Inode::default());
        state.change_name(NameChange::Create(path.to_owned(), inode));
        drop(state);
        let disk = self.clone();
        result.map(|()| Box::new(SimulatedFile { disk, inode }) as _)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (mut state, result) = self.operate()?;
        let inode = *state.names.get(from).ok_or_else(not_found)?;
        state.change_name(NameChange::Rename(from.to_owned(), to.to_owned(), inode));
        result
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (mut state, result) = self.operate()?;
        state.names.get(path).ok_or_else(not_found)?;
        state.change_name(NameChange::Remove(path.to_owned()));
        result
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let (mut state, result) = self.operate()?;
        result?;
        let pending = std::mem::take(&mut state.pending_names);
        for change in pending {
            match change.directory() == Some(path) {
                true => change.apply(&mut state.durable_names),
                false => state.pending_names.push(change),
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    inode: usize,
}

impl DiskFile for SimulatedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().inodes[&self.inode].bytes.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.0.lock();
        let file = &state.inodes[&self.inode].bytes;
        let rest = file.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(bytes.len());
        bytes[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (mut state, result) = self.disk.operate()?;
        let offset = offset as usize;
        let full = state.full;
        let inode = state.inodes.get_mut(&self.inode).unwrap();
        let end = offset + bytes.len();
        if inode.bytes.len() < end {
            // Only new room can be lacking.
            if full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            inode.bytes.resize(end, 0);
        }
        inode.bytes[offset..end].copy_from_slice(bytes);
        inode.pending.push((offset, bytes.to_owned()));
        result
    }

    fn sync(&self) -> io::Result<()> {
        let (mut state, result) = self.disk.operate()?;
        result?;
        let inode = state.inodes.get_mut(&self.inode).unwrap();
        inode.durable = inode.bytes.clone();
        inode.pending.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_cut_tears_and_reorders_what_was_not_synced() {
        let disk = SimulatedDisk::new();
        let path = Path::new("/data/file");
        let file = disk.create(path).unwrap();
        file.write_at(&[1; 4 * SECTOR], 0).unwrap();
        file.sync().unwrap();
        assert_eq!(disk.after_power_cut(Survives::Nothing).files().len(), 0);
        disk.sync_directory(Path::new("/data")).unwrap();
        file.write_at(&[2; SECTOR], SECTOR as u64).unwrap();
        file.write_at(&[3; 2 * SECTOR], 2 * SECTOR as u64).unwrap();
        let mut images = std::collections::HashSet::new();
        for seed in 1..200 {
            let image = disk.after_power_cut(Survives::Some(seed << 40 | seed << 20 | seed));
            let bytes = image.read(path).unwrap();
            let sectors: Vec<u8> = bytes.chunks(SECTOR).map(|sector| sector[0]).collect();
            images.insert(sectors);
        }
        // Each of the three sectors is old or new.
        assert_eq!(images.len(), 8, "{images:?}");
        disk.cut_at(disk.operations() + 1);
        assert!(file.sync().is_err() && disk.is_cut() && file.sync().is_err());
        let image = disk.after_power_cut(Survives::Nothing);
        assert_eq!(image.read(path).unwrap(), [1; 4 * SECTOR]);
    }
}
