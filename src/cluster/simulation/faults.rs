//! The faults that the scheduler makes happen, and their end.

use super::super::Event;
use super::host::member_of;
use super::machine::Message;
use super::world::{Step, World};
use super::{MILLISECOND, SECOND};

impl World {
    pub(super) fn fault(&mut self) {
        let host = self.node();
        match self.random.below(9) {
            0 | 1 => self.pause(host),
            2 => self.kill(host),
            3 | 4 => self.cut_from_etcd(host),
            5 => {
                let other = self.node();
                self.hosts[host].cut_from[other] = true;
                let delay = self.between(200 * MILLISECOND, 9 * SECOND);
                self.after(delay, Step::Heal(host));
            }
            6 => {
                self.etcd_down = true;
                let delay = self.between(100 * MILLISECOND, 6 * SECOND);
                self.after(delay, Step::EtcdUp);
            }
            7 => self.elect(),
            _ => self.leave(host),
        }
    }

    pub(super) fn cut_from_etcd(&mut self, host: usize) {
        self.hosts[host].cut_from_etcd = true;
        self.break_watch(host);
        let delay = self.between(200 * MILLISECOND, 9 * SECOND);
        self.after(delay, Step::Heal(host));
    }

    pub(super) fn pause(&mut self, host: usize) {
        if self.hosts[host].paused.is_none() {
            self.hosts[host].paused = Some(Vec::new());
            let delay = self.between(100 * MILLISECOND, 9 * SECOND);
            self.after(delay, Step::Resume(host));
        }
    }

    /// etcd elects a new leader. A node at the member of the old one may lose its connection afterwards.
    pub(super) fn elect(&mut self) {
        let stale_for = self.random.below(2 * SECOND);
        self.etcd.elect(self.now, stale_for);
        let host = self.node();
        if self.etcd.is_stale(self.now, member_of(host)) && self.one_in(2) {
            self.after(stale_for, Step::Cut(host));
        }
    }

    pub(super) fn leave(&mut self, host: usize) {
        if self.hosts[host].machine.is_some() && !self.hosts[host].leaving {
            self.hosts[host].leaving = true;
            let incarnation = self.hosts[host].incarnation;
            self.after(
                0,
                Step::Machine(host, incarnation, Message::Core(Event::Leave)),
            );
        }
    }

    pub(super) fn heal(&mut self, host: usize) {
        self.hosts[host].cut_from_etcd = false;
        self.hosts[host].cut_from.fill(false);
    }

    pub(super) fn heal_everything(&mut self) {
        self.faulty = false;
        self.etcd_down = false;
        for host in 0..self.hosts.len() {
            self.heal(host);
            if self.hosts[host].paused.is_some() {
                self.after(0, Step::Resume(host));
            }
        }
    }
}
