//! The results of a tuning for people, in a terminal.

use std::fmt::Write;
use std::time::Duration;

use super::options::Options;
use super::results::{Recommended, SettingResult, Tuning};
use crate::launch::Storage;
use crate::report::{cpu_time, duration, grouped, ranges, sentence};

/// The time that a measurement takes besides its duration: a server starts, and is warmed up.
const OVERHEAD: Duration = Duration::from_millis(350);

/// From how many cores on the work of other processes is worth a note.
const DISTURBING: f64 = 0.1;

/// Closed and open.
const LOOPS: u32 = 2;

/// Says what is going to be measured, and how long that takes.
pub(super) fn announcement(options: &Options, settings: usize) -> String {
    let each = options.duration + OVERHEAD;
    let total = each * LOOPS * options.rounds * settings as u32;
    format!(
        "{} settings × {} rounds × {LOOPS} loops of {} s, about {} in all\n",
        settings,
        options.rounds,
        options.duration.as_secs_f64(),
        duration(total.as_secs_f64() * 1e6)
    )
}

/// Returns the whole report as text.
pub(super) fn table(tuning: &Tuning) -> String {
    let mut out = String::new();
    let load = &tuning.load;
    let _ = writeln!(out, "{} · {}\n", load.target, sentence(load));
    out.push_str(&settings(tuning));
    out.push_str("\nrecommended\n");
    for (command, found) in by_command(tuning) {
        let _ = writeln!(out, "  {command}");
        for found in found {
            let goal = found.goal.name(tuning.rate);
            let _ = writeln!(out, "    {goal}: {}", found.answer);
        }
    }
    out.push('\n');
    for note in notes(tuning) {
        let _ = writeln!(out, "{note}");
    }
    out
}

/// Returns the command lines to deploy, each with what it is recommended for.
pub(super) fn by_command(tuning: &Tuning) -> Vec<(&str, Vec<&Recommended>)> {
    let mut commands: Vec<(&str, Vec<&Recommended>)> = Vec::new();
    for found in &tuning.recommendations {
        match commands
            .iter_mut()
            .find(|(command, _)| *command == found.command)
        {
            Some((_, same)) => same.push(found),
            None => commands.push((&found.command, vec![found])),
        }
    }
    commands
}

/// Returns the table of the settings.
pub(super) fn settings(tuning: &Tuning) -> String {
    let mut out = String::new();
    let names = tuning.settings.iter().map(|result| result.setting.name());
    let names: Vec<String> = names.collect();
    let widest = names.iter().map(|name| name.chars().count()).max();
    let width = widest.unwrap_or(0);
    let rate = grouped(tuning.rate as u64);
    let open = format!("at {rate}/s: p50");
    let _ = writeln!(
        out,
        "{:<width$} {:>12} {:>6} {open:>22} {:>10} {:>21}",
        "", "requests/s", "cores", "p99", "CPU time per request"
    );
    for (name, result) in names.iter().zip(&tuning.settings) {
        let _ = writeln!(out, "{name:<width$} {}", figures(result));
    }
    out
}

/// Returns the figures of a setting, or why there are none.
fn figures(result: &SettingResult) -> String {
    let medians = match (&result.failed, &result.medians) {
        (Some(reason), _) => return format!(" failed: {reason}"),
        (None, None) => return " not measured".to_owned(),
        (None, Some(medians)) => medians,
    };
    let mut line = format!(
        "{:>12} {:>6.2} {:>22} {:>10} {:>21}",
        grouped(medians.throughput as u64),
        medians.cores,
        duration(medians.p50),
        duration(medians.p99),
        cpu_time(medians.nanos_per_request)
    );
    let lost: u64 = result
        .closed
        .iter()
        .chain(&result.open)
        .map(|one| one.lost)
        .sum();
    if lost > 0 {
        let _ = write!(line, "  {} datagrams lost", grouped(lost));
    }
    if !result.sustained {
        line.push_str("  does not sustain the rate");
    }
    line
}

/// Says what the figures mean, and how far they can be trusted.
pub(super) fn notes(tuning: &Tuning) -> Vec<String> {
    let mut notes = vec![
        format!(
            "Figures are medians of {} rounds; cores are the CPUs that the server used in the closed loop.",
            tuning.rounds
        ),
        "[a to b] is the confidence interval of a ratio. If all settings were alike, at most 1 run in 20 \
         would recommend one for a goal that is not the simplest."
            .to_owned(),
    ];
    if tuning.settings.iter().all(|result| !result.sustained) {
        notes.push(
            "No setting sustained the rate, so p99 only shows how far each fell behind: choose a lower \
             --rate."
                .to_owned(),
        );
    }
    if !tuning.rate_given {
        notes.push(
            "The rate is 60% of the lowest throughput; choose the one that you expect by --rate."
                .to_owned(),
        );
    }
    if let Some(cores) = tuning.other_cores
        && cores >= DISTURBING
    {
        notes.push(format!(
            "Other processes used {cores:.1} cores meanwhile, which disturbs the measurements: stop them, \
             and measure again."
        ));
    }
    let shared = &tuning.shared_processors;
    notes.push(match shared.is_empty() {
        true => format!(
            "The servers had {}, the load {}.",
            cpus(&tuning.server_processors),
            cpus(&tuning.load_processors)
        ),
        false => format!(
            "Load and servers share {}, so the figures describe this machine with the load on it: \
             --server-cpus and --load-cpus separate them.",
            cpus(shared)
        ),
    });
    if tuning.storage == Storage::Memory.flags().join(" ") {
        notes.push(
            "Measured in memory, where topics do not survive a restart; --durability monotonic measures \
             servers that keep them."
                .to_owned(),
        );
    }
    notes
}

fn cpus(processors: &[usize]) -> String {
    match processors {
        [one] => format!("CPU {one}"),
        several => format!("CPUs {}", ranges(several)),
    }
}
