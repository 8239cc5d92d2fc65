//! TLS without sockets: certificates and keys from files, the session of one connection as bytes in and
//! bytes out, and the counts of both. It knows no connection, no dialect and no runtime.

mod certificates;
mod client_hello;
mod counts;
mod files;
mod records;
mod session;
mod slots;
mod subject;

pub use certificates::Tls;
pub(crate) use client_hello::is_client_hello;
pub(crate) use counts::HandshakeFailure;
pub use counts::TlsSnapshot;
#[cfg(feature = "cluster")]
pub(crate) use files::load_for_peers;
pub(crate) use session::{CIPHERTEXT_LEN, PLAINTEXT_LEN, TlsSession};
pub(crate) use slots::HandshakeSlot;
