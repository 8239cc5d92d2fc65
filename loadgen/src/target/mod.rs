//! The targets that can be measured. A target encodes requests, decodes replies and says how to match
//! the two. One small file per dialect; nothing here does I/O. To add a target, write its file and
//! name it in [`ALL`].

mod classic;
mod framed;
mod interface;
mod memcached;
mod registry;
mod resp;
mod text;

pub(crate) use interface::{Decoded, Matching, Outcome, Target, Transport};
pub(crate) use registry::{ALL, named};
