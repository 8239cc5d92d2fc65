//! The framed dialect: requests and replies carry ids, so that they can be pipelined on TCP and
//! batched on UDP.
//!
//! A frame is `op: u8, len: u16, id: u32, body: len bytes` in both directions, with big-endian
//! integers. A reply has the op of its request + 128, and the id of its request.

mod forward;
mod frame;
mod nodes;
mod reply;
mod request;

pub use frame::{
    FIRST_OP, HEADER_LEN, LAST_OP, MAX_FRAME, MAX_GROWTH, RequestId, VERSION, broken_id,
};
pub use nodes::{MapNode, NodeMap};
pub use reply::{
    Answer, HelloReply, NotAReply, ReplyFrame, decode_reply, encode_answer, encode_node_reply,
    encode_reply,
};
pub use request::{
    Call, Hello, NotARequest, RequestFrame, decode_node_request, decode_request,
    encode_node_request, encode_request,
};

#[cfg(test)]
mod tests;
