//! What can be seen of this machine: the server's process, its processor time and memory, and what
//! the machine is. Also who runs where.

mod environment;
mod process;
mod processors;
mod threads;

pub(crate) use environment::Environment;
pub(crate) use process::{Process, Usage};
pub(crate) use processors::pin;
pub(crate) use threads::Threads;
