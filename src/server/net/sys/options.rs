//! Options of UDP sockets.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::socket::{getsockopt, setsockopt, sockopt};

/// Makes the kernel deliver consecutive datagrams of one peer and of equal length as one message (GRO);
/// [`Received::datagrams`](super::Received::datagrams) splits it.
///
/// # Errors
///
/// The kernel's error. Before Linux 5.0 the option is unknown.
pub fn enable_gro(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(setsockopt(&socket, sockopt::UdpGroSegment, &true)?)
}

/// Makes the kernel tell with each message how many datagrams it has dropped at this socket:
/// [`Received::dropped`](super::Received::dropped).
///
/// # Errors
///
/// The kernel's error. Before Linux 2.6.33 the option is unknown.
pub fn enable_drop_count(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(setsockopt(&socket, sockopt::RxqOvfl, &1)?)
}

/// Returns whether the kernel can segment messages (GSO): from Linux 4.18 on.
#[must_use]
pub fn knows_segmentation(socket: BorrowedFd<'_>) -> bool {
    getsockopt(&socket, sockopt::UdpGsoSegment).is_ok()
}

/// Makes the kernel run a classic BPF program on each datagram for the group of sockets that `socket`
/// belongs to. The program returns the number of the socket to deliver to, in the order of binding.
/// For any other number the kernel chooses as it does without a program.
///
/// # Errors
///
/// The kernel's error: before Linux 4.5 the option is unknown, or the program is invalid.
pub(crate) fn attach_reuseport_filter(
    socket: BorrowedFd<'_>,
    program: &[libc::sock_filter],
) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: program.len().try_into().map_err(io::Error::other)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the option takes a `sock_fprog` of this size, and `len` is the number of instructions that
    // `filter` points to. The kernel copies them during the call and writes nothing.
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
