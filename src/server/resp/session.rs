//! The commands of one connection: from bytes to requests for shards, and to what is said at once.

use std::net::SocketAddr;

use super::answer;
use super::scan::{self, Filter};
use crate::protocol::Request;
use crate::protocol::resp::{
    self, Arguments, Command, Form, Keys, MAX_INLINE, Progress, ProtocolError, Refusal, Spec, Verb,
};
use crate::server::exchange::{ConnectionKey, Queued, Requests, Walk};
use crate::server::status::Entered;
use crate::server::worker::{Link, Ring, Worker};
use crate::topic::Topic;

/// The longest command, in bytes, while the worker's connections hold too much together.
const TIGHT_COMMAND: usize = MAX_INLINE;

/// With this many bytes of text said, a connection gives way to the others before it says more: some
/// commands say a thousand times what they take to ask.
const TURN_TEXT: usize = 64 * 1024;

/// What is known of a connection that speaks the Redis protocol, beside its [`Ring`].
#[derive(Debug)]
pub(crate) struct Session {
    entered: Entered,
    /// How far the command was read that the last read broke off in.
    progress: Progress,
    /// Those of the command that is read now, or that waits.
    arguments: Arguments,
    waits: Option<Waits>,
    /// Whether a transaction has begun, all of which is refused.
    refuses: bool,
}

/// What the next command, read already or not, waits for.
#[derive(Debug)]
enum Waits {
    /// Room for more replies.
    Room,
    /// The replies to all commands before it. It takes that many bytes, and its arguments are known.
    Replies { len: usize },
    /// The walk of a SCAN, which is away.
    Scan(Filter),
}

/// What became of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// How many bytes are done with.
    pub(crate) at: usize,
    /// What follows those.
    pub(crate) rest: Rest,
}

/// What is left of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// The beginning of a command, if anything.
    Partial,
    /// Commands that have to wait.
    Unserved,
    /// Nothing that counts: the connection has to be closed.
    Void,
}

/// What a connection's turn is served with.
struct Turn<'a> {
    worker: &'a Worker,
    link: &'a Link,
    ring: &'a mut Ring,
    /// How much text had been said before it.
    text_before: usize,
    requests: &'a mut Requests,
}

/// What comes next in the input.
enum Next {
    /// A command of that many bytes.
    Command(usize),
    /// Nothing that can be served now.
    End(Rest),
    /// No command.
    Broken(ProtocolError),
}

/// What became of a command.
enum Done {
    /// Its reply is said, or has its slot.
    Said,
    /// It has to wait for the replies to those before it.
    Waits,
    /// It is answered, and the last of its connection.
    Ends,
    /// It looks at topics; nothing is in flight.
    Begins(Filter, Box<Walk>),
}

impl Session {
    /// A connection's that has just begun to speak.
    pub(crate) fn new(
        worker: &Worker,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) -> Self {
        Self {
            entered: Entered::new(&worker.status.clients, peer, local),
            progress: Progress::default(),
            arguments: Arguments::default(),
            waits: None,
            refuses: false,
        }
    }

    /// Whether commands that were left unserved can be taken now. Otherwise the connection's task is
    /// woken when that changes.
    pub(crate) fn may_go_on(&self, link: &Link) -> bool {
        match self.waits {
            None => true,
            Some(Waits::Room) => link.has_room(),
            Some(Waits::Replies { .. } | Waits::Scan(_)) => link.in_flight() == 0,
        }
    }

    /// Whether the next command waits for something, which may be this worker's.
    pub(crate) fn waits(&self) -> bool {
        self.waits.is_some()
    }

    /// Takes in the commands that `input` begins with. Their requests go into `requests`, with topics
    /// where they lie in `input`.
    pub(crate) fn take(
        &mut self,
        worker: &Worker,
        link: &Link,
        key: ConnectionKey,
        input: &mut [u8],
        requests: &mut Requests,
    ) -> Taken {
        let decoded = match self.waits.take() {
            Some(Waits::Replies { len }) => Some(len),
            Some(Waits::Scan(filter)) => {
                if let Some(walk) = link.take_walk()
                    && !self.go_on(filter, walk, worker, link, key)
                {
                    let rest = Rest::Unserved;
                    return Taken { at: 0, rest };
                }
                None
            }
            Some(Waits::Room) | None => None,
        };
        let (mut taken, begun) = self.take_commands(decoded, worker, link, input, requests);
        if let Some((filter, walk)) = begun
            && self.go_on(filter, walk, worker, link, key)
            && taken.at == input.len()
        {
            taken.rest = Rest::Partial; // done at once, with nothing behind it
        }
        self.entered.client.is_active();
        if self.waits.is_none() {
            self.arguments.trim();
        }
        taken
    }

    /// Takes in commands up to one that has to wait, or a SCAN, which is returned. The first one may
    /// be decoded already, and takes that many bytes.
    fn take_commands(
        &mut self,
        mut decoded: Option<usize>,
        worker: &Worker,
        link: &Link,
        input: &mut [u8],
        requests: &mut Requests,
    ) -> (Taken, Option<(Filter, Box<Walk>)>) {
        let mut ring = link.ring();
        let mut turn = Turn {
            worker,
            link,
            text_before: ring.text_len(),
            ring: &mut ring,
            requests,
        };
        let mut at = 0;
        let (rest, begun) = loop {
            let next = match decoded.take() {
                Some(len) => Next::Command(len),
                None => self.next(&mut input[at..], &turn),
            };
            let len = match next {
                Next::Command(len) => len,
                Next::End(rest) => break (rest, None),
                Next::Broken(error) => {
                    refuse_bytes(error, turn.ring);
                    break (Rest::Void, None);
                }
            };
            match self.serve(&input[at..at + len], at, &mut turn) {
                Done::Said => at += len,
                Done::Waits => {
                    self.waits = Some(Waits::Replies { len });
                    break (Rest::Unserved, None);
                }
                Done::Ends => break (Rest::Void, None),
                Done::Begins(filter, walk) => {
                    at += len;
                    break (Rest::Unserved, Some((filter, walk)));
                }
            }
        };
        (Taken { at, rest }, begun)
    }

    /// The peer shut its side down with `partial` left of what it sent.
    pub(crate) fn end(&self, partial: &[u8], link: &Link) {
        if !partial.is_empty() {
            refuse_bytes(ProtocolError::BrokenOff, &mut link.ring());
        }
    }

    /// Reads the command that `input` begins with, if it can be served now.
    fn next(&mut self, input: &mut [u8], turn: &Turn<'_>) -> Next {
        let said = turn.ring.text_len() - turn.text_before;
        if !turn.ring.has_room() || said >= turn.link.room() {
            self.waits = Some(Waits::Room);
            return Next::End(Rest::Unserved);
        }
        if said >= TURN_TEXT {
            return Next::End(Rest::Unserved);
        }
        match resp::decode(input, &mut self.progress, &mut self.arguments) {
            Ok(Some(len)) => Next::Command(len),
            Ok(None) if input.len() > TIGHT_COMMAND && !turn.link.worker_has_room() => {
                Next::Broken(ProtocolError::CommandLength)
            }
            Ok(None) => Next::End(Rest::Partial),
            Err(error) => Next::Broken(error),
        }
    }

    /// Serves the command in `bytes`, which was decoded last; it begins at `at` of what was read.
    fn serve(&mut self, bytes: &[u8], at: usize, turn: &mut Turn<'_>) -> Done {
        if self.arguments.is_empty() {
            return Done::Said; // an empty line
        }
        let (spec, command) = match self.read(bytes, turn.worker) {
            Ok(read) => read,
            Err(refusal) => {
                turn.ring.refuse(refusal);
                return match self.is_cross_protocol(bytes) {
                    true => Done::Ends,
                    false => Done::Said,
                };
            }
        };
        let in_flight = turn.requests.count() > 0 || turn.link.in_flight() > 0;
        if in_flight && wants_all_before(spec) {
            return Done::Waits;
        }
        turn.worker.counters().called(spec.verb);
        self.entered.client.asks(spec.verb);
        match command {
            Command::Topic { request, form } => self.push(1, request, form, at, turn),
            Command::Keys(keys) => self.push_keys(keys, bytes, at, turn),
            Command::Scan(asked) => {
                let (filter, walk) = scan::begin(asked, turn.worker.shared().shards());
                return Done::Begins(filter, walk);
            }
            command => {
                let asked = answer::Asked {
                    spec,
                    command,
                    arguments: &self.arguments,
                    bytes,
                };
                let client = &self.entered.client;
                answer::answer(&asked, turn.worker, client, turn.link, turn.ring);
                if spec.verb == Verb::Quit {
                    return Done::Ends;
                }
            }
        }
        Done::Said
    }

    /// What the arguments that were decoded last, from `bytes`, ask for.
    fn read<'a>(
        &mut self,
        bytes: &'a [u8],
        worker: &Worker,
    ) -> Result<(&'static Spec, Command<'a>), Refusal<'a>> {
        let spec = resp::find(&self.arguments, bytes)?;
        let read = self.in_transaction(spec).and_then(|()| {
            Command::read(spec, &self.arguments, bytes, worker.intake.max_topic_len())
        });
        if read.is_err() {
            worker.counters().refused(spec.verb);
        }
        Ok((spec, read?))
    }

    /// Keeps track of transactions. There are none, since no shard can hold back another's clients:
    /// but clients that ask for one must be able to tell that nothing of it was done.
    ///
    /// # Errors
    ///
    /// Why `spec` is not done: it is part of one, or ends one.
    fn in_transaction(&mut self, spec: &'static Spec) -> Result<(), Refusal<'static>> {
        match (spec.verb, self.refuses) {
            (Verb::Multi, false) => self.refuses = true,
            (Verb::Multi, true) => return Err(Refusal::Nested),
            (Verb::Exec | Verb::Discard, false) => return Err(Refusal::NoTransaction(spec)),
            (Verb::Exec, true) => {
                self.refuses = false;
                return Err(Refusal::Aborted);
            }
            (Verb::Discard, true) => self.refuses = false,
            (Verb::Quit, _) | (_, false) => {}
            (_, true) => return Err(Refusal::Transaction),
        }
        Ok(())
    }

    /// Whether this is the beginning of an HTTP request, or a header of one: sent by a browser that
    /// was made to, whose body might hold commands that nobody meant.
    fn is_cross_protocol(&self, bytes: &[u8]) -> bool {
        let name = self.arguments.at(0, bytes);
        name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"HOST:")
    }

    /// Queues `request`, whose topic is argument `i` of the command at `at`.
    fn push(&self, i: usize, request: Request<'_>, form: Form, at: usize, turn: &mut Turn<'_>) {
        let topic = self.arguments.span(i);
        let queued = Queued {
            op: request.op,
            topic: (at + topic.start) as u32,
            topic_len: topic.len() as u32,
            id: turn.ring.expect(form),
            datagram: 0,
        };
        turn.requests.push(&request, queued);
    }

    /// Queues a request a key of the command in `bytes`.
    fn push_keys(&self, keys: Keys, bytes: &[u8], at: usize, turn: &mut Turn<'_>) {
        let last = self.arguments.len() - 1;
        if !keys.counted {
            turn.ring.say(|writer| writer.array(last));
        }
        for i in 1..=last {
            let request = Request {
                op: keys.op,
                topic: Topic::checked_before(self.arguments.at(i, bytes)),
            };
            self.push(i, request, keys.form(i == last), at, turn);
        }
    }

    /// Goes on with a SCAN as far as that can be done at once; whether it is done.
    fn go_on(
        &mut self,
        filter: Filter,
        mut walk: Box<Walk>,
        worker: &Worker,
        link: &Link,
        key: ConnectionKey,
    ) -> bool {
        while let Some(shard) = walk.next() {
            link.add_in_flight(1);
            match worker.walk(shard, walk, key) {
                Some(back) => walk = back,
                None => {
                    self.waits = Some(Waits::Scan(filter));
                    return false;
                }
            }
            link.sub_in_flight(1);
        }
        self.waits = None;
        link.ring().say(|writer| filter.say(&walk, writer));
        true
    }
}

/// Says that what was read is no command.
fn refuse_bytes(error: ProtocolError, ring: &mut Ring) {
    ring.refuse(format_args!("ERR Protocol error: {error}"));
}

/// Whether what a command says depends on all that were asked before it on the same connection.
fn wants_all_before(spec: &Spec) -> bool {
    matches!(
        spec.verb,
        Verb::DbSize | Verb::Scan | Verb::Info | Verb::Hello
    )
}
