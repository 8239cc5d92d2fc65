//! How topics, records and checksums are encoded on the disk. Knows no files.

mod checksum;
mod rows;

pub(super) use checksum::{Seed, StoreId};
pub use rows::Rows;
pub(super) use rows::{Row, decode};
