//! The files of a data directory, behind a trait: the system's files, and for tests a disk whose
//! power fails. Knows nothing of what the files contain.

mod interface;
#[cfg(test)]
mod simulated;
mod system;

pub(super) use interface::{Disk, DiskFile};
#[cfg(test)]
pub(super) use simulated::{SimulatedDisk, Survives};
pub(super) use system::{FILE_MODE, SystemDisk};
