//! The load generator: sends requests to counter servers, as fast as they answer or at a fixed rate,
//! reports how fast they were, and checks their order.
//!
//! Stages are folders: `args` (flags → [`plan`]) → `workload` (requests) → `target` (their bytes on
//! the wire) → `drive` (connections and clocks) → `verify`, `report`. `measure` runs these stages.
//! `null` is a server that counts nothing, the baseline of measurements; `compare` measures several
//! servers under the same load, and `tune` several settings of one.

mod args;
mod compare;
mod drive;
mod launch;
mod manual;
mod measure;
mod null;
mod observe;
mod plan;
mod print;
mod report;
mod sockets;
mod stats;
mod target;
mod tune;
mod values;
mod verify;
mod workload;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use args::{Command, CommandLine, Run};
use print::print;

fn main() -> ExitCode {
    let arguments = match CommandLine::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return args::refuse(&error),
    };
    if cfg!(debug_assertions) {
        eprintln!("loadgen: not optimised, so its results mean nothing (build it with --release)");
    }
    raise_descriptor_limit();
    let ended = match arguments.command {
        Some(Command::Null(arguments)) => null::run(&arguments),
        Some(Command::Compare(arguments)) => compare::run(&arguments),
        Some(Command::Tune(arguments)) => match arguments.options() {
            Ok(options) => arguments
                .output()
                .and_then(|output| tune::run(&options, output)),
            Err(error) => return bad_usage(&error),
        },
        Some(Command::Manual(command)) => manual::run(&command, CommandLine::command()),
        None => match arguments.run.plan() {
            Ok(plan) => run(&arguments.run, &plan),
            Err(error) => return bad_usage(&error),
        },
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // `#` prints the causes after a colon, in the same line.
            eprintln!("loadgen: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Reports flags that do not go together.
fn bad_usage(error: &anyhow::Error) -> ExitCode {
    eprintln!("loadgen: {error:#} (see loadgen --help)");
    ExitCode::from(2)
}

/// Measures a run or a ramp, and writes its reports.
fn run(arguments: &Run, plan: &plan::Plan) -> Result<()> {
    // Opened first: a file that cannot be written must not cost the results of a run.
    let output = arguments.output()?;
    let plan = measure::with_nodes(plan)?;
    let process = measure::process_of(&plan, arguments.pid())?;
    let report = match arguments.ramp() {
        Some((bounds, slo)) => measure::ramp(&plan, bounds, slo, process.as_ref())?,
        None => measure::run(&plan, process.as_ref())?,
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

/// Raises the limit on file descriptors as far as the system allows: each connection takes one.
fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // If this fails, opening a connection too many reports it.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
