//! System calls: binding groups of sockets, batches of datagrams, pinning threads to processors; and TLS
//! without its sockets. [`sys`] is the only file with `unsafe`. Knows no dialect, no shard and no runtime.

// These two are public only for loadgen, which measures with the very same system calls. They are
// not part of the stable API.
pub mod affinity;
mod inherited;
mod listen;
pub mod sys;
mod tls;

pub use inherited::Inherited;
pub(crate) use inherited::{Group, inherited_tcp, inherited_udp};
pub(crate) use listen::{
    UDP_BUFFER, drop_new_connections, tcp_group, udp_group, udp_receive_buffer,
};
#[cfg(feature = "cluster")]
pub(crate) use tls::load_for_peers;
pub(crate) use tls::{
    CIPHERTEXT_LEN, HandshakeFailure, HandshakeSlot, PLAINTEXT_LEN, TlsSession, is_client_hello,
};
pub use tls::{Tls, TlsSnapshot};

pub(crate) use crate::measure::{LogLimit, coarse_nanoseconds, coarse_seconds};
