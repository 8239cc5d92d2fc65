//! globalcounter's framed dialect: requests with ids, pipelined over TCP, packed into datagrams
//! over UDP.

use globalcounter::protocol::framed::{self, Answer, Call, RequestId};
use globalcounter::protocol::{Op, Request};
use globalcounter::topic::{TOPIC_LEN_LIMIT, Topic};

use super::interface::{Decoded, InvalidReply, Login, Matching, Outcome, Target, Transport};

pub(super) const TCP: Framed = Framed {
    name: "framed",
    transport: Transport::Stream,
};

pub(super) const UDP: Framed = Framed {
    name: "udp",
    transport: Transport::Datagrams { packed: true },
};

pub(super) struct Framed {
    name: &'static str,
    transport: Transport,
}

impl Target for Framed {
    fn name(&self) -> &'static str {
        self.name
    }

    fn transport(&self) -> Transport {
        self.transport
    }

    fn matching(&self) -> Matching {
        Matching::ById(u32::BITS)
    }

    fn supports(&self, _: Op) -> bool {
        true
    }

    fn knows_shards(&self) -> bool {
        self.transport == Transport::Stream
    }

    fn login(&self) -> Login {
        match self.transport {
            Transport::Stream => Login::Hello,
            _ => Login::None,
        }
    }

    fn encode(&self, id: u32, op: Op, topic: &[u8], out: &mut Vec<u8>) {
        let topic =
            Topic::new(topic, TOPIC_LEN_LIMIT).expect("topic names are ASCII of a valid length");
        let call = Call::Topic(Request { op, topic });
        framed::encode_request(RequestId(id), &call, out);
    }

    fn decode(&self, input: &[u8]) -> Result<Option<Decoded>, InvalidReply> {
        let Some(frame) = framed::decode_reply(input).map_err(|_| InvalidReply::at(input))? else {
            return Ok(None);
        };
        match frame.answer {
            Answer::Reply(reply) => Ok(Some(Decoded {
                len: frame.len,
                id: frame.id.0,
                outcome: Outcome::from(reply),
            })),
            Answer::Hello(_) | Answer::Pong(_) | Answer::Nodes(_) => Err(InvalidReply::at(input)),
        }
    }
}
