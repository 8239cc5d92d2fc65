//! The scheduler: time, processes, clients, and the checks. Everything follows from the seed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::*;
use super::etcd::Etcd;
use super::history::{History, OpId, Outcome};
use super::host::Host;
use super::machine::{Call, Count, Machine, Message, Output};
use super::{MILLISECOND, Micros, RANGE_COUNT, SECOND, TOPIC_COUNT, micros};
use crate::random::Random;

/// How long faults happen.
const FAULTY_TIME: Micros = 40 * SECOND;

/// How long nothing fails after that, before every range must be served.
const HEALING_TIME: Micros = 14 * SECOND;

/// How long all requests must succeed then.
const CALM_TIME: Micros = 3 * SECOND;

const LEASE: Duration = Duration::from_secs(4);
const CLIENTS: u64 = 6;

/// How long a client waits for an answer.
const CLIENT_TIMEOUT: Micros = 12 * SECOND;

/// The most steps of a run; many times as many as a run takes, so that a loop without end is found.
const MAX_STEPS: u64 = 2_000_000;

/// What happens at a moment.
#[derive(Debug)]
pub(super) enum Step {
    /// A process makes a step, unless it was killed since.
    Machine(usize, u64, Message),
    /// A request arrives at etcd.
    AtEtcd(usize, u64, Call),
    /// The member of etcd that has renewed a lease answers the read that follows.
    ReadAfterRenewal(usize, u64, Ticket),
    /// An answer arrives at a machine, if the network lets it.
    FromEtcd(usize, u64, Message),
    FromPeer(usize, u64, usize, Message),
    ClientBegins,
    ClientTimeout(OpId),
    ClientReply(OpId, Outcome),
    Resume(usize),
    Start(usize),
    Cut(usize),
    Heal(usize),
    EtcdUp,
    Fault,
    Expire,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Micros,
    pub(super) random: Random,
    pub(super) steps: BTreeMap<(Micros, u64), Step>,
    pub(super) sequence: u64,
    pub(super) etcd: Etcd,
    pub(super) etcd_down: bool,
    pub(super) hosts: Vec<Host>,
    pub(super) history: History,
    pub(super) faulty: bool,
    pub(super) claims_before_calm: usize,
}

/// What a run did, for whoever looks at it.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Statistics {
    pub(super) steps: u64,
    pub(super) claims: usize,
    pub(super) requests: usize,
    pub(super) counted: usize,
}

impl Statistics {
    pub(super) fn add(&mut self, other: Self) {
        self.steps += other.steps;
        self.claims += other.claims;
        self.requests += other.requests;
        self.counted += other.counted;
    }
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let nodes = 2 + random.below(3) as usize;
        let hosts = (0..nodes).map(|_| Host::new(nodes, &mut random)).collect();
        Self {
            now: 0,
            random,
            steps: BTreeMap::new(),
            sequence: 0,
            etcd: Etcd::new(),
            etcd_down: false,
            hosts,
            history: History::default(),
            faulty: true,
            claims_before_calm: 0,
        }
    }

    /// Runs until the end. The error says which promise was broken.
    pub(super) fn run(&mut self) -> Result<Statistics, String> {
        for host in 0..self.hosts.len() {
            let at = self.random.below(3 * SECOND);
            self.at(at, Step::Start(host));
        }
        for _ in 0..CLIENTS {
            self.at(SECOND, Step::ClientBegins);
        }
        self.at(5 * SECOND, Step::Fault);
        self.at(100 * MILLISECOND, Step::Expire);
        let healed = FAULTY_TIME + HEALING_TIME;
        let end = healed + CALM_TIME;
        let mut statistics = Statistics::default();
        while let Some(((at, _), step)) = self.steps.pop_first() {
            if self.faulty && at >= FAULTY_TIME {
                self.heal_everything();
            }
            if self.claims_before_calm == 0 && at >= healed {
                self.claims_before_calm = self.etcd.claims_written();
            }
            self.now = at;
            // The clients stop a little before the end, so that everything is answered by then.
            if at >= end + CLIENT_TIMEOUT {
                break;
            }
            statistics.steps += 1;
            if statistics.steps > MAX_STEPS {
                return Err("it does not come to rest".to_owned());
            }
            self.step(step, end)
                .map_err(|problem| format!("after {} ms: {problem}", at / MILLISECOND))?;
        }
        self.check_end(healed)?;
        statistics.claims = self.etcd.claims_written();
        (statistics.counted, statistics.requests) = self.history.counted_since(0);
        Ok(statistics)
    }

    fn check_end(&self, healed: Micros) -> Result<(), String> {
        self.history.check()?;
        for range in RangeId::all(RANGE_COUNT) {
            let owners = self
                .hosts
                .iter()
                .filter(|host| {
                    host.machine
                        .as_ref()
                        .is_some_and(|machine| machine.serves(range))
                })
                .count();
            if owners != 1 {
                return Err(format!(
                    "range {range} is served by {owners} nodes at the end"
                ));
            }
        }
        if self.claims_before_calm != self.etcd.claims_written() {
            return Err("ranges still move although nothing changes".to_owned());
        }
        let open = self.history.open();
        if open > 0 {
            return Err(format!("{open} requests have no answer"));
        }
        let (counted, began) = self.history.counted_since(healed);
        if counted != began || began == 0 {
            return Err(format!(
                "of {began} requests at the end, {counted} were counted"
            ));
        }
        Ok(())
    }

    pub(super) fn at(&mut self, at: Micros, step: Step) {
        self.sequence += 1;
        self.steps.insert((at.max(self.now), self.sequence), step);
    }

    pub(super) fn after(&mut self, delay: Micros, step: Step) {
        self.at(self.now + delay, step);
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.random.below(n) == 0
    }

    pub(super) fn between(&mut self, from: Micros, to: Micros) -> Micros {
        from + self.random.below(to - from)
    }

    pub(super) fn node(&mut self) -> usize {
        self.random.below(self.hosts.len() as u64) as usize
    }

    /// How long a message to or from etcd takes.
    pub(super) fn etcd_delay(&mut self) -> Micros {
        match self.random.below(100) {
            0 if self.faulty => self.between(SECOND, 9 * SECOND),
            1..=6 if self.faulty => self.between(50 * MILLISECOND, 950 * MILLISECOND),
            _ => self.between(200, 4 * MILLISECOND),
        }
    }

    fn step(&mut self, step: Step, end: Micros) -> Result<(), String> {
        match step {
            Step::Machine(host, incarnation, message) => {
                self.machine_step(host, incarnation, message)?;
            }
            Step::AtEtcd(host, incarnation, call) => self.at_etcd(host, incarnation, call),
            Step::ReadAfterRenewal(host, incarnation, ticket) => {
                self.read_after_renewal(host, incarnation, ticket);
            }
            Step::FromEtcd(host, incarnation, message) => {
                if !self.hosts[host].cut_from_etcd {
                    self.machine_step(host, incarnation, message)?;
                }
            }
            Step::FromPeer(host, incarnation, from, message) => {
                if !self.hosts[host].cut_from[from] {
                    self.machine_step(host, incarnation, message)?;
                }
            }
            Step::ClientBegins => {
                if self.now < end {
                    self.client_begins();
                }
            }
            Step::ClientTimeout(op) => self.client_ends(op, Outcome::Unknown)?,
            Step::ClientReply(op, outcome) => self.client_ends(op, outcome)?,
            Step::Resume(host) => {
                let waiting = self.hosts[host].paused.take().unwrap_or_default();
                let incarnation = self.hosts[host].incarnation;
                // All at once, so that what arrives later does not overtake what waited.
                for message in waiting {
                    self.after(0, Step::Machine(host, incarnation, message));
                }
            }
            Step::Start(host) => self.start(host),
            Step::Cut(host) => {
                if self.faulty {
                    self.cut_from_etcd(host);
                }
            }
            Step::Heal(host) => self.heal(host),
            Step::EtcdUp => self.etcd_down = false,
            Step::Fault => {
                if self.faulty {
                    self.fault();
                    let next = self.between(300 * MILLISECOND, 5 * SECOND);
                    self.after(next, Step::Fault);
                }
            }
            Step::Expire => {
                if !self.etcd_down {
                    let late = self.random.below(400 * MILLISECOND);
                    self.etcd.expire(self.now, late);
                    self.deliver_watches();
                }
                let next = self.between(10 * MILLISECOND, 100 * MILLISECOND);
                self.after(next, Step::Expire);
            }
        }
        Ok(())
    }

    // --- machines ---

    fn start(&mut self, index: usize) {
        if self.hosts[index].machine.is_some() {
            return;
        }
        let random = self.random.fork();
        let host = &mut self.hosts[index];
        let config = Config {
            name: NodeName::new(&index.to_string()),
            lease: LEASE,
            ranges: RANGE_COUNT,
        };
        host.incarnation += 1;
        host.machine = Some(Machine::new(index, config, random));
        host.timer = None;
        host.watch = None;
        host.leaving = false;
        let incarnation = host.incarnation;
        self.after(0, Step::Machine(index, incarnation, Message::Timer));
    }

    pub(super) fn kill(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        host.machine = None;
        host.paused = None;
        host.watch = None;
        host.incarnation += 1;
        let delay = self.between(100 * MILLISECOND, 8 * SECOND);
        self.after(delay, Step::Start(index));
    }

    fn machine_step(
        &mut self,
        index: usize,
        incarnation: u64,
        message: Message,
    ) -> Result<(), String> {
        let host = &mut self.hosts[index];
        if host.incarnation != incarnation {
            return Ok(());
        }
        if let Some(paused) = &mut host.paused {
            paused.push(message);
            return Ok(());
        }
        let clock = host.clock(self.now);
        let Some(machine) = &mut host.machine else {
            return Ok(());
        };
        if matches!(message, Message::Timer) {
            host.timer = None;
        }
        let outputs = machine.handle(clock, message);
        for output in outputs {
            self.output(index, incarnation, output)?;
        }
        self.set_timer(index, incarnation);
        Ok(())
    }

    fn set_timer(&mut self, index: usize, incarnation: u64) {
        let host = &mut self.hosts[index];
        let due = host
            .machine
            .as_ref()
            .and_then(|machine| machine.node.next_timer());
        let Some(due) = due else {
            return;
        };
        let at = host.at_clock(due).max(self.now + 1);
        if host.timer.is_none_or(|timer| at < timer) {
            host.timer = Some(at);
            self.at(at, Step::Machine(index, incarnation, Message::Timer));
        }
    }

    fn output(&mut self, index: usize, incarnation: u64, output: Output) -> Result<(), String> {
        match output {
            Output::Etcd(call) => {
                let delay = self.etcd_delay();
                self.after(delay, Step::AtEtcd(index, incarnation, call));
            }
            Output::Later(delay, message) => {
                self.after(micros(delay), Step::Machine(index, incarnation, message));
            }
            Output::Peer(peer, count) => {
                if count.hops > 1 {
                    return Err(format!("request {} was forwarded twice", count.op));
                }
                let delay = self.between(100, 2 * MILLISECOND);
                let receiver = self.hosts[peer].incarnation;
                let message = Message::Count(count);
                self.after(delay, Step::FromPeer(peer, receiver, index, message));
            }
            Output::Reply(count, outcome) => self.reply(index, count, outcome),
            Output::Untold(range) => {
                return Err(format!("node {index} owns range {range} and told nobody"));
            }
            Output::Applied(op, range, epoch) => {
                let name = NodeName::new(&index.to_string());
                let owns = self.etcd.owns(&name, range, epoch);
                self.history.applied(op, owns)?;
            }
            Output::Left => {
                let host = &mut self.hosts[index];
                host.machine = None;
                host.incarnation += 1;
                let delay = self.between(500 * MILLISECOND, 5 * SECOND);
                self.after(delay, Step::Start(index));
            }
        }
        Ok(())
    }

    fn reply(&mut self, from: usize, count: Count, outcome: Outcome) {
        let delay = self.between(100, 2 * MILLISECOND);
        match count.from {
            Some(peer) => {
                let receiver = self.hosts[peer].incarnation;
                let message = Message::PeerReply(count.op, outcome);
                self.after(delay, Step::FromPeer(peer, receiver, from, message));
            }
            None => self.after(delay, Step::ClientReply(count.op, outcome)),
        }
    }

    // --- clients ---

    fn client_begins(&mut self) {
        let topic = self.random.below(TOPIC_COUNT);
        let node = self.node();
        let op = self.history.begin(self.now, topic);
        let delay = self.between(100, 2 * MILLISECOND);
        let host = &self.hosts[node];
        if host.machine.is_none() {
            self.after(delay, Step::ClientReply(op, Outcome::Unavailable));
            return;
        }
        let incarnation = host.incarnation;
        let count = Count {
            op,
            topic,
            from: None,
            hops: 0,
            retried: false,
        };
        self.after(
            delay,
            Step::Machine(node, incarnation, Message::Count(count)),
        );
        self.after(CLIENT_TIMEOUT, Step::ClientTimeout(op));
    }

    fn client_ends(&mut self, op: OpId, outcome: Outcome) -> Result<(), String> {
        if self.history.end(self.now, op, outcome)? {
            let pause = self.between(5 * MILLISECOND, 200 * MILLISECOND);
            self.after(pause, Step::ClientBegins);
        }
        Ok(())
    }
}
