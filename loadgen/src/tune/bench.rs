//! Measures the settings in turn, round by round.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::options::Options;
use super::results::Sample;
use super::setting::Setting;
use crate::drive;
use crate::launch::{Folder, Storage, start_own};
use crate::measure;
use crate::plan::{Pace, Plan};
use crate::report::Rounds;

/// How long a server is warmed up before each measurement.
const WARM_UP: Duration = Duration::from_millis(200);

/// After how long a datagram counts as lost and its slot is used again. A small part of a round, so
/// that a loss does not leave a socket idle; long compared with the latency of any reply.
const DATAGRAM_TIMEOUT: Duration = Duration::from_millis(100);

/// How often a measurement that fails is tried. A pause of the disk or of the system, in which nothing is
/// answered, must not exclude a setting.
const TRIES: u32 = 3;

/// What all settings are measured with.
pub(super) struct Bench<'a> {
    /// The server to start.
    program: &'a Path,
    storage: Storage,
    processors: &'a [usize],
    rounds: u32,
    /// The load, except for its pace and its server.
    load: Plan,
}

/// A setting with what was measured of it.
pub(super) struct Contender {
    pub(super) setting: Setting,
    /// Why it could not be measured.
    pub(super) failed: Option<String>,
    /// By round.
    pub(super) closed: Vec<Sample>,
    pub(super) open: Vec<Sample>,
}

impl Contender {
    pub(super) fn new(setting: Setting) -> Self {
        Self {
            setting,
            failed: None,
            closed: Vec::new(),
            open: Vec::new(),
        }
    }

    fn samples(&mut self, pace: Pace) -> &mut Vec<Sample> {
        match pace {
            Pace::Closed { .. } => &mut self.closed,
            Pace::Open { .. } => &mut self.open,
        }
    }
}

impl<'a> Bench<'a> {
    pub(super) fn new(program: &'a Path, options: &'a Options) -> Self {
        let load = &options.load;
        let timeout = match load.target.transport().is_udp() {
            true => DATAGRAM_TIMEOUT,
            false => load.timeout,
        };
        Self {
            program,
            storage: options.storage,
            processors: &options.server_processors,
            rounds: options.rounds,
            load: Plan {
                // Every server is new, and has no topics.
                prepare: true,
                warm_up: WARM_UP,
                timeout,
                ..load.clone()
            },
        }
    }

    /// Returns the load, with no server's address.
    pub(super) fn load(&self) -> &Plan {
        &self.load
    }

    /// Measures every setting in each round at `pace`. A setting that fails is not measured again.
    pub(super) fn measure(&self, name: &str, pace: Pace, contenders: &mut [Contender]) {
        let bar = Rounds::of(name, u64::from(self.rounds) * contenders.len() as u64);
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        for _ in 0..self.rounds {
            for &number in &order {
                let contender = &mut contenders[number];
                if contender.failed.is_none() {
                    match self.sample_in_tries(&contender.setting, pace) {
                        Ok(sample) => contender.samples(pace).push(sample),
                        Err(error) => contender.failed = Some(format!("{error:#}")),
                    }
                }
                bar.inc();
            }
            // Each round starts with another setting, so that each follows every other's load.
            order.rotate_left(1);
        }
    }

    fn sample_in_tries(&self, setting: &Setting, pace: Pace) -> Result<Sample> {
        let mut sample = self.sample(setting, pace);
        for _ in 1..TRIES {
            if sample.is_ok() {
                break;
            }
            sample = self.sample(setting, pace);
        }
        sample
    }

    /// Measures one setting once, on a server of its own: a process keeps its place in memory and in the
    /// caches, so two measurements of one process are alike, and differ from those of the next one.
    fn sample(&self, setting: &Setting, pace: Pace) -> Result<Sample> {
        let folder = Folder::new()?;
        let running = start_own(
            self.program,
            &setting.flags(),
            self.storage,
            folder,
            self.processors,
        )?;
        let plan = Plan {
            servers: vec![running.address(self.load.target.transport())],
            pace,
            ..self.load.clone()
        };
        measure::prepare(&plan)?;
        let measured = drive::run(&plan, Some(running.process()), &mut |_| {})?;
        measure::ensure_served(&measured)?;
        ensure!(
            measured.refused.is_empty(),
            "requests were refused: {:?}",
            measured.refused
        );
        Sample::of(&measured, plan.timeout).context("the server's CPU time cannot be read")
    }
}
