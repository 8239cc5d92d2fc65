//! Datagrams in batches: `recvmmsg` and `sendmmsg`, each datagram with the local address that it
//! was sent to, so that its reply leaves from there. The only file with `unsafe`.
//!
//! nix wraps both calls, but its `sendmmsg` takes one list of control messages for all datagrams
//! of a call, and each reply here has an own local address.

#![allow(unsafe_code)]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// The most datagrams that one system call receives or sends. 32 buffers of 64 KiB are 2 MiB of
/// address space a worker, touched only as far as datagrams fill them.
pub(super) const DATAGRAMS: usize = 32;

/// The largest payload that UDP can carry is smaller, so none is ever truncated.
const BUFFER_LEN: usize = 65_536;

/// Bytes of a socket address: `sockaddr_in6`, the larger of the two families.
const NAME_LEN: usize = size_of::<libc::sockaddr_in6>();

/// Room for one control message with packet information, in words (for its alignment). The larger
/// one is IPv6's: a header of 16 bytes and 20 bytes of data.
const CONTROL_WORDS: usize = 5;
const CONTROL_LEN: usize = CONTROL_WORDS * size_of::<u64>();

type Control = [u64; CONTROL_WORDS];

/// Who sent a datagram, and to which local address. The address is kept as the kernel said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    name: [u8; NAME_LEN],
    name_len: u8,
    local: Local,
}

/// The local address that a datagram was sent to, where the socket was asked to tell: one bound to
/// a wildcard address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Local {
    Bound,
    V4([u8; 4]),
    V6([u8; 16]),
}

#[cfg(test)]
impl Peer {
    /// A peer that nothing can be sent to.
    pub(super) fn nobody() -> Self {
        Self {
            name: [0; NAME_LEN],
            name_len: 0,
            local: Local::Bound,
        }
    }
}

/// Buffers for one `recvmmsg`, and what it returned.
pub(super) struct Received {
    buffers: Box<[u8]>,
    names: Box<[[u8; NAME_LEN]]>,
    controls: Box<[Control]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    count: usize,
}

impl Received {
    /// Buffers without datagrams.
    pub(super) fn new() -> Self {
        Self {
            buffers: vec![0; DATAGRAMS * BUFFER_LEN].into(),
            names: vec![[0; NAME_LEN]; DATAGRAMS].into(),
            controls: vec![[0; CONTROL_WORDS]; DATAGRAMS].into(),
            vectors: (0..DATAGRAMS).map(|_| no_vector()).collect(),
            headers: (0..DATAGRAMS).map(|_| no_header()).collect(),
            count: 0,
        }
    }

    /// Receives what waits, at most [`DATAGRAMS`]; returns how many. Never blocks.
    ///
    /// # Errors
    ///
    /// What the kernel says; `WouldBlock` where nothing waits.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.count = 0;
        let buffers = self.buffers.chunks_exact_mut(BUFFER_LEN);
        for (vector, buffer) in self.vectors.iter_mut().zip(buffers) {
            vector.iov_base = buffer.as_mut_ptr().cast();
            vector.iov_len = buffer.len();
        }
        for (i, header) in self.headers.iter_mut().enumerate() {
            header.msg_hdr.msg_name = self.names[i].as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = NAME_LEN as libc::socklen_t;
            header.msg_hdr.msg_iov = &raw mut self.vectors[i];
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = self.controls[i].as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL_LEN as _;
        }
        // SAFETY: each header names one vector, one name and one control buffer, all of the stated
        // lengths, exclusively borrowed through `self` and alive during the call; the kernel
        // writes no further than those lengths.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                DATAGRAMS as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        self.count = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        Ok(self.count)
    }

    /// How many datagrams the last call received.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// All buffers, one after another: what [`span`](Self::span) counts in.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffers
    }

    /// Where in [`bytes`](Self::bytes) the `i`-th datagram of the last call lies.
    pub(super) fn span(&self, i: usize) -> std::ops::Range<usize> {
        assert!(i < self.count);
        let start = i * BUFFER_LEN;
        start..start + (self.headers[i].msg_len as usize).min(BUFFER_LEN)
    }

    /// Who sent the `i`-th datagram of the last call.
    pub(super) fn peer(&self, i: usize) -> Peer {
        assert!(i < self.count);
        let header = &self.headers[i].msg_hdr;
        Peer {
            name: self.names[i],
            name_len: (header.msg_namelen as usize).min(NAME_LEN) as u8,
            local: local_of(header),
        }
    }
}

/// The local address in a received datagram's control messages.
fn local_of(header: &libc::msghdr) -> Local {
    // SAFETY: `header` is as recvmmsg left it, so its control buffer holds `msg_controllen` bytes
    // of whole control messages, which the CMSG macros stay within; data is read unaligned, and
    // the kernel wrote a whole structure for these two types.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            let data = libc::CMSG_DATA(control);
            match ((*control).cmsg_level, (*control).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo = ptr::read_unaligned(data.cast());
                    return Local::V4(info.ipi_spec_dst.s_addr.to_ne_bytes());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo = ptr::read_unaligned(data.cast());
                    return Local::V6(info.ipi6_addr.s6_addr);
                }
                _ => control = libc::CMSG_NXTHDR(header, control),
            }
        }
    }
    Local::Bound
}

/// Datagrams that wait to be sent, in order.
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    datagrams: Vec<Datagram>,
    /// How many of `datagrams` are sent.
    sent: usize,
    names: Box<[[u8; NAME_LEN]]>,
    controls: Box<[Control]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

struct Datagram {
    end: usize,
    to: Peer,
}

impl Outgoing {
    /// Nothing to send.
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            datagrams: Vec::new(),
            sent: 0,
            names: vec![[0; NAME_LEN]; DATAGRAMS].into(),
            controls: vec![[0; CONTROL_WORDS]; DATAGRAMS].into(),
            vectors: (0..DATAGRAMS).map(|_| no_vector()).collect(),
            headers: (0..DATAGRAMS).map(|_| no_header()).collect(),
        }
    }

    /// Whether all is sent.
    pub(super) fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// The payload of the datagram in the making, to append to; [`close`](Self::close) ends it.
    pub(super) fn open(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes of the datagram in the making.
    pub(super) fn open_len(&self) -> usize {
        self.bytes.len() - self.datagrams.last().map_or(0, |last| last.end)
    }

    /// Ends the datagram in the making; it goes to `to`, from the address that `to` had written to.
    pub(super) fn close(&mut self, to: Peer) {
        let end = self.bytes.len();
        self.datagrams.push(Datagram { end, to });
    }

    /// Sends until nothing is left or the socket takes no more. One that the kernel refuses for
    /// itself (an address that can't be reached) is given up; their number is returned.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where the socket takes no more now; what is left stays.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let mut refused = 0;
        while self.sent < self.datagrams.len() {
            match self.send_some(socket) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => {
                    self.sent += 1;
                    refused += 1;
                }
            }
        }
        self.bytes.clear();
        self.datagrams.clear();
        self.sent = 0;
        Ok(refused)
    }

    /// One `sendmmsg`; returns how many datagrams it took, at least one.
    fn send_some(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let mut start = match self.sent {
            0 => 0,
            sent => self.datagrams[sent - 1].end,
        };
        let count = (self.datagrams.len() - self.sent).min(DATAGRAMS);
        for (i, datagram) in self.datagrams[self.sent..][..count].iter().enumerate() {
            let payload = &mut self.bytes[start..datagram.end];
            start = datagram.end;
            self.vectors[i].iov_base = payload.as_mut_ptr().cast();
            self.vectors[i].iov_len = payload.len();
            self.names[i] = datagram.to.name;
            let header = &mut self.headers[i].msg_hdr;
            header.msg_name = self.names[i].as_mut_ptr().cast();
            header.msg_namelen = datagram.to.name_len.into();
            header.msg_iov = &raw mut self.vectors[i];
            header.msg_iovlen = 1;
            set_local(header, &mut self.controls[i], datagram.to.local);
        }
        // SAFETY: the first `count` headers name vectors, names and control buffers of the stated
        // lengths, exclusively borrowed through `self` and alive during the call.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count as libc::c_uint,
                (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// Has a datagram leave from `local`, by a control message in `control`.
fn set_local(header: &mut libc::msghdr, control: &mut Control, local: Local) {
    let (level, kind, len) = match local {
        Local::Bound => {
            header.msg_control = ptr::null_mut();
            header.msg_controllen = 0;
            return;
        }
        Local::V4(_) => (
            libc::IPPROTO_IP,
            libc::IP_PKTINFO,
            size_of::<libc::in_pktinfo>(),
        ),
        Local::V6(_) => (
            libc::IPPROTO_IPV6,
            libc::IPV6_PKTINFO,
            size_of::<libc::in6_pktinfo>(),
        ),
    };
    header.msg_control = control.as_mut_ptr().cast();
    // SAFETY: CMSG_SPACE and CMSG_LEN only compute. `control` is aligned for a cmsghdr and has
    // room for one with either structure (CONTROL_WORDS), which the assertion below states; the
    // structures are plain numbers, for which zeros are a value, and are written unaligned.
    unsafe {
        let space = libc::CMSG_SPACE(len as libc::c_uint) as usize;
        assert!(space <= CONTROL_LEN);
        header.msg_controllen = space as _;
        let message = libc::CMSG_FIRSTHDR(header);
        (*message).cmsg_level = level;
        (*message).cmsg_type = kind;
        (*message).cmsg_len = libc::CMSG_LEN(len as libc::c_uint) as _;
        let data = libc::CMSG_DATA(message);
        match local {
            Local::Bound => {}
            Local::V4(address) => {
                let mut info: libc::in_pktinfo = zeroed();
                info.ipi_spec_dst.s_addr = u32::from_ne_bytes(address);
                ptr::write_unaligned(data.cast(), info);
            }
            Local::V6(address) => {
                let mut info: libc::in6_pktinfo = zeroed();
                info.ipi6_addr.s6_addr = address;
                ptr::write_unaligned(data.cast(), info);
            }
        }
    }
}

fn no_vector() -> libc::iovec {
    libc::iovec {
        iov_base: ptr::null_mut(),
        iov_len: 0,
    }
}

fn no_header() -> libc::mmsghdr {
    // SAFETY: plain numbers and pointers, for which zeros are a value.
    unsafe { zeroed() }
}
