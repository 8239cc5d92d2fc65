//! Receives batches of datagrams with `recvmmsg`.

use std::io;
use std::iter;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::control::{Ancillary, CONTROL_LEN, CONTROL_WORDS, Control, read_control};
use super::message::{DATAGRAMS, no_header, no_vector};
use super::peer::{NAME_LEN, Peer};

/// The size of a buffer in bytes. The largest UDP payload is smaller, and so is a coalesced
/// message, so nothing is ever truncated.
const BUFFER_LEN: usize = 65_536;

/// The buffers of `recvmmsg`, and the messages of its last call.
pub struct Received {
    buffers: Box<[u8]>,
    names: Box<[[u8; NAME_LEN]]>,
    controls: Box<[Control]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    ancillary: Box<[Ancillary]>,
    count: usize,
    /// See [`Ancillary::dropped`]; of the last message that told.
    dropped: u32,
}

impl Received {
    /// Creates empty buffers of 2 MiB in all.
    #[allow(clippy::new_without_default)] // such large buffers are created by name only
    pub fn new() -> Self {
        Self {
            buffers: vec![0; DATAGRAMS * BUFFER_LEN].into(),
            names: vec![[0; NAME_LEN]; DATAGRAMS].into(),
            controls: vec![[0; CONTROL_WORDS]; DATAGRAMS].into(),
            vectors: (0..DATAGRAMS).map(|_| no_vector()).collect(),
            headers: (0..DATAGRAMS).map(|_| no_header()).collect(),
            ancillary: vec![Ancillary::NONE; DATAGRAMS].into(),
            count: 0,
            dropped: 0,
        }
    }

    /// Receives the available messages, at most [`DATAGRAMS`], and returns their number. Never
    /// blocks.
    ///
    /// # Errors
    ///
    /// The kernel's error; `WouldBlock` if no message is available.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
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
        // SAFETY: each header names one vector, one name and one control buffer of the stated
        // lengths. They are exclusively borrowed through `self` and alive during the call, and the
        // kernel writes no further than those lengths.
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
        for (ancillary, header) in self.ancillary.iter_mut().zip(&self.headers[..self.count]) {
            *ancillary = read_control(&header.msg_hdr);
            self.dropped = ancillary.dropped.unwrap_or(self.dropped);
        }
        Ok(self.count)
    }

    /// Returns how many datagrams the kernel had dropped at the socket when the last message
    /// arrived, modulo 2^32: they did not fit into the receive buffer, or were broken. 0 unless
    /// [`enable_drop_count`](super::enable_drop_count) was called.
    pub fn dropped(&self) -> u32 {
        self.dropped
    }

    /// Returns how many messages the last call received. Without GRO, each is one datagram.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns all buffers, one after another; [`span`](Self::span) is a range of these bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.buffers
    }

    /// Returns the range in [`bytes`](Self::bytes) of the `i`-th message of the last call.
    pub fn span(&self, i: usize) -> Range<usize> {
        assert!(i < self.count);
        let start = i * BUFFER_LEN;
        start..start + (self.headers[i].msg_len as usize).min(BUFFER_LEN)
    }

    /// Returns how many bytes each datagram of the `i`-th message has; the last one may be shorter.
    /// It is the length of the message, unless the kernel coalesced several datagrams. 0 for an
    /// empty datagram, which is always a message of its own.
    pub fn segment_len(&self, i: usize) -> usize {
        assert!(i < self.count);
        self.ancillary[i]
            .segment
            .unwrap_or_else(|| self.span(i).len())
    }

    /// Returns the range in [`bytes`](Self::bytes) of each datagram of the `i`-th message of the
    /// last call. There is at least one; an empty datagram has an empty range.
    pub fn datagrams(&self, i: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let span = self.span(i);
        let len = self.segment_len(i);
        let mut next = Some(span.start);
        iter::from_fn(move || {
            let start = next?;
            let end = span.end.min(start + len);
            next = (end < span.end).then_some(end);
            Some(start..end)
        })
    }

    /// Returns the sender of the `i`-th message of the last call.
    pub fn peer(&self, i: usize) -> Peer {
        assert!(i < self.count);
        let header = &self.headers[i].msg_hdr;
        Peer {
            name: self.names[i],
            name_len: (header.msg_namelen as usize).min(NAME_LEN) as u8,
            local: self.ancillary[i].local,
        }
    }
}
