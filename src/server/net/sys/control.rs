//! Control messages: the local address of a datagram, the length of its segments, and how many
//! datagrams the kernel dropped before it.

use std::mem::{size_of, zeroed};
use std::ptr;

use super::peer::Local;

/// Room for one control message with packet information (IPv6's is the larger), one with a segment
/// length (an int for UDP_GRO, a u16 for UDP_SEGMENT) and one with a number of drops. Counted in
/// words, for their alignment.
pub(super) const CONTROL_WORDS: usize =
    (space_of::<libc::in6_pktinfo>() + space_of::<libc::c_int>() + space_of::<u32>())
        .div_ceil(size_of::<u64>());
pub(super) const CONTROL_LEN: usize = CONTROL_WORDS * size_of::<u64>();

pub(super) type Control = [u64; CONTROL_WORDS];

/// The contents of a received message's control messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ancillary {
    pub(super) local: Local,
    /// The length of each datagram, if the kernel coalesced several.
    pub(super) segment: Option<usize>,
    /// How many datagrams the kernel had dropped at this socket when the message arrived, modulo
    /// 2^32. The kernel leaves it out while it is 0.
    pub(super) dropped: Option<u32>,
}

impl Ancillary {
    pub(super) const NONE: Self = Self {
        local: Local::Bound,
        segment: None,
        dropped: None,
    };
}

/// Reads a received message's control messages.
pub(super) fn read_control(header: &libc::msghdr) -> Ancillary {
    let mut ancillary = Ancillary::NONE;
    // SAFETY: `header` is as recvmmsg left it, so its control buffer holds `msg_controllen` bytes of
    // complete control messages, and the CMSG macros stay within them. Data is read unaligned, and for
    // these four types the kernel wrote a complete structure or integer.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            let data = libc::CMSG_DATA(control);
            match ((*control).cmsg_level, (*control).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo = ptr::read_unaligned(data.cast());
                    ancillary.local = Local::V4(info.ipi_spec_dst.s_addr.to_ne_bytes());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo = ptr::read_unaligned(data.cast());
                    ancillary.local = Local::V6(info.ipi6_addr.s6_addr);
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let len: libc::c_int = ptr::read_unaligned(data.cast());
                    ancillary.segment = usize::try_from(len).ok().filter(|&len| len > 0);
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    ancillary.dropped = Some(ptr::read_unaligned(data.cast()));
                }
                _ => {}
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    ancillary
}

/// Writes control messages to `control` that make a message leave from `local`, in datagrams of
/// `segment` bytes.
pub(super) fn set_control(
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

/// Writes a control message behind the first `used` bytes of `control`. Returns how many bytes are used
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
    // SAFETY: `control` and `used` are aligned for a cmsghdr, and up to `end` there is room for the header
    // and its data (the assertion above). The header consists of numbers, for which zero is a valid
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

/// Returns how many bytes a control message with a `T` takes.
const fn space_of<T>() -> usize {
    // SAFETY: CMSG_SPACE only computes.
    unsafe { libc::CMSG_SPACE(size_of::<T>() as libc::c_uint) as usize }
}
