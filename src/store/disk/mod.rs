//! The files of a data directory, behind a trait: the system's files, and for tests a disk whose
//! power fails. Knows nothing of what the files contain.

mod interface;
#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(test), allow(dead_code, reason = "fuzz targets cut no power"))]
#[allow(clippy::unwrap_used, reason = "nothing that is deployed has it")]
mod simulated;
mod system;

pub(super) use interface::{Disk, DiskFile};
#[cfg(any(test, feature = "fuzzing"))]
pub(super) use simulated::SimulatedDisk;
#[cfg(test)]
pub(super) use simulated::Survives;
pub(super) use system::{FILE_MODE, SystemDisk};
