//! The load generator: drives counter servers as hard or as steadily as it is told, says how fast
//! they were, and checks that their order held.
//!
//! Stages are folders: `args` (flags → [`plan`]) → `workload` (what is asked) → `target` (how it
//! looks on the wire) → `drive` (connections and clocks) → `verify`, `report`. `null` is a server to
//! measure against, `compare` runs several servers beside each other.

mod args;
mod compare;
mod drive;
mod measure;
mod null;
mod observe;
mod plan;
mod print;
mod report;
mod sockets;
mod target;
mod values;
mod verify;
mod workload;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use args::{Command, CommandLine, Run};
use print::print;

fn main() -> ExitCode {
    let arguments = match CommandLine::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return args::refuse(&error),
    };
    if cfg!(debug_assertions) {
        eprintln!("loadgen: not optimised: its figures mean nothing (build it with --release)");
    }
    raise_descriptor_limit();
    let ended = match arguments.command {
        Some(Command::Null(arguments)) => null::run(&arguments),
        Some(Command::Compare(arguments)) => compare::run(&arguments),
        None => match arguments.run.plan() {
            Ok(plan) => run(&arguments.run, &plan),
            Err(error) => {
                eprintln!("loadgen: {error:#} (see loadgen --help)");
                return ExitCode::from(2);
            }
        },
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The causes follow the colon: still one line.
            eprintln!("loadgen: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A run or a ramp, and its reports.
fn run(arguments: &Run, plan: &plan::Plan) -> Result<()> {
    // Opened before there is anything to lose.
    let output = arguments.output()?;
    let process = measure::process_of(plan, arguments.pid())?;
    let report = match arguments.ramp() {
        Some((bounds, slo)) => measure::ramp(plan, bounds, slo, process.as_ref())?,
        None => measure::run(plan, process.as_ref())?,
    };
    print(&report::table(&report))?;
    if let Some(file) = output.json {
        file.write(&report::json(&report)?)?;
    }
    if let Some(file) = output.html {
        file.write(&report::page(&report)?)?;
    }
    Ok(())
}

/// Each connection takes a file descriptor: asks for as many as the system lets it have.
fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // Where it can't be raised, a connection too many says so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
