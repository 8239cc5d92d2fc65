//! What a connection exchanges before a run: the HELLO of globalcounter's framed dialect, which tells
//! the shard that owns each topic, authentication, and the map of a Redis Cluster.

use std::io::{Read, Write};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use globalcounter::protocol::framed::{self, Answer, Call, Hello, HelloReply, RequestId};
use globalcounter::protocol::resp;
use globalcounter::topic::{self, ShardId};

use super::socket::Socket;
use crate::plan::{Pace, Plan, Token};
use crate::target::{OwnedSlots, decode_slots};

/// The topics of each shard, and the shard of each connection: connections take turns over shards.
pub(super) struct ShardMap {
    /// Topics by shard, ascending.
    topics: Vec<Arc<[u32]>>,
    /// Shards by topic.
    owners: Arc<[u16]>,
    /// The shards that own a topic at all.
    populated: Vec<u16>,
    /// How many consecutive connections belong to the same shard.
    stride: usize,
}

impl ShardMap {
    /// Asks the server for its shards.
    pub(super) fn fetch(plan: &Plan) -> Result<Self> {
        let mut socket = Socket::connect(plan, plan.servers[0])?;
        let hello = exchange(&mut socket, None, plan.token.as_ref())?;
        ensure!(hello.shards > 0, "the server reports that it has no shards");
        let names = &plan.workload.names;
        let mut buffer = names.buffer();
        let owners: Arc<[u16]> = (0..names.count())
            .map(|topic| {
                let name = names.write(topic, &mut buffer);
                topic::owner(name, hello.key, hello.multiplier, hello.shards)
            })
            .collect();
        let mut topics = vec![Vec::new(); hello.shards.into()];
        for (topic, &owner) in (0..).zip(owners.iter()) {
            topics[usize::from(owner)].push(topic);
        }
        let populated: Vec<u16> = (0..hello.shards)
            .filter(|&shard| !topics[usize::from(shard)].is_empty())
            .collect();
        // In an open loop, each thread has requests for all shards and so needs a connection to
        // each. Connections take turns over threads.
        let stride = match plan.pace {
            Pace::Closed { .. } => 1,
            Pace::Open { .. } => plan.threads,
        };
        ensure!(
            plan.connections / stride >= populated.len(),
            "--shard-aware needs a connection for each of {} shards that own topics{}, and \
             --connections is {}",
            populated.len(),
            if stride > 1 { " on each thread" } else { "" },
            plan.connections
        );
        Ok(Self {
            topics: topics.into_iter().map(Arc::from).collect(),
            owners,
            populated,
            stride,
        })
    }

    /// Returns the shard of connection `number`.
    pub(super) fn shard_of(&self, number: usize) -> u16 {
        self.populated[number / self.stride % self.populated.len()]
    }

    /// Returns the topics of `shard`, ascending.
    pub(super) fn topics_of(&self, shard: u16) -> Arc<[u32]> {
        self.topics[usize::from(shard)].clone()
    }

    /// Returns the connections for each topic in a thread that has the connections `numbers`.
    pub(super) fn connections_by_topic(
        &self,
        numbers: impl Iterator<Item = usize>,
    ) -> ConnectionsByTopic {
        let mut by_shard = vec![Vec::new(); self.topics.len()];
        for (index, number) in numbers.enumerate() {
            by_shard[usize::from(self.shard_of(number))].push(index);
        }
        ConnectionsByTopic {
            owners: self.owners.clone(),
            by_shard,
        }
    }
}

/// For each topic, a thread's connections to the shard that owns it.
#[derive(Debug)]
pub(super) struct ConnectionsByTopic {
    owners: Arc<[u16]>,
    by_shard: Vec<Vec<usize>>,
}

impl ConnectionsByTopic {
    /// Returns the indices of the connections for `topic`, at least one.
    pub(super) fn of(&self, topic: u32) -> &[usize] {
        &self.by_shard[usize::from(self.owners[topic as usize])]
    }
}

/// Sends HELLO for `shard`, or for any, and reads the answer. The socket is blocking.
pub(super) fn exchange(
    socket: &mut (impl Read + Write),
    shard: Option<u16>,
    token: Option<&Token>,
) -> Result<HelloReply> {
    let mut request = Vec::new();
    let hello = Hello {
        shard: shard.map(ShardId::new),
        node: false,
        token: token.map_or(b"", |token| token.0.as_bytes()),
    };
    framed::encode_request(RequestId(0), &Call::Hello(hello), &mut request);
    socket.write_all(&request)?;
    socket.flush()?;
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

/// Authenticates a connection of the Redis protocol. The socket is blocking.
pub(super) fn authenticate(socket: &mut (impl Read + Write), token: &Token) -> Result<()> {
    const OK: &[u8] = b"+OK\r\n";
    let mut request = Vec::new();
    match token.0.split_once(':') {
        Some((name, password)) => {
            resp::encode_command(
                &[b"AUTH", name.as_bytes(), password.as_bytes()],
                &mut request,
            );
        }
        None => resp::encode_command(&[b"AUTH", token.0.as_bytes()], &mut request),
    }
    socket.write_all(&request)?;
    socket.flush()?;
    let mut input = Vec::new();
    let mut buffer = [0; 256];
    while !input.ends_with(b"\r\n") {
        match socket.read(&mut buffer).context("no reply to AUTH")? {
            0 => bail!("the server closed the connection after AUTH"),
            n => input.extend_from_slice(&buffer[..n]),
        }
    }
    let shown = input.trim_ascii().escape_ascii();
    ensure!(input == OK, "the server answered AUTH with \"{shown}\"");
    Ok(())
}

/// Asks a node of a Redis Cluster who owns which slots. From then on it redirects what others own. The
/// socket is blocking.
pub(super) fn slots(socket: &mut (impl Read + Write)) -> Result<Vec<OwnedSlots>> {
    let mut request = Vec::new();
    resp::encode_command(&[b"CLUSTER", b"SLOTS"], &mut request);
    socket.write_all(&request)?;
    socket.flush()?;
    let mut input = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if input.starts_with(b"-") && input.ends_with(b"\r\n") {
            let shown = input.trim_ascii().escape_ascii();
            bail!("the server answered CLUSTER SLOTS with \"{shown}\"");
        }
        if let Some(slots) = decode_slots(&input).context("no reply to CLUSTER SLOTS")? {
            return Ok(slots);
        }
        match socket
            .read(&mut buffer)
            .context("no reply to CLUSTER SLOTS")?
        {
            0 => bail!("the server closed the connection after CLUSTER SLOTS"),
            n => input.extend_from_slice(&buffer[..n]),
        }
    }
}
