//! The structures of one message of `recvmmsg` or `sendmmsg`.

use std::mem::zeroed;
use std::ptr;

/// The most messages of one system call. Each is one datagram, unless coalesced or segmented. The 32
/// buffers of 64 KiB take 2 MiB of address space per worker; datagrams touch only the part that they
/// fill.
pub const DATAGRAMS: usize = 32;

/// Returns a vector that names no bytes.
pub(super) fn no_vector() -> libc::iovec {
    libc::iovec {
        iov_base: ptr::null_mut(),
        iov_len: 0,
    }
}

/// Returns a header without address, bytes and control messages.
pub(super) fn no_header() -> libc::mmsghdr {
    // SAFETY: the structure consists of numbers and pointers, for which zero is a valid value.
    unsafe { zeroed() }
}
