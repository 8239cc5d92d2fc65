//! The interface through which every task of a worker can answer datagrams.

use crate::server::exchange::{Batch, LateReply};
use crate::server::status::Counters;

/// The worker's UDP socket, for replies.
pub(crate) trait DatagramReplies {
    /// Packs the replies of a batch of datagrams that this worker ran. [`flush`](Self::flush) sends
    /// them.
    fn answer(&self, batch: Box<Batch>);

    /// Packs the replies that go to datagrams, and ignores the others. [`flush`](Self::flush) sends
    /// them. Consecutive frames to one peer share a datagram, as many as fit.
    fn answer_late(&self, replies: &[LateReply]);

    /// Sends the packed replies. Replies that the socket does not take now are sent when it is
    /// writable again; until then the worker receives no datagrams.
    ///
    /// Counts the bytes that it sends. Returns the batches whose replies are all sent. They are not returned earlier, so that the
    /// other workers' credit bounds the replies that wait here.
    fn flush(&self, counters: &Counters) -> Vec<Box<Batch>>;
}
