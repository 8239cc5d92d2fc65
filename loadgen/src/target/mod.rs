//! What can be measured: a target says how its requests and replies look on the wire, and how the
//! two find each other. One small file a dialect; nothing here does I/O. To add a target: write its
//! file, and name it in [`ALL`].

mod classic;
mod framed;
mod interface;
mod memcached;
mod registry;
mod resp;
mod text;

pub(crate) use interface::{Decoded, Matching, Outcome, Target, Transport};
pub(crate) use registry::{ALL, named};
