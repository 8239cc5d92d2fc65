//! System calls: binding groups of sockets, datagrams in batches, keeping threads on processors.
//! The only place with `unsafe` ([`sys`]). Knows no protocol, no shard and no runtime.

// Public for loadgen alone, which measures with the very same system calls, like `sys`. Nothing in
// either is promised to stay.
pub mod affinity;
pub(crate) mod clock;
pub(crate) mod listen;
pub mod sys;
