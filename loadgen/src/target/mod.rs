//! The targets that can be measured. A target encodes requests, decodes replies and says how to match
//! the two. One small file per dialect; nothing here does I/O.
//!
//! To add a target: write its file, declare the module here, add it to [`ALL`], name it in the help of
//! `--target` (`args/run.rs`), and make `null/answer.rs` answer its dialect (a test checks this).

mod classic;
mod framed;
mod interface;
mod memcached;
mod refusal;
mod registry;
mod resp;
mod slots;
mod text;

pub(crate) use interface::{Decoded, Login, Matching, Outcome, Target, Transport};
pub(crate) use refusal::Fate;
pub(crate) use registry::{ALL, named};
pub(crate) use slots::{Moved, OwnedSlots, decode_slots};
