//! What the sockets of the generator and of `null` have in common, so that both are equally fast.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use globalcounter::server::sys::{enable_gro, knows_segmentation};
use socket2::SockRef;

/// The most bytes per read of a stream.
pub(crate) const READ_LEN: usize = 256 * 1024;

/// The most events per poll; the next poll returns the rest.
pub(crate) const EVENTS: usize = 1024;

/// The size of a UDP socket's buffers, if the system allows it: enough for all requests in flight,
/// so that none is lost on this side.
const UDP_BUFFER: usize = 4 * 1024 * 1024;

/// Gives a UDP socket large buffers; with `gso`, enables GRO on it.
///
/// # Errors
///
/// The kernel supports no GSO or GRO.
pub(crate) fn prepare_udp(socket: BorrowedFd<'_>, gso: bool) -> io::Result<()> {
    let options = SockRef::from(&socket);
    // The system may grant less, which is no error.
    let _ = options.set_recv_buffer_size(UDP_BUFFER);
    let _ = options.set_send_buffer_size(UDP_BUFFER);
    if !gso {
        return Ok(());
    }
    if !knows_segmentation(socket.as_fd()) {
        return Err(io::Error::other("this kernel has no UDP GSO"));
    }
    enable_gro(socket)
}

/// The bytes of a stream after its last complete message.
#[derive(Debug, Default)]
pub(crate) struct Partial(Vec<u8>);

impl Partial {
    /// Returns whether no message has begun.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls `consume` with the kept bytes followed by `read`. It returns how many bytes the complete
    /// messages take; the rest is kept.
    ///
    /// # Errors
    ///
    /// Those of `consume`.
    #[inline]
    pub(crate) fn feed<E>(
        &mut self,
        read: &[u8],
        consume: impl FnOnce(&[u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        // Usually no bytes were kept, and nothing is copied.
        if self.0.is_empty() {
            let taken = consume(read)?;
            self.0.extend_from_slice(&read[taken..]);
            return Ok(());
        }
        self.0.extend_from_slice(read);
        let taken = consume(&self.0)?;
        self.0.drain(..taken);
        Ok(())
    }
}
