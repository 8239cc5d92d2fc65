//! Datagrams in batches: `recvmmsg` and `sendmmsg`, each datagram with the local address that it
//! was sent to, so that its reply leaves from there. The only file with `unsafe`.
//!
//! One message of such a call is one datagram, or several of the same peer: what the kernel
//! coalesced on the way in (GRO), what it is to segment on the way out (GSO). Both are off unless
//! asked for.
//!
//! And what steers datagrams to one of several sockets, which nobody wraps.
//!
//! nix wraps both calls, but its `sendmmsg` takes one list of control messages for all datagrams
//! of a call, and each reply here has an own local address.

#![allow(unsafe_code)]
// 2 MiB of buffers are asked for by name.
#![allow(clippy::new_without_default)]

use std::io;
use std::iter;
use std::mem::{size_of, zeroed};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use nix::sys::socket::{getsockopt, setsockopt, sockopt};

/// The most messages that one system call receives or sends; each is a datagram, unless segmented
/// or coalesced. 32 buffers of 64 KiB are 2 MiB of address space a worker, touched only as far as
/// datagrams fill them.
pub const DATAGRAMS: usize = 32;

/// The largest payload that UDP can carry is smaller, and so is what the kernel coalesces: nothing
/// is ever truncated.
const BUFFER_LEN: usize = 65_536;

/// The most datagrams in one message: the kernel's UDP_MAX_SEGMENTS, 64 in older ones and 128 in
/// newer. It refuses a message with more.
const SEGMENTS: usize = 64;

/// The most bytes in one message, over all its datagrams: as a whole it is one IP packet until it
/// is segmented, 65,535 bytes with 20 of IPv4's header and 8 of UDP's.
const MESSAGE_LEN: usize = 65_507;

/// Bytes of a socket address: `sockaddr_in6`, the larger of the two families.
const NAME_LEN: usize = size_of::<libc::sockaddr_in6>();

/// Room for a control message with packet information, of which IPv6's is the larger, and one with
/// a segment length: UDP_GRO's int, UDP_SEGMENT's u16. In words, for their alignment.
const CONTROL_WORDS: usize =
    (space_of::<libc::in6_pktinfo>() + space_of::<libc::c_int>()).div_ceil(size_of::<u64>());
const CONTROL_LEN: usize = CONTROL_WORDS * size_of::<u64>();

type Control = [u64; CONTROL_WORDS];

/// Who sent a datagram, and to which local address. The address is kept as the kernel said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
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

impl Peer {
    /// The peer that the socket is connected to. On one that is not connected, nobody.
    #[must_use]
    pub fn connected() -> Self {
        Self {
            name: [0; NAME_LEN],
            name_len: 0,
            local: Local::Bound,
        }
    }
}

/// Has the kernel hand over datagrams of one peer, equally long and one right after another, as one
/// message: [`Received::datagrams`] takes it apart.
///
/// # Errors
///
/// What the kernel says: older than Linux 5.0, it does not know the option.
pub fn enable_gro(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(setsockopt(&socket, sockopt::UdpGroSegment, &true)?)
}

/// Whether the kernel knows segmentation: from Linux 4.18 on.
#[must_use]
pub fn knows_segmentation(socket: BorrowedFd<'_>) -> bool {
    getsockopt(&socket, sockopt::UdpGsoSegment).is_ok()
}

/// Has the kernel run a classic BPF program on each datagram for the group of sockets that `socket`
/// is of: it returns the number, in the order of their binding, of the socket to give it to. With any
/// other number the kernel chooses as it does without a program.
///
/// # Errors
///
/// What the kernel says: older than Linux 4.5, it does not know the option; or the program is none.
pub(crate) fn attach_reuseport_filter(
    socket: BorrowedFd<'_>,
    program: &[libc::sock_filter],
) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: program.len().try_into().map_err(io::Error::other)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the option takes a sock_fprog of this size, which names as many instructions as it says;
    // the kernel copies them during the call, and writes none.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Buffers for one `recvmmsg`, and what it returned.
pub struct Received {
    buffers: Box<[u8]>,
    names: Box<[[u8; NAME_LEN]]>,
    controls: Box<[Control]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    told: Box<[Told]>,
    count: usize,
}

/// What the kernel told about a message, in control messages.
#[derive(Debug, Clone, Copy)]
struct Told {
    local: Local,
    /// The length of the datagrams, where it coalesced several.
    segment: Option<usize>,
}

impl Told {
    const NOTHING: Self = Self {
        local: Local::Bound,
        segment: None,
    };
}

impl Received {
    /// Buffers without datagrams.
    pub fn new() -> Self {
        Self {
            buffers: vec![0; DATAGRAMS * BUFFER_LEN].into(),
            names: vec![[0; NAME_LEN]; DATAGRAMS].into(),
            controls: vec![[0; CONTROL_WORDS]; DATAGRAMS].into(),
            vectors: (0..DATAGRAMS).map(|_| no_vector()).collect(),
            headers: (0..DATAGRAMS).map(|_| no_header()).collect(),
            told: vec![Told::NOTHING; DATAGRAMS].into(),
            count: 0,
        }
    }

    /// Receives what waits, at most [`DATAGRAMS`] messages; returns how many. Never blocks.
    ///
    /// # Errors
    ///
    /// What the kernel says; `WouldBlock` where nothing waits.
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
        for (told, header) in self.told.iter_mut().zip(&self.headers[..self.count]) {
            *told = told_with(&header.msg_hdr);
        }
        Ok(self.count)
    }

    /// How many messages the last call received; without GRO, each is a datagram.
    pub fn count(&self) -> usize {
        self.count
    }

    /// All buffers, one after another: what [`span`](Self::span) counts in.
    pub fn bytes(&self) -> &[u8] {
        &self.buffers
    }

    /// Where in [`bytes`](Self::bytes) the `i`-th message of the last call lies.
    pub fn span(&self, i: usize) -> Range<usize> {
        assert!(i < self.count);
        let start = i * BUFFER_LEN;
        start..start + (self.headers[i].msg_len as usize).min(BUFFER_LEN)
    }

    /// How many bytes each datagram of the `i`-th message has, but the last, which may be shorter:
    /// the length of the message, unless the kernel coalesced several. 0 for an empty datagram,
    /// which is always a message of its own.
    pub fn segment_len(&self, i: usize) -> usize {
        assert!(i < self.count);
        self.told[i].segment.unwrap_or_else(|| self.span(i).len())
    }

    /// Where in [`bytes`](Self::bytes) each datagram of the `i`-th message of the last call lies:
    /// at least one, and one empty range for an empty datagram.
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

    /// Who sent the `i`-th message of the last call.
    pub fn peer(&self, i: usize) -> Peer {
        assert!(i < self.count);
        let header = &self.headers[i].msg_hdr;
        Peer {
            name: self.names[i],
            name_len: (header.msg_namelen as usize).min(NAME_LEN) as u8,
            local: self.told[i].local,
        }
    }
}

/// What a received message's control messages say.
fn told_with(header: &libc::msghdr) -> Told {
    let mut told = Told::NOTHING;
    // SAFETY: `header` is as recvmmsg left it, so its control buffer holds `msg_controllen` bytes
    // of whole control messages, which the CMSG macros stay within; data is read unaligned, and
    // the kernel wrote a whole structure, or int, for these three types.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            let data = libc::CMSG_DATA(control);
            match ((*control).cmsg_level, (*control).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo = ptr::read_unaligned(data.cast());
                    told.local = Local::V4(info.ipi_spec_dst.s_addr.to_ne_bytes());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo = ptr::read_unaligned(data.cast());
                    told.local = Local::V6(info.ipi6_addr.s6_addr);
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let len: libc::c_int = ptr::read_unaligned(data.cast());
                    told.segment = usize::try_from(len).ok().filter(|&len| len > 0);
                }
                _ => {}
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    told
}

/// Datagrams that wait to be sent, in order.
pub struct Outgoing {
    bytes: Vec<u8>,
    datagrams: Vec<Datagram>,
    /// How many of `datagrams` are sent.
    sent: usize,
    /// The longest datagrams that go several to a message; 0 where none do.
    segment_limit: usize,
    /// Of `datagrams`, those before this one go one to a message: together they were refused.
    alone_until: usize,
    /// What becomes of `segment_limit` if the first of them is taken now that it goes alone.
    suspicion: Option<usize>,
    /// Why the kernel refused a datagram for itself, last.
    refusal: Option<io::Error>,
    /// How many datagrams each message of the last call has.
    runs: [usize; DATAGRAMS],
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
    pub fn new() -> Self {
        Self {
            bytes: Vec::new(),
            datagrams: Vec::new(),
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

    /// Whether the kernel is to make the datagrams: consecutive ones to one peer and equally long,
    /// but for a shorter last one, are given to it as one message. Off at first.
    ///
    /// Where it refuses to (a datagram longer than the path's MTU, a network device that can't
    /// compute checksums), they are sent one by one, and no more are given to it together that are
    /// as long, or, where length is not the reason, none at all.
    ///
    /// Only for a socket that [`knows_segmentation`]: an older kernel ignores what it does not know
    /// and sends one large datagram.
    pub fn set_segmentation(&mut self, on: bool) {
        self.segment_limit = if on { MESSAGE_LEN } else { 0 };
        self.suspicion = None;
    }

    /// Whether all is sent.
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// The payload of the datagram in the making, to append to; [`close`](Self::close) ends it.
    pub fn open(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes of the datagram in the making.
    pub fn open_len(&self) -> usize {
        self.bytes.len() - self.datagrams.last().map_or(0, |last| last.end)
    }

    /// Ends the datagram in the making; it goes to `to`, from the address that `to` had written to.
    pub fn close(&mut self, to: Peer) {
        let end = self.bytes.len();
        self.datagrams.push(Datagram { end, to });
    }

    /// Sends until nothing is left or the socket takes no more. One that the kernel refuses for
    /// itself (an address that can't be reached) is given up; their number is returned.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where the socket takes no more now; what is left stays.
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
        self.datagrams.clear();
        self.sent = 0;
        self.alone_until = 0;
        Ok(refused)
    }

    /// Why the kernel refused the last of the datagrams that were given up.
    pub fn take_refusal(&mut self) -> Option<io::Error> {
        self.refusal.take()
    }

    /// One `sendmmsg`; returns how many datagrams it took, at least one.
    fn send_some(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let mut first = self.sent;
        let mut start = self.start_of(first);
        let mut count = 0;
        while count < DATAGRAMS && first < self.datagrams.len() {
            let run = self.run(first, start);
            let Datagram { end: cut, ref to } = self.datagrams[first];
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
        let sent = usize::try_from(sent).map_err(|_| io::Error::last_os_error())?;
        Ok(self.runs[..sent].iter().sum())
    }

    /// Where the `i`-th datagram begins.
    fn start_of(&self, i: usize) -> usize {
        i.checked_sub(1).map_or(0, |last| self.datagrams[last].end)
    }

    /// How many datagrams go into one message, from the `first`-th on, which begins at `start`.
    fn run(&self, first: usize, start: usize) -> usize {
        let Datagram { mut end, ref to } = self.datagrams[first];
        let len = end - start;
        if len > self.segment_limit || len == 0 || first < self.alone_until {
            return 1;
        }
        let mut count = 1;
        for next in self.datagrams[first + 1..].iter().take(SEGMENTS - 1) {
            let next_len = next.end - end;
            let fits = next_len <= len && next.end - start <= MESSAGE_LEN;
            if next_len == 0 || !fits || next.to != *to {
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

/// The longest datagrams to go several to a message, after one with some `len` bytes long was
/// refused with `error`, if that is how the kernel refuses to segment.
///
/// Some of these errors have other reasons too (a peer at port 0 is EINVAL). So it takes more than
/// the error: that the same datagrams are taken one by one. Or a peer could end it for everyone.
fn limit_after(error: &io::Error, len: usize) -> Option<usize> {
    match error.raw_os_error()? {
        // Too long for the path.
        libc::EINVAL | libc::EMSGSIZE => Some(len - 1),
        // The device, the route or the kernel can't at all.
        libc::EIO | libc::EOPNOTSUPP | libc::ENOPROTOOPT => Some(0),
        _ => None,
    }
}

/// Has a message leave from `local`, in datagrams of `segment` bytes, by what it writes to
/// `control`.
fn set_control(
    header: &mut libc::msghdr,
    control: &mut Control,
    local: Local,
    segment: Option<u16>,
) {
    let mut len = match local {
        Local::Bound => 0,
        Local::V4(address) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr {
                    s_addr: u32::from_ne_bytes(address),
                },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            put_control(control, 0, libc::IPPROTO_IP, libc::IP_PKTINFO, info)
        }
        Local::V6(address) => {
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: address },
                ipi6_ifindex: 0,
            };
            put_control(control, 0, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
        }
    };
    if let Some(segment) = segment {
        len = put_control(control, len, libc::SOL_UDP, libc::UDP_SEGMENT, segment);
    }
    header.msg_control = match len {
        0 => ptr::null_mut(),
        _ => control.as_mut_ptr().cast(),
    };
    header.msg_controllen = len as _;
}

/// Writes a control message behind the `used` bytes of those before it; returns how many they are
/// then.
fn put_control<T: Copy>(
    control: &mut Control,
    used: usize,
    level: libc::c_int,
    kind: libc::c_int,
    data: T,
) -> usize {
    let end = used + space_of::<T>();
    assert!(end <= CONTROL_LEN && used.is_multiple_of(align_of::<libc::cmsghdr>()));
    // SAFETY: `control` is aligned for a cmsghdr and so is `used`, and up to `end` there is room
    // for one and its data: the assertion above. The header is plain numbers, for which zeros are a
    // value; data is written unaligned. CMSG_LEN and CMSG_DATA only compute.
    unsafe {
        let message: *mut libc::cmsghdr = control.as_mut_ptr().byte_add(used).cast();
        message.write(zeroed());
        (*message).cmsg_level = level;
        (*message).cmsg_type = kind;
        (*message).cmsg_len = libc::CMSG_LEN(size_of::<T>() as libc::c_uint) as _;
        ptr::write_unaligned(libc::CMSG_DATA(message).cast(), data);
    }
    end
}

/// How many bytes a control message with a `T` takes.
const fn space_of<T>() -> usize {
    // SAFETY: only computes.
    unsafe { libc::CMSG_SPACE(size_of::<T>() as libc::c_uint) as usize }
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

#[cfg(test)]
mod tests;
