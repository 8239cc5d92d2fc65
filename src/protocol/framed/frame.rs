//! The layout of a frame, which requests and replies share, and the ops.

/// The length of a frame's header, in bytes.
pub const HEADER_LEN: usize = 7;

/// The longest frame, in bytes: a header and the longest body that a `u16` length allows.
pub const MAX_FRAME: usize = HEADER_LEN + u16::MAX as usize;

/// The protocol version sent in HELLO.
pub const VERSION: u8 = 1;

/// How much larger than its request's frame a reply's frame may be over UDP, in bytes, so that a forged
/// source gains next to nothing.
pub const MAX_GROWTH: usize = 16;

/// The lowest op of a request frame.
pub const FIRST_OP: u8 = COUNT;
/// The highest op of a request frame. Some ops below it have no method yet.
pub const LAST_OP: u8 = 31;

pub(super) const COUNT: u8 = 16;
pub(super) const RESET: u8 = 17;
pub(super) const ADD: u8 = 18;
pub(super) const GET: u8 = 19;
pub(super) const DELETE: u8 = 20;
pub(super) const ADVANCE: u8 = 21;
pub(super) const HELLO: u8 = 22;
pub(super) const PING: u8 = 23;
pub(super) const NODES: u8 = 24;
pub(super) const FORWARD: u8 = 25;
/// The bit that turns the op of a request into the op of its reply.
pub(super) const REPLY: u8 = 128;
pub(super) const ERROR: u8 = 255;

/// The flag in a HELLO for a connection of another node.
pub(super) const FROM_NODE: u8 = 1;

/// The shard number in a HELLO that leaves the choice to the server.
pub(super) const ANY_SHARD: u16 = u16::MAX;

/// Matches a reply to its request: chosen by the client, returned by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u32);

impl RequestId {
    /// The id in an ERROR that answers bytes without a readable id.
    pub const NONE: Self = Self(0);
}

/// Splits a frame into op, id and body; `None` if `input` ends inside the frame.
#[inline]
pub(super) fn split(input: &[u8]) -> Option<(u8, RequestId, &[u8])> {
    let (&[op, len_high, len_low, id @ ..], rest) = input.split_first_chunk::<HEADER_LEN>()?;
    let body = rest.get(..usize::from(u16::from_be_bytes([len_high, len_low])))?;
    Some((op, RequestId(u32::from_be_bytes(id)), body))
}

/// Splits a big-endian `u32` from the rest of `body`.
pub(super) fn split_u32(body: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = body.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), rest))
}

/// Splits a big-endian `u64` from the rest of `body`.
pub(super) fn split_u64(body: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = body.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}

/// Returns the id for the answer to an incomplete frame: its own if its header is complete, else
/// [`RequestId::NONE`].
#[must_use]
pub fn broken_id(input: &[u8]) -> RequestId {
    match input.first_chunk::<HEADER_LEN>() {
        Some(&[_op, _, _, id @ ..]) => RequestId(u32::from_be_bytes(id)),
        None => RequestId::NONE,
    }
}

/// Appends a frame: its header, then the parts of `body`.
pub(super) fn encode(op: u8, id: RequestId, out: &mut Vec<u8>, body_len: usize, body: &[&[u8]]) {
    let len = u16::try_from(body_len).expect("callers keep bodies within u16");
    let mut header = [0; HEADER_LEN];
    header[0] = op;
    header[1..3].copy_from_slice(&len.to_be_bytes());
    header[3..].copy_from_slice(&id.0.to_be_bytes());
    out.extend_from_slice(&header);
    for part in body {
        out.extend_from_slice(part);
    }
}
