//! The threads of a server: how the workers and the store's thread start, what a worker's thread
//! runs, and how it stops gracefully. This is the top of the server: it uses every other folder,
//! and only [`Server`](super::Server) uses it.

mod limits;
mod pulse;
mod run;
mod start;

pub(crate) use limits::warn_of_limits;
pub(crate) use pulse::Beats;
pub use pulse::Pulse;
pub(crate) use start::{Prepared, start};

#[cfg(test)]
mod tests;
