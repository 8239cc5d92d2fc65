//! The commands of one connection: from bytes to requests for shards, and to replies that need none.

use std::net::SocketAddr;
use std::task::Waker;

use super::answer::{self, Then};
use super::cluster::{Redirect, redirect, shows_map};
use super::invocation::{Invocation, waits_for_all_before};
use super::permission::Permission;
use super::search::{Keys, Progress, RandomKey, Scan, Search, SlotKeys};
use super::transaction::Transaction;
use crate::access::{Check, Pending, Verdict};
use crate::protocol::resp::{
    self, Arguments, Auth, Command, EachKey, Form, MAX_INLINE, ProtocolError, Refusal, Spec, Verb,
};
use crate::protocol::{ErrorCode, Request};
use crate::server::exchange::{ConnectionKey, Queued, Requests, SearchPart};
use crate::server::status::Registration;
use crate::server::worker::{Link, Ring, Worker};
use crate::topic::Topic;

/// The longest command, in bytes, while the worker's connections hold too many bytes together.
const TIGHT_COMMAND: usize = MAX_INLINE;

/// After this many bytes of text in one turn, a connection gives way to the others: some replies are
/// a thousand times as long as their commands.
const TURN_TEXT: usize = 64 * 1024;

// A worker copies requests by the thousand.
const _: () = assert!(size_of::<Queued>() == 32);

/// The state of a connection that speaks the Redis protocol, except for its replies, which are in
/// its [`Ring`].
#[derive(Debug)]
pub(crate) struct Session {
    registration: Registration,
    /// How much was decoded of a command that is incomplete so far.
    progress: resp::Progress,
    /// The arguments of the command that is decoded now, or that waits.
    arguments: Arguments,
    waits: Option<WaitsFor>,
    /// Whether the credentials of the command that is served next are right, if they were checked.
    verdict: Option<Verdict>,
    transaction: Transaction,
    /// Whether the client has the map of the cluster, so that it gets redirects. Else what another node
    /// owns is forwarded.
    redirects: bool,
}

/// What the next command waits for, whether it was read yet or not.
#[derive(Debug)]
enum WaitsFor {
    /// Room for more replies.
    Room,
    /// The replies to all commands before it. It is `len` bytes long, and its arguments are decoded.
    Replies { len: usize },
    /// A search, which is not finished.
    Search(Search),
    /// The check of its password. It is `len` bytes long, and its arguments are decoded.
    Password { len: usize, check: Pending },
}

/// The result of serving the bytes of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServedInput {
    /// How many bytes were consumed.
    pub(crate) at: usize,
    /// The meaning of the remaining bytes.
    pub(crate) rest: Rest,
}

/// The bytes of a read that were not consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// The beginning of a command, or nothing.
    Partial,
    /// Commands that have to wait, or nothing while a search goes on.
    Unserved,
    /// Bytes to ignore: the connection has to be closed.
    Discard,
}

/// The state for serving commands in one turn of a connection.
struct Turn<'a> {
    worker: &'a Worker,
    link: &'a Link,
    ring: &'a mut Ring,
    /// The length of the ring's text before this turn.
    text_before: usize,
    /// How many bytes of replies the turn may add, and how many requests may be in flight: read from the
    /// link once, not for each command.
    room: usize,
    max_in_flight: usize,
    requests: &'a mut Requests,
}

/// What comes next in the input.
enum Next {
    /// A command of this many bytes.
    Command(usize),
    /// Nothing that can be served now.
    End(Rest),
    /// Bytes that are not a command.
    Broken(ProtocolError),
}

/// The result of serving one command.
enum Served {
    /// Its reply is in the ring, or has its slot there.
    Done,
    /// It has to wait for the replies to the commands before it.
    Waits,
    /// Its reply is in the ring, and the connection ends after it.
    Ends,
    /// It starts a search. Nothing is in flight.
    Searches(Search),
    /// It has to wait for the check of its password.
    Authenticates(Pending),
    /// Its reply is in the ring. The connection has another token, with limits of its own, from the next
    /// command on.
    Authenticated,
}

impl Session {
    /// Creates the session of a connection that starts to speak the Redis protocol.
    pub(crate) fn new(
        worker: &Worker,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) -> Self {
        Self {
            registration: Registration::new(&worker.status.clients, peer, local),
            progress: resp::Progress::default(),
            arguments: Arguments::default(),
            waits: None,
            verdict: None,
            transaction: Transaction::default(),
            redirects: false,
        }
    }

    /// Returns whether commands that were left unserved can be served now. If not, the connection's
    /// task is woken when that changes.
    pub(crate) fn may_go_on(&self, link: &Link) -> bool {
        match &self.waits {
            None => true,
            Some(WaitsFor::Room) => link.has_room(),
            Some(WaitsFor::Replies { .. }) => link.in_flight() == 0,
            Some(WaitsFor::Search(search)) => search.may_continue(link),
            Some(WaitsFor::Password { check, .. }) => check.verdict().is_some(),
        }
    }

    /// Returns whether the next command waits for something, which may belong to this worker.
    pub(crate) fn waits(&self) -> bool {
        self.waits.is_some()
    }

    /// Notes the name of the token whose rights the connection has, for CLIENT LIST.
    pub(crate) fn set_user(&self, user: Option<&str>) {
        self.registration.client.set_user(user);
    }

    /// Returns whether another client killed this one: then the connection has to end at once.
    pub(crate) fn is_killed(&self) -> bool {
        self.registration.client.is_killed()
    }

    /// Serves the commands at the start of `input`. Appends their requests to `requests`; the topics
    /// stay in `input`.
    pub(crate) fn serve_input<P: Permission>(
        &mut self,
        permission: &mut P,
        worker: &Worker,
        link: &Link,
        key: ConnectionKey,
        input: &mut [u8],
        requests: &mut Requests,
    ) -> ServedInput {
        let decoded = match self.waits.take() {
            Some(WaitsFor::Replies { len }) => Some(len),
            Some(WaitsFor::Password { len, check }) => {
                self.verdict = check.verdict();
                Some(len)
            }
            Some(WaitsFor::Search(search)) => {
                if self.search(search, worker, link, key) == Progress::Unfinished {
                    let rest = Rest::Unserved;
                    return ServedInput { at: 0, rest };
                }
                None
            }
            Some(WaitsFor::Room) | None => None,
        };
        let (mut served, search) =
            self.serve_commands(permission, decoded, worker, link, input, requests);
        if let Some(search) = search
            && self.search(search, worker, link, key) == Progress::Finished
            && served.at == input.len()
        {
            served.rest = Rest::Partial; // finished at once, with no command behind it
        }
        self.registration.client.set_active();
        if self.waits.is_none() {
            self.arguments.trim();
        }
        served
    }

    /// Serves commands up to one that has to wait, or one that starts a search, which is returned.
    /// If the first command is decoded already, `decoded` is its length in bytes.
    fn serve_commands<P: Permission>(
        &mut self,
        permission: &mut P,
        mut decoded: Option<usize>,
        worker: &Worker,
        link: &Link,
        input: &mut [u8],
        requests: &mut Requests,
    ) -> (ServedInput, Option<Search>) {
        let mut ring = link.ring();
        let mut turn = Turn {
            worker,
            link,
            text_before: ring.text_len(),
            room: link.room(),
            max_in_flight: link.max_in_flight(),
            ring: &mut ring,
            requests,
        };
        let mut at = 0;
        let (rest, search) = loop {
            let next = match decoded.take() {
                Some(len) => Next::Command(len),
                None => self.next(&mut input[at..], &turn),
            };
            let len = match next {
                Next::Command(len) => len,
                Next::End(rest) => break (rest, None),
                Next::Broken(error) => {
                    refuse_bytes(error, turn.ring);
                    break (Rest::Discard, None);
                }
            };
            match self.serve(permission, &input[at..at + len], at, &mut turn) {
                Served::Done => at += len,
                Served::Waits => {
                    self.waits = Some(WaitsFor::Replies { len });
                    break (Rest::Unserved, None);
                }
                Served::Authenticates(check) => {
                    self.waits = Some(WaitsFor::Password { len, check });
                    break (Rest::Unserved, None);
                }
                Served::Authenticated => {
                    at += len;
                    let rest = match at == input.len() {
                        true => Rest::Partial,
                        false => Rest::Unserved,
                    };
                    break (rest, None);
                }
                Served::Ends => break (Rest::Discard, None),
                Served::Searches(search) => {
                    at += len;
                    break (Rest::Unserved, Some(search));
                }
            }
        };
        (ServedInput { at, rest }, search)
    }

    /// Handles that the peer shut down its side; `partial` is what it sent of an incomplete command.
    pub(crate) fn end(&self, partial: &[u8], link: &Link) {
        if !partial.is_empty() {
            refuse_bytes(ProtocolError::BrokenOff, &mut link.ring());
        }
    }

    /// Refuses an incomplete command whose rest did not come in time.
    pub(crate) fn refuse_slow(&self, link: &Link) {
        refuse_bytes(ProtocolError::TooSlow, &mut link.ring());
    }

    /// Decodes the command at the start of `input`, if it can be served now.
    // The loop around it is compiled twice, with and without access control. Then the compiler calls this
    // and what this calls, which takes 100 of 1,115 instructions for a request.
    #[inline(always)]
    fn next(&mut self, input: &mut [u8], turn: &Turn<'_>) -> Next {
        let text = turn.ring.text_len() - turn.text_before;
        if !turn.ring.has_room(turn.max_in_flight) || text >= turn.room {
            self.waits = Some(WaitsFor::Room);
            return Next::End(Rest::Unserved);
        }
        if text >= TURN_TEXT {
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

    /// Serves the command that was decoded last; its `bytes` start at `at` in the input.
    fn serve<P: Permission>(
        &mut self,
        permission: &mut P,
        bytes: &[u8],
        at: usize,
        turn: &mut Turn<'_>,
    ) -> Served {
        if self.arguments.is_empty() {
            return Served::Done; // an empty line
        }
        let found = resp::find(&self.arguments, bytes);
        let in_flight = !turn.requests.is_empty() || turn.link.in_flight() > 0;
        if in_flight && found.as_ref().is_ok_and(|spec| waits_for_all_before(spec)) {
            return Served::Waits;
        }
        // A command whose password was checked has been counted already.
        if self.verdict.is_none() && !permission.admits(found.ok(), &self.arguments) {
            turn.ring.begin_command();
            turn.ring.refuse(Refusal::Code(ErrorCode::Busy));
            if let Ok(spec) = found {
                turn.worker.counters().refused(spec.verb);
            }
            return Served::Done;
        }
        if P::CHECKS
            && let Ok(spec) = &found
            && matches!(spec.verb, Verb::Auth | Verb::Hello)
            && let Some(check) = self.begin_auth(permission, spec, bytes, turn)
        {
            return Served::Authenticates(check);
        }
        turn.ring.begin_command();
        let read = found.and_then(|spec| self.read(spec, bytes, turn.worker));
        let (spec, command) = match read {
            Ok(read) => read,
            Err(refusal) => {
                turn.ring.refuse(match refusal {
                    Refusal::ChangesCluster if turn.worker.shared().owners().is_none() => {
                        Refusal::NoCluster
                    }
                    refusal => refusal,
                });
                self.verdict = None; // also if the command was part of a transaction
                return match self.is_http(bytes) {
                    true => Served::Ends,
                    false => Served::Done,
                };
            }
        };
        // Not in `read`: there it would copy the command.
        if P::CHECKS
            && let Err(refusal) = permission.check(spec, &command, &self.arguments, bytes)
        {
            turn.worker.counters().denied();
            turn.worker.counters().refused(spec.verb);
            turn.ring.refuse(refusal);
            self.verdict = None;
            return Served::Done;
        }
        if self.redirects
            && let Some(redirect) = self.redirect(spec, bytes, turn.worker)
        {
            turn.worker.counters().refused(spec.verb);
            turn.ring.refuse(redirect);
            return Served::Done;
        }
        turn.worker.counters().called(spec.verb);
        self.registration.client.set_verb(spec.verb);
        let shards = turn.worker.shared().shards();
        match command {
            Command::Topic { request, form } => {
                let topic = spec.keys.range(self.arguments.len()).start;
                self.push(topic, request, form, at, turn);
            }
            Command::EachKey(each) => self.push_each_key(spec, each, bytes, at, turn),
            Command::Scan(scan) => {
                let scan = Scan::new(scan, permission.filter());
                return Served::Searches(Search::Scan(scan));
            }
            Command::Keys(pattern) => {
                let keys = Keys::new(pattern, permission.filter());
                return Served::Searches(Search::Keys(keys));
            }
            Command::RandomKey => {
                return Served::Searches(Search::RandomKey(RandomKey::new(shards)));
            }
            Command::SlotKeys(keys) => {
                if turn.worker.shared().owners().is_none() {
                    turn.ring.refuse(Refusal::NoCluster);
                } else if let Some(keys) = SlotKeys::new(keys, permission.filter()) {
                    return Served::Searches(Search::SlotKeys(keys));
                } else {
                    turn.ring.refuse(Refusal::Slot);
                }
            }
            command => {
                if let Err(refusal) = self.end_auth(permission, &command) {
                    turn.worker.counters().refused(spec.verb);
                    turn.ring.refuse(refusal);
                    return Served::Done;
                }
                if spec.verb == Verb::Reset {
                    permission.forget();
                    self.redirects = false;
                } else if shows_map(spec.verb) {
                    self.redirects = turn.worker.shared().owners().is_some();
                }
                if P::CHECKS && matches!(spec.verb, Verb::Auth | Verb::Hello | Verb::Reset) {
                    self.set_user(permission.user());
                }
                let invocation = Invocation {
                    spec,
                    command,
                    arguments: &self.arguments,
                    bytes,
                };
                let client = &self.registration.client;
                let then = answer::answer(&invocation, turn.worker, client, turn.link, turn.ring);
                if then == Then::Close {
                    return Served::Ends;
                }
                if P::CHECKS && auth_in(&invocation.command).is_some() {
                    return Served::Authenticated;
                }
            }
        }
        Served::Done
    }

    /// Begins to check the credentials of the command that was decoded last, an AUTH or HELLO, if it has
    /// some and they are not checked yet. Returns the check if it takes a while.
    #[cold]
    fn begin_auth<P: Permission>(
        &mut self,
        permission: &P,
        spec: &'static Spec,
        bytes: &[u8],
        turn: &Turn<'_>,
    ) -> Option<Pending> {
        if self.verdict.is_some() {
            return None;
        }
        let max_topic_len = turn.worker.intake.max_topic_len();
        let command = Command::read(spec, &self.arguments, bytes, max_topic_len).ok()?;
        let auth = auth_in(&command)?;
        // The task's poll has set it.
        let waker = turn.link.waker().unwrap_or(Waker::noop().clone());
        match permission.begin_auth(auth, &waker)? {
            Check::Done(verdict) => {
                self.verdict = Some(verdict);
                None
            }
            Check::Waits(check) => Some(check),
        }
    }

    /// Interprets the command that was decoded last, which `spec` describes.
    #[inline(always)] // as `next`
    fn read<'a>(
        &mut self,
        spec: &'static Spec,
        bytes: &'a [u8],
        worker: &Worker,
    ) -> Result<(&'static Spec, Command<'a>), Refusal<'a>> {
        let read = self.transaction.note(spec).and_then(|()| {
            let max_topic_len = worker.intake.max_topic_len();
            Command::read(spec, &self.arguments, bytes, max_topic_len)
        });
        if read.is_err() {
            worker.counters().refused(spec.verb);
        }
        Ok((spec, read?))
    }

    /// Takes over the rights of the credentials in a command, if it has some.
    fn end_auth<P: Permission>(
        &mut self,
        permission: &mut P,
        command: &Command<'_>,
    ) -> Result<(), Refusal<'static>> {
        match auth_in(command) {
            Some(auth) => permission.end_auth(auth, self.verdict.take()),
            None => Ok(()),
        }
    }

    /// Returns whether this is the first line of an HTTP request, or a header. A browser was tricked
    /// into sending it, and the body might contain commands.
    fn is_http(&self, bytes: &[u8]) -> bool {
        let name = self.arguments.at(0, bytes);
        name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"HOST:")
    }

    /// Returns why the command that was decoded last, which `spec` describes, has to be sent to another
    /// node; `None` if not. Its keys are topics.
    #[cold]
    fn redirect(&self, spec: &Spec, bytes: &[u8], worker: &Worker) -> Option<Redirect> {
        let owners = worker.shared().owners()?;
        let keys = spec.keys.range(self.arguments.len());
        redirect(
            owners,
            keys.map(|i| Topic::checked_before(self.arguments.at(i, bytes))),
        )
    }

    /// Queues `request`, whose topic is argument `i` of the command that starts at `at`.
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

    /// Queues a request for each key of the command in `bytes`, which starts at `at`.
    fn push_each_key(
        &self,
        spec: &Spec,
        each: EachKey,
        bytes: &[u8],
        at: usize,
        turn: &mut Turn<'_>,
    ) {
        let topics = spec.keys.range(self.arguments.len());
        if !each.counted {
            turn.ring.push(|writer| writer.array(topics.len()));
        }
        for i in topics.clone() {
            let request = Request {
                op: each.op,
                topic: Topic::checked_before(self.arguments.at(i, bytes)),
            };
            self.push(i, request, each.form(i + 1 == topics.end), at, turn);
        }
    }

    /// Continues a search by one part. If it is not finished then, it becomes what the next command
    /// waits for.
    fn search(
        &mut self,
        mut search: Search,
        worker: &Worker,
        link: &Link,
        key: ConnectionKey,
    ) -> Progress {
        let next = || search.next_part(worker.shared().shards()).map(Box::new);
        let mut part: Option<Box<SearchPart>> = link.take_search_part().or_else(next);
        while let Some(shard) = part.as_ref().and_then(|part| part.next()) {
            let Some(away) = part.take() else { break };
            link.add_in_flight(1);
            part = worker.search(shard, away, key);
            if part.is_none() {
                self.waits = Some(WaitsFor::Search(search)); // until the part comes back
                return Progress::Unfinished;
            }
            link.sub_in_flight(1);
        }
        let progress = search.advance(part.as_deref(), link, worker.stopping());
        if progress == Progress::Unfinished {
            self.waits = Some(WaitsFor::Search(search));
        }
        progress
    }
}

/// Returns the credentials in a command, if it has some.
fn auth_in<'a>(command: &Command<'a>) -> Option<Auth<'a>> {
    match *command {
        Command::Auth(auth) => Some(auth),
        Command::Hello(hello) => hello.auth,
        _ => None,
    }
}

/// Appends the error for bytes that are not a command.
fn refuse_bytes(error: ProtocolError, ring: &mut Ring) {
    ring.refuse(format_args!("ERR Protocol error: {error}"));
}
