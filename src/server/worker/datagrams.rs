//! How a worker's tasks answer datagrams, whichever of them ran the requests.

use crate::server::exchange::{Batch, LateReply};

/// The worker's UDP socket, for replies.
pub(crate) trait DatagramReplies {
    /// Packs the replies of a batch of datagrams that ran here; [`flush`](Self::flush) sends them.
    fn answer(&self, batch: Box<Batch>);

    /// Packs those of these replies that go to datagrams; [`flush`](Self::flush) sends them. Frames
    /// to one peer go together, as many as fit.
    fn answer_late(&self, replies: &[LateReply]);

    /// Sends what waits. What the socket does not take now is sent when it does; until then the
    /// worker receives no datagrams. Returns the batches whose replies are all sent: not before, so
    /// that the other workers' credit bounds what waits here.
    fn flush(&self) -> Vec<Box<Batch>>;
}
