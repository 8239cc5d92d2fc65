//! Sends batches of datagrams with `sendmmsg`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::control::{CONTROL_WORDS, Control, set_control};
use super::message::{DATAGRAMS, no_header, no_vector};
use super::peer::{NAME_LEN, Peer};

/// The most datagrams in one message. The kernel refuses more than its UDP_MAX_SEGMENTS: 64 in older
/// kernels, 128 in newer ones.
const SEGMENTS: usize = 64;

/// The most bytes in one message, over all its datagrams. Until it is segmented it is one IP packet:
/// 65,535 bytes including 20 of IPv4's header and 8 of UDP's.
pub(super) const MESSAGE_LEN: usize = 65_507;

/// Datagrams that wait to be sent, in order. Appended to with [`open`](Outgoing::open) and
/// [`close`](Outgoing::close).
pub struct Outgoing {
    bytes: Vec<u8>,
    /// Where the open datagram begins.
    open_at: usize,
    pub(super) datagrams: Vec<Datagram>,
    /// The peers of `datagrams`; consecutive datagrams to one peer share an entry.
    peers: Vec<Peer>,
    /// How many of `datagrams` have been sent.
    sent: usize,
    /// The longest datagrams that share a message; 0 if none do.
    pub(super) segment_limit: usize,
    /// The datagrams before this one have a message each, because the kernel refused them together.
    alone_until: usize,
    /// The new `segment_limit` if the kernel accepts the first of them alone.
    suspicion: Option<usize>,
    /// Why the kernel last refused a datagram that was alone in its message.
    refusal: Option<io::Error>,
    /// The number of datagrams in each message of the last call.
    pub(super) runs: [usize; DATAGRAMS],
    names: Box<[[u8; NAME_LEN]]>,
    controls: Box<[Control]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

#[derive(Clone, Copy)]
pub(super) struct Datagram {
    end: usize,
    to: Recipient,
}

/// The index of a peer in [`Outgoing::peers`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recipient(usize);

impl Outgoing {
    /// Creates an empty queue.
    #[allow(clippy::new_without_default)] // such large buffers are created by name only
    pub fn new() -> Self {
        Self {
            bytes: Vec::new(),
            open_at: 0,
            datagrams: Vec::new(),
            peers: Vec::new(),
            sent: 0,
            segment_limit: 0,
            alone_until: 0,
            suspicion: None,
            refusal: None,
            runs: [0; DATAGRAMS],
            names: vec![[0; NAME_LEN]; DATAGRAMS].into(),
            controls: vec![[0; CONTROL_WORDS]; DATAGRAMS].into(),
            vectors: (0..DATAGRAMS).map(|_| no_vector()).collect(),
            headers: (0..DATAGRAMS).map(|_| no_header()).collect(),
        }
    }

    /// Turns segmentation by the kernel on or off (GSO); it is off at first. Consecutive datagrams to one
    /// peer and of equal length, except a shorter last one, then share a message.
    ///
    /// If the kernel refuses such a message (a datagram is longer than the path's MTU, or the network
    /// device cannot compute checksums), its datagrams are sent one by one. From then on, datagrams of
    /// that length share no message; if length is not the reason, no datagrams do.
    ///
    /// Only for a socket that [`knows_segmentation`](super::knows_segmentation): an older kernel ignores
    /// the option and sends one large datagram.
    pub fn set_segmentation(&mut self, on: bool) {
        self.segment_limit = if on { MESSAGE_LEN } else { 0 };
        self.suspicion = None;
    }

    /// Returns whether every datagram is sent.
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Returns the buffer to append the next datagram's payload to; [`close`](Self::close) ends the
    /// datagram.
    pub fn open(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Returns the length of the open datagram in bytes.
    pub fn open_len(&self) -> usize {
        self.bytes.len() - self.open_at
    }

    /// Ends the open datagram. It is sent to `to`, from the local address that `to` had sent to.
    pub fn close(&mut self, to: &Peer) {
        let to = self.recipient(to);
        self.close_for(to);
    }

    /// The same as [`close`](Self::close), for a peer that [`recipient`](Self::recipient) returned.
    #[inline]
    pub(crate) fn close_for(&mut self, to: Recipient) {
        self.close_first(self.open_len(), to);
    }

    /// Returns `peer` as the other methods take it until the next call of [`send`](Self::send): to end
    /// many datagrams to one peer without comparing the peers of each.
    pub(crate) fn recipient(&mut self, peer: &Peer) -> Recipient {
        if self.peers.last() != Some(peer) {
            self.peers.push(*peer);
        }
        Recipient(self.peers.len() - 1)
    }

    /// Ends the open datagram after its first `len` bytes, which are sent to `to`. Its other bytes begin
    /// the next datagram.
    #[inline]
    pub(crate) fn close_first(&mut self, len: usize, to: Recipient) {
        self.open_at += len;
        let end = self.open_at;
        self.datagrams.push(Datagram { end, to });
    }

    /// Sends until nothing is left or the socket takes no more. A datagram that the kernel refuses even
    /// alone (its address cannot be reached) is dropped. Returns how many were dropped.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the socket takes no more now; unsent datagrams stay.
    pub fn send(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let mut refused = 0;
        while self.sent < self.datagrams.len() {
            match self.send_some(socket) {
                Ok(sent) => {
                    self.sent += sent;
                    if let Some(limit) = self.suspicion.take() {
                        self.segment_limit = limit;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(error) if self.runs[0] > 1 => {
                    let len = self.datagrams[self.sent].end - self.start_of(self.sent);
                    self.suspicion = limit_after(&error, len);
                    self.alone_until = self.sent + self.runs[0];
                }
                Err(error) => {
                    self.sent += 1;
                    self.suspicion = None;
                    self.refusal = Some(error);
                    refused += 1;
                }
            }
        }
        self.bytes.clear();
        self.open_at = 0;
        self.datagrams.clear();
        self.peers.clear();
        self.sent = 0;
        self.alone_until = 0;
        Ok(refused)
    }

    /// Returns how many bytes wait to be sent, or were sent with them by a call that the socket
    /// interrupted.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Returns why the kernel refused the last dropped datagram.
    pub fn take_refusal(&mut self) -> Option<io::Error> {
        self.refusal.take()
    }

    /// Calls `sendmmsg` once. Returns how many datagrams it took, at least one.
    fn send_some(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let mut first = self.sent;
        let mut start = self.start_of(first);
        let mut count = 0;
        while count < DATAGRAMS && first < self.datagrams.len() {
            let run = self.run(first, start);
            let Datagram { end: cut, to } = self.datagrams[first];
            let to = &self.peers[to.0];
            let segment = (run > 1).then_some((cut - start) as u16);
            let end = self.datagrams[first + run - 1].end;
            let payload = &mut self.bytes[start..end];
            self.vectors[count].iov_base = payload.as_mut_ptr().cast();
            self.vectors[count].iov_len = payload.len();
            self.names[count] = to.name;
            let header = &mut self.headers[count].msg_hdr;
            header.msg_name = self.names[count].as_mut_ptr().cast();
            header.msg_namelen = to.name_len.into();
            header.msg_iov = &raw mut self.vectors[count];
            header.msg_iovlen = 1;
            set_control(header, &mut self.controls[count], to.local, segment);
            self.runs[count] = run;
            count += 1;
            first += run;
            start = end;
        }
        // SAFETY: the first `count` headers name vectors, names and control buffers of the stated lengths.
        // They are exclusively borrowed through `self` and alive during the call.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count as libc::c_uint,
                (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
            )
        };
        let sent = usize::try_from(sent).map_err(|_| io::Error::last_os_error())?;
        Ok(self.runs[..sent].iter().sum())
    }

    /// Returns where the `i`-th datagram begins.
    pub(super) fn start_of(&self, i: usize) -> usize {
        i.checked_sub(1).map_or(0, |last| self.datagrams[last].end)
    }

    /// Returns how many datagrams share a message, from the `first`-th on, which begins at `start`.
    pub(super) fn run(&self, first: usize, start: usize) -> usize {
        let Datagram { mut end, to } = self.datagrams[first];
        let len = end - start;
        if len > self.segment_limit || len == 0 || first < self.alone_until {
            return 1;
        }
        let mut count = 1;
        for next in self.datagrams[first + 1..].iter().take(SEGMENTS - 1) {
            let next_len = next.end - end;
            let fits = next_len <= len && next.end - start <= MESSAGE_LEN;
            if next_len == 0 || !fits || next.to != to {
                break;
            }
            count += 1;
            end = next.end;
            if next_len < len {
                break;
            }
        }
        count
    }
}

/// Returns the new segment limit after the kernel refused a message of datagrams of `len` bytes, if
/// `error` can mean that it cannot segment them.
///
/// Some of these errors have other causes too (a peer at port 0 is EINVAL). So the limit is applied
/// only once the kernel accepts the same datagrams one by one. Otherwise one peer could turn
/// segmentation off for everyone.
pub(super) fn limit_after(error: &io::Error, len: usize) -> Option<usize> {
    match error.raw_os_error()? {
        // The datagrams are too long for the path.
        libc::EINVAL | libc::EMSGSIZE => Some(len - 1),
        // The device, the route or the kernel cannot segment at all.
        libc::EIO | libc::EOPNOTSUPP | libc::ENOPROTOOPT => Some(0),
        _ => None,
    }
}
