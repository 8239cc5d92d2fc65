//! A machine: the process of a node, if it runs, with its clock and its connections.

use std::time::Duration;

use super::super::Moment;
use super::machine::{Machine, Message};
use super::{Micros, SECOND, micros};
use crate::random::Random;

#[derive(Debug)]
pub(super) struct Host {
    pub(super) machine: Option<Machine>,
    pub(super) incarnation: u64,
    /// Steps that wait for the process to continue; `None` if it is not paused.
    pub(super) paused: Option<Vec<Message>>,
    pub(super) cut_from_etcd: bool,
    pub(super) cut_from: Vec<bool>,
    /// The clock: its moment at the beginning, and its rate in millionths.
    pub(super) clock_offset: Micros,
    pub(super) clock_rate: u64,
    /// The timer that is set, by the world's time.
    pub(super) timer: Option<Micros>,
    pub(super) watch: Option<Watch>,
    pub(super) leaving: bool,
}

#[derive(Debug)]
pub(super) struct Watch {
    pub(super) next: usize,
    pub(super) last_arrival: Micros,
}

/// Returns the member of etcd that a node is connected to.
pub(super) fn member_of(host: usize) -> u64 {
    host as u64 % 3
}

impl Host {
    pub(super) fn new(nodes: usize, random: &mut Random) -> Self {
        Self {
            machine: None,
            incarnation: 0,
            paused: None,
            cut_from_etcd: false,
            cut_from: vec![false; nodes],
            clock_offset: random.below(1_000_000 * SECOND),
            // Rates differ by less than 2 %.
            clock_rate: 990_000 + random.below(20_000),
            timer: None,
            watch: None,
            leaving: false,
        }
    }

    /// Returns what the host's clock shows at a time of the world.
    pub(super) fn clock(&self, at: Micros) -> Moment {
        Moment::new(Duration::from_micros(
            self.clock_offset + at * self.clock_rate / 1_000_000,
        ))
    }

    /// Returns the time of the world at which the host's clock shows this moment or a later one.
    pub(super) fn at_clock(&self, moment: Moment) -> Micros {
        let clock = micros(moment.since_start()).saturating_sub(self.clock_offset);
        (clock * 1_000_000).div_ceil(self.clock_rate)
    }
}
