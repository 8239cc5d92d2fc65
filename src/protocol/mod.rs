//! The wire protocol: decodes bytes to a [`Request`] and encodes a [`Reply`] to bytes, and the
//! reverse for clients. Owns every fact of docs/protocol.md. Knows no sockets, no counters and no
//! clock, and allocates nothing per request. Server, client, load generator and tests share it.
//!
//! There are three dialects: [`classic`], one message at a time; [`framed`], pipelined, with
//! request ids; [`resp`], the Redis protocol. [`Dialect::of`] tells them apart by the first byte.

pub mod classic;
mod dialect;
mod error;
pub mod framed;
mod request;
pub mod resp;

pub use dialect::Dialect;
pub use error::ErrorCode;
pub use request::{Condition, Method, Op, Reply, Request};
