//! The wire protocol: bytes to [`Request`], [`Reply`] to bytes, and the other way round for
//! clients. Owns every fact of docs/protocol.md and nothing else: no sockets, no counters, no
//! clock, and no allocation per request. Server, client, load generator and tests share it.
//!
//! Three dialects are spoken: [`classic`], one message at a time; [`framed`], pipelined and with
//! request ids; [`resp`], that of Redis. [`Dialect::of`] tells them apart by the first byte.

pub mod classic;
mod dialect;
mod error;
pub mod framed;
mod request;
pub mod resp;

pub use dialect::Dialect;
pub use error::ErrorCode;
pub use request::{Op, Reply, Request};
