//! The counts of connections: of all workers, of each worker, and of each address. They know no socket.

mod open;
mod sources;

pub(crate) use open::{Accepting, Connections, OpenConnection, Refused};
