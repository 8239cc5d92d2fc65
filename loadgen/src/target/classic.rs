//! globalcounter's classic dialect: messages without ids, each in a datagram or a connection of its
//! own.

use globalcounter::protocol::{Op, Request, classic};
use globalcounter::topic::{TOPIC_LEN_LIMIT, Topic};

use super::interface::{Decoded, InvalidReply, Matching, Outcome, Target, Transport};

pub(super) const UDP: Classic = Classic {
    name: "classic-udp",
    transport: Transport::Datagrams { packed: false },
};

pub(super) const TCP: Classic = Classic {
    name: "classic-tcp",
    transport: Transport::OneShot,
};

pub(super) struct Classic {
    name: &'static str,
    transport: Transport,
}

impl Target for Classic {
    fn name(&self) -> &'static str {
        self.name
    }

    fn transport(&self) -> Transport {
        self.transport
    }

    fn matching(&self) -> Matching {
        Matching::InOrder
    }

    fn is_steered(&self) -> bool {
        self.transport.is_udp()
    }

    fn supports(&self, op: Op) -> bool {
        matches!(op, Op::Count | Op::Reset)
    }

    fn encode(&self, _: u32, op: Op, topic: &[u8], out: &mut Vec<u8>) {
        let topic =
            Topic::new(topic, TOPIC_LEN_LIMIT).expect("topic names are ASCII of a valid length");
        classic::encode_request(Request { op, topic }, out)
            .expect("only supported methods are requested");
    }

    fn decode(&self, input: &[u8]) -> Result<Option<Decoded>, InvalidReply> {
        let reply = classic::decode_reply(input).ok_or_else(|| InvalidReply::at(input))?;
        Ok(Some(Decoded {
            len: input.len(),
            id: 0,
            outcome: Outcome::from(reply),
        }))
    }
}
