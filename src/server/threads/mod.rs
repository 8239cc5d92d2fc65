//! The threads of a server: starting the workers and the store's thread, a worker's life from its
//! first task to its graceful stop. The top of the server: it knows every other part, and none knows
//! it but [`Server`](super::Server).

mod limits;
mod start;
mod worker;

pub(crate) use limits::warn_of_limits;
pub(crate) use start::{Prepared, start};

#[cfg(test)]
mod tests;
