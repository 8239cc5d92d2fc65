//! A node of a cluster that does what a test tells it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use globalcounter::protocol::framed::{
    self, Answer, Call, HelloReply, MapNode, NodeMap, RequestId,
};
use globalcounter::protocol::{ErrorCode, Op, Reply};
use globalcounter::topic::{SLOTS, ShardId, Shards, Slot, TOPIC_LEN_LIMIT, Topic};

/// What a node does with a request for a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Serves it.
    Serve,
    /// Refuses it.
    Refuse(ErrorCode),
    /// Closes the connection without an answer.
    Close,
    /// Does not answer.
    Nothing,
}

type Script = Box<dyn FnMut(&str) -> Act + Send>;

struct State {
    map: NodeMap,
    script: Script,
    /// The sum of all topics.
    sum: u64,
    /// The topics of the requests that were received.
    received: Vec<String>,
    /// How often the map was asked for.
    asked: usize,
    connections: Vec<TcpStream>,
    stopped: bool,
}

/// A node, which listens until it is dropped or killed.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: Option<JoinHandle<()>>,
}

impl Node {
    /// Starts a node that serves everything. Its sums begin above `sum`. It has no map yet.
    pub(crate) fn start(sum: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            map: NodeMap::alone(),
            script: Box::new(|_| Act::Serve),
            sum,
            received: Vec::new(),
            asked: 0,
            connections: Vec::new(),
            stopped: false,
        }));
        let shared = Arc::clone(&state);
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let mut state = shared.lock().unwrap();
                if state.stopped {
                    return; // which closes the listener
                }
                state.connections.push(stream.try_clone().unwrap());
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self {
            address,
            state,
            accepting: Some(accepting),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn set_map(&self, map: NodeMap) {
        self.state().map = map;
    }

    /// Sets what the node does with requests from now on, by their topics.
    pub(crate) fn act(&self, script: impl FnMut(&str) -> Act + Send + 'static) {
        self.state().script = Box::new(script);
    }

    /// Returns the topics of the requests since the last call.
    pub(crate) fn take_received(&self) -> Vec<String> {
        std::mem::take(&mut self.state().received)
    }

    /// Returns how often the map was asked for.
    pub(crate) fn asked(&self) -> usize {
        self.state().asked
    }

    /// Returns how many connections were opened.
    pub(crate) fn connections(&self) -> usize {
        self.state().connections.len()
    }

    /// Closes all connections, and refuses new ones.
    pub(crate) fn kill(&mut self) {
        let Some(accepting) = self.accepting.take() else {
            return;
        };
        {
            let mut state = self.state();
            state.stopped = true;
            for connection in &state.connections {
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
        let _ = TcpStream::connect(self.address); // wakes the thread
        accepting.join().unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn serve(mut stream: TcpStream, shared: &Mutex<State>) {
    let (mut input, mut buffer) = (Vec::new(), [0; 65_536]);
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        input.extend_from_slice(&buffer[..len]);
        let (mut at, mut out) = (0, Vec::new());
        while let Some(frame) = framed::decode_request(&input[at..], TOPIC_LEN_LIMIT).unwrap() {
            if !answer(frame.id, &frame.call.unwrap(), shared, &mut out) {
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
            at += frame.len;
        }
        input.drain(..at);
        if stream.write_all(&out).is_err() {
            return;
        }
    }
}

/// Appends the answer to a call. Returns false if the connection is to be closed instead.
fn answer(id: RequestId, call: &Call<'_>, shared: &Mutex<State>, out: &mut Vec<u8>) -> bool {
    let mut state = shared.lock().unwrap();
    match *call {
        Call::Nodes(_) => {
            state.asked += 1;
            framed::encode_answer(id, &Answer::Nodes(&state.map.encode()), out);
        }
        Call::Ping(body) => framed::encode_answer(id, &Answer::Pong(body), out),
        Call::Hello(hello) => {
            let shard = hello.shard.unwrap_or(ShardId::new(0));
            let hello = HelloReply::new(Shards::new(2).unwrap(), shard, 1024);
            framed::encode_answer(id, &Answer::Hello(hello), out);
        }
        Call::Topic(request) => {
            let topic = str::from_utf8(request.topic.as_bytes()).unwrap();
            state.received.push(topic.to_owned());
            let reply = match (state.script)(topic) {
                Act::Serve => state.apply(request.op),
                Act::Refuse(code) => Reply::Error(code),
                Act::Close => return false,
                Act::Nothing => return true,
            };
            framed::encode_reply(id, reply, out);
        }
    }
    true
}

impl State {
    fn apply(&mut self, op: Op) -> Reply {
        match op {
            Op::Count => {
                self.sum += 1;
                Reply::Count(self.sum)
            }
            Op::Add(n) => {
                self.sum += u64::from(n.get());
                Reply::Add(self.sum)
            }
            Op::Get => Reply::Get(Some(self.sum)),
            other => panic!("no test sends {other:?}"),
        }
    }
}

/// Returns a map told by the first of these nodes: each has an address, and its first and last slots.
pub(crate) fn map(number: u64, nodes: &[(&str, &[(u16, u16)])]) -> NodeMap {
    let nodes = nodes.iter().map(|(address, slots)| MapNode {
        address: (*address).to_owned(),
        slots: slots.to_vec(),
    });
    NodeMap {
        number,
        own: 0,
        nodes: nodes.collect(),
    }
}

/// The slots of the first and of the second of two nodes.
pub(crate) const LOWER: (u16, u16) = (0, SLOTS / 2 - 1);
pub(crate) const UPPER: (u16, u16) = (SLOTS / 2, SLOTS - 1);

/// Returns names of topics in these slots.
pub(crate) fn topics((first, last): (u16, u16)) -> impl Iterator<Item = String> {
    let names = (0..).map(|n| format!("topic {n}"));
    names.filter(move |name| {
        let topic = Topic::new(name.as_bytes(), TOPIC_LEN_LIMIT).unwrap();
        (first..=last).contains(&Slot::of(topic).number())
    })
}

/// Returns a name of a topic in these slots.
pub(crate) fn topic(slots: (u16, u16)) -> String {
    topics(slots).next().unwrap()
}
