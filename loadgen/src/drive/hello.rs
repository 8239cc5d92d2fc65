//! Who owns which topic: HELLO of globalcounter's framed dialect, asked before a run begins.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use globalcounter::protocol::framed::{self, Answer, Call, Hello, HelloReply, RequestId};
use globalcounter::topic::{self, ShardId};

use super::lane::CONNECT_TIMEOUT;
use crate::plan::{Pace, Plan};

/// The topics of each shard, and which shard each connection is for: the shards take turns.
pub(super) struct ShardMap {
    /// Topics by shard, ascending.
    own: Vec<Arc<[u32]>>,
    /// Shards by topic.
    owners: Arc<[u16]>,
    /// The shards that own any topic.
    inhabited: Vec<u16>,
    /// So many connections in a row are for the same one of them.
    stride: usize,
}

impl ShardMap {
    /// Asks the server.
    pub(super) fn ask(plan: &Plan) -> Result<Self> {
        let mut socket = TcpStream::connect_timeout(&plan.server, CONNECT_TIMEOUT)?;
        let hello = exchange(&mut socket, None)?;
        ensure!(hello.shards > 0, "the server says that it has no shards");
        let names = &plan.workload.names;
        let mut buffer = names.buffer();
        let owners: Arc<[u16]> = (0..names.count())
            .map(|topic| {
                let name = names.write(topic, &mut buffer);
                topic::owner(name, hello.key, hello.multiplier, hello.shards)
            })
            .collect();
        let mut own = vec![Vec::new(); hello.shards.into()];
        for (topic, &owner) in (0..).zip(owners.iter()) {
            own[usize::from(owner)].push(topic);
        }
        let inhabited: Vec<u16> = (0..hello.shards)
            .filter(|&shard| !own[usize::from(shard)].is_empty())
            .collect();
        // In an open loop, threads have the requests: each needs a connection to each shard, and
        // they take turns with the connections.
        let stride = match plan.pace {
            Pace::Closed { .. } => 1,
            Pace::Open { .. } => plan.threads,
        };
        ensure!(
            plan.connections / stride >= inhabited.len(),
            "--shard-aware needs a connection for each of {} shards that own topics{}, and \
             --connections is {}",
            inhabited.len(),
            if stride > 1 { " on each thread" } else { "" },
            plan.connections
        );
        Ok(Self {
            own: own.into_iter().map(Arc::from).collect(),
            owners,
            inhabited,
            stride,
        })
    }

    /// The shard that connection `number` is for.
    pub(super) fn shard_of(&self, number: usize) -> u16 {
        self.inhabited[number / self.stride % self.inhabited.len()]
    }

    /// The topics of `shard`, ascending.
    pub(super) fn own(&self, shard: u16) -> Arc<[u32]> {
        self.own[usize::from(shard)].clone()
    }

    /// Where a thread with these connections sends each topic's requests.
    pub(super) fn lanes(&self, connections: impl Iterator<Item = usize>) -> LanesByTopic {
        let mut lanes = vec![Vec::new(); self.own.len()];
        for (lane, number) in connections.enumerate() {
            lanes[usize::from(self.shard_of(number))].push(lane);
        }
        LanesByTopic {
            owners: self.owners.clone(),
            lanes,
        }
    }
}

/// For each topic, a thread's connections to the shard that owns it.
#[derive(Debug)]
pub(super) struct LanesByTopic {
    owners: Arc<[u16]>,
    lanes: Vec<Vec<usize>>,
}

impl LanesByTopic {
    /// There is always one.
    pub(super) fn of(&self, topic: u32) -> &[usize] {
        &self.lanes[usize::from(self.owners[topic as usize])]
    }
}

/// Says HELLO, for `shard` or any, and reads the answer; the socket may be blocking.
pub(super) fn exchange(socket: &mut TcpStream, shard: Option<u16>) -> Result<HelloReply> {
    socket.set_read_timeout(Some(CONNECT_TIMEOUT))?;
    let mut request = Vec::new();
    let hello = Hello {
        shard: shard.map(ShardId::new),
        token: &[],
    };
    framed::encode_request(RequestId(0), &Call::Hello(hello), &mut request);
    socket.write_all(&request)?;
    let mut input = Vec::new();
    let mut buffer = [0; 256];
    loop {
        if let Some(frame) = framed::decode_reply(&input).context("no reply to HELLO")? {
            match frame.answer {
                Answer::Hello(reply) => {
                    if let Some(shard) = shard {
                        ensure!(
                            reply.shard.number() == shard,
                            "asked for shard {shard}, the server gave {}",
                            reply.shard.number()
                        );
                    }
                    return Ok(reply);
                }
                other => bail!("the server answered HELLO with {other:?}"),
            }
        }
        match socket.read(&mut buffer).context("no reply to HELLO")? {
            0 => bail!("the server closed the connection after HELLO"),
            n => input.extend_from_slice(&buffer[..n]),
        }
    }
}
