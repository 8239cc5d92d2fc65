//! How requests reach etcd, and how its answers and watches come back.

use super::super::fault::{Fault, planted};
use super::super::*;
use super::host::{Watch, member_of};
use super::machine::{Call, Message};
use super::world::{Step, World};
use super::{MILLISECOND, SECOND};

impl World {
    pub(super) fn at_etcd(&mut self, host: usize, incarnation: u64, call: Call) {
        // While there is no leader, some requests are lost, others are served when there is one again.
        let lost = self.hosts[host].cut_from_etcd || (self.etcd_down && self.one_in(2));
        if lost {
            if matches!(call, Call::Watch(_)) {
                self.tell_that_watch_broke(host, incarnation);
            }
            return;
        }
        if self.etcd_down {
            let delay = self.between(100 * MILLISECOND, 2 * SECOND);
            self.after(delay, Step::AtEtcd(host, incarnation, call));
            return;
        }
        let name = NodeName::new(&host.to_string());
        let answer = match call {
            Call::Core(ticket, Request::Renew { lease }) => {
                let stale = self.etcd.is_stale(self.now, member_of(host));
                if self.etcd.renew(self.now, lease, stale) {
                    let delay = self.between(200, 4 * MILLISECOND);
                    self.after(delay, Step::ReadAfterRenewal(host, incarnation, ticket));
                    return;
                }
                Message::Core(Event::Answer(ticket, Answer::Expired))
            }
            Call::Core(ticket, request) => {
                let answer = self.etcd.serve(self.now, &name, &request);
                Message::Core(Event::Answer(ticket, answer))
            }
            Call::Watch(after) => {
                self.begin_watch(host, incarnation, after);
                return;
            }
            Call::Commit {
                id,
                range,
                epoch,
                ceilings,
            } => Message::Committed(id, Some(self.etcd.commit(range, epoch, &ceilings))),
            Call::Load(range, epoch) => {
                Message::RangeRead(range, epoch, self.etcd.load(range, epoch))
            }
        };
        self.answer(host, incarnation, answer);
        self.deliver_watches();
    }

    pub(super) fn answer(&mut self, host: usize, incarnation: u64, message: Message) {
        let delay = self.etcd_delay();
        self.after(delay, Step::FromEtcd(host, incarnation, message));
    }

    /// A linearizable read: a leader that was deposed cannot answer it, and learns of its successor.
    pub(super) fn read_after_renewal(&mut self, host: usize, incarnation: u64, ticket: Ticket) {
        let member = member_of(host);
        if self.etcd_down || self.etcd.is_stale(self.now, member) {
            let delay = self.between(10 * MILLISECOND, 200 * MILLISECOND);
            // With this fault, nobody waits for the read.
            if !planted(Fault::RenewalByAnyLeader) {
                self.after(delay, Step::ReadAfterRenewal(host, incarnation, ticket));
                return;
            }
        }
        let term = self.etcd.term;
        let answer = Answer::Renewed(Leadership { member, term });
        self.answer(
            host,
            incarnation,
            Message::Core(Event::Answer(ticket, answer)),
        );
    }

    pub(super) fn begin_watch(&mut self, host: usize, incarnation: u64, after: Revision) {
        if self.hosts[host].incarnation != incarnation {
            return;
        }
        if self.faulty && self.one_in(20) {
            // What it should report was compacted.
            self.tell_that_watch_broke(host, incarnation);
            return;
        }
        let next = self
            .etcd
            .log
            .partition_point(|change| change.revision <= after);
        self.hosts[host].watch = Some(Watch {
            next,
            last_arrival: self.now,
        });
        self.deliver_watches();
    }

    pub(super) fn deliver_watches(&mut self) {
        for index in 0..self.hosts.len() {
            let incarnation = self.hosts[index].incarnation;
            while let Some(watch) = &self.hosts[index].watch
                && let Some(change) = self.etcd.log.get(watch.next).cloned()
            {
                if self.hosts[index].cut_from_etcd {
                    self.break_watch(index);
                    break;
                }
                let delay = self.etcd_delay();
                let Some(watch) = &mut self.hosts[index].watch else {
                    break;
                };
                watch.next += 1;
                watch.last_arrival = watch.last_arrival.max(self.now + delay) + 1;
                let at = watch.last_arrival;
                let event = Event::Watched {
                    revision: change.revision,
                    sessions: change.sessions,
                    claims: change.claims,
                };
                self.at(at, Step::Machine(index, incarnation, Message::Core(event)));
            }
        }
    }

    pub(super) fn break_watch(&mut self, host: usize) {
        if self.hosts[host].watch.take().is_some() {
            let incarnation = self.hosts[host].incarnation;
            self.tell_that_watch_broke(host, incarnation);
        }
    }

    /// The client notices at the latest by its own time-out.
    pub(super) fn tell_that_watch_broke(&mut self, host: usize, incarnation: u64) {
        let delay = self.between(10 * MILLISECOND, 2 * SECOND);
        let message = Message::Core(Event::WatchBroken);
        self.after(delay, Step::Machine(host, incarnation, message));
    }
}
