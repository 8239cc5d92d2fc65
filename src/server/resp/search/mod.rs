//! The commands that search the topics: SCAN, KEYS, RANDOMKEY, and those of CLUSTER for the topics of a
//! slot. Each searches in bounded parts, so that the other connections have their turn between two parts. They know no socket, and not
//! how a shard is reached.

mod command;
mod keys;
mod random_key;
mod scan;
mod slot_keys;

pub(super) use command::{Progress, Search};
pub(super) use keys::Keys;
pub(super) use random_key::RandomKey;
pub(super) use scan::Scan;
pub(super) use slot_keys::SlotKeys;
