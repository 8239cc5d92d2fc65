//! What the generator's sockets and those of `null` have in common, so that both are as fast.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use globalcounter::server::sys::{enable_gro, knows_segmentation};
use socket2::SockRef;

/// The most bytes that one read of a stream takes.
pub(crate) const READ_LEN: usize = 256 * 1024;

/// The most events that one look brings; others come with the next.
pub(crate) const EVENTS: usize = 1024;

/// What a datagram socket's buffers hold, where the system allows as much: all that is ever in
/// flight on one, so that none is lost here.
const UDP_BUFFER: usize = 4 * 1024 * 1024;

/// Gives a UDP socket large buffers; with `gso`, has it receive runs of datagrams as one.
///
/// # Errors
///
/// The kernel knows no GSO or GRO.
pub(crate) fn prepare_udp(socket: BorrowedFd<'_>, gso: bool) -> io::Result<()> {
    let options = SockRef::from(&socket);
    // Larger buffers are a wish: the system may grant less.
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

/// What was read of a stream beyond its last whole message.
#[derive(Debug, Default)]
pub(crate) struct Partial(Vec<u8>);

impl Partial {
    /// Whether a message has begun.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Has `take` take in what came before and `read`, which came after it. `take` says how many
    /// bytes whole messages take; the rest is kept.
    ///
    /// # Errors
    ///
    /// Those of `take`.
    #[inline]
    pub(crate) fn take_in<E>(
        &mut self,
        read: &[u8],
        take: impl FnOnce(&[u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        // Mostly nothing came before: then nothing is copied.
        if self.0.is_empty() {
            let taken = take(read)?;
            self.0.extend_from_slice(&read[taken..]);
            return Ok(());
        }
        self.0.extend_from_slice(read);
        let taken = take(&self.0)?;
        self.0.drain(..taken);
        Ok(())
    }
}
