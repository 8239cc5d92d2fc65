//! What is known of the server as a whole: its settings and age, who is connected, what each worker has
//! counted. Workers write it, INFO and CLIENT LIST read it. Knows no socket and no request.

mod clients;
mod connections;
mod counters;
mod server;

pub(crate) use clients::{Client, Registration};
pub(crate) use connections::{Accepting, Connections, OpenConnection};
pub(crate) use counters::Counters;
pub(crate) use server::Status;
