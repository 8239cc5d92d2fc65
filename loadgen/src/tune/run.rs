//! Carries out a tuning: the closed loop, the open loop, the recommendations and their reports.

use anyhow::{Context, Result, anyhow};

use super::bench::{Bench, Contender};
use super::decision::{Better, recommend};
use super::options::{Options, Output};
use super::results::{Goal, Recommended, SettingResult, Tuning, medians};
use super::setting::Setting;
use super::{page, table, words};
use crate::launch;
use crate::observe::{self, Environment, Others};
use crate::plan::Pace;
use crate::print::print;
use crate::report::{self, Load};
use crate::stats::median;

/// The default rate of the open loop, as a part of the lowest throughput of a setting: all settings
/// should sustain it.
const RATE_SHARE: f64 = 0.6;

/// Measures all settings, recommends one for each goal and writes the reports.
///
/// # Errors
///
/// There is no globalcounter to start, or no setting could be measured.
pub(crate) fn run(options: &Options, output: Output) -> Result<()> {
    let program = launch::find_own(options.program.as_deref())?;
    let steering = options.load.target.is_steered();
    let processors = options.server_processors.len();
    let settings = Setting::all(&options.shards, steering, processors);
    // Read first: this program is pinned below, and would see fewer processors then.
    let environment = Environment::here();
    launch::stop_all_on_signals()?;
    print(&table::announcement(options, settings.len()))?;
    // The threads of the load inherit it.
    observe::pin_to(&options.load_processors)?;
    let others = Others::watch();
    let bench = Bench::new(&program, options);
    let mut contenders: Vec<Contender> = settings.into_iter().map(Contender::new).collect();
    bench.measure("closed loop", options.load.pace, &mut contenders);
    let rate = match options.rate {
        Some(rate) => rate,
        None => default_rate(&contenders)?,
    };
    let spacing = options.spacing;
    bench.measure("open loop", Pace::Open { rate, spacing }, &mut contenders);
    let other_cores = others.and_then(|others| others.cores());
    let tuning = Tuning {
        other_cores,
        ..tuning(options, &bench, environment, rate, contenders)?
    };
    print(&table::table(&tuning))?;
    if let Some(file) = output.json {
        file.write(&report::json(&tuning)?)?;
    }
    if let Some(file) = output.html {
        file.write(&page::page(&tuning)?)?;
    }
    Ok(())
}

/// Returns a rate that every setting should sustain.
fn default_rate(contenders: &[Contender]) -> Result<f64> {
    let throughput = |contender: &Contender| {
        let rates = contender.closed.iter().map(|sample| sample.rate);
        median(rates.collect()).filter(|_| contender.failed.is_none())
    };
    let lowest = contenders
        .iter()
        .filter_map(throughput)
        .reduce(f64::min)
        .ok_or_else(|| nothing_measured(contenders))?;
    Ok(rounded(lowest * RATE_SHARE))
}

/// Rounds a rate down to two digits, which are easier to read and to measure again.
fn rounded(rate: f64) -> f64 {
    let digit = 10f64.powf((rate.log10().floor() - 1.0).max(0.0));
    ((rate / digit).floor() * digit).max(1.0)
}

fn nothing_measured(contenders: &[Contender]) -> anyhow::Error {
    let first = contenders.iter().find_map(|contender| {
        let reason = contender.failed.as_ref()?;
        Some(anyhow!("{}: {reason}", contender.setting.name()))
    });
    first
        .unwrap_or_else(|| anyhow!("there is no setting to try"))
        .context("no setting could be measured")
}

/// Returns the results with their recommendations.
fn tuning(
    options: &Options,
    bench: &Bench<'_>,
    environment: Environment,
    rate: f64,
    contenders: Vec<Contender>,
) -> Result<Tuning> {
    if contenders
        .iter()
        .all(|contender| contender.failed.is_some())
    {
        return Err(nothing_measured(&contenders));
    }
    let settings: Vec<Setting> = contenders.iter().map(|one| one.setting).collect();
    let results = contenders.into_iter().map(|contender| SettingResult {
        setting: contender.setting,
        command: contender.setting.command(options.storage),
        medians: medians(&contender.closed, &contender.open),
        sustained: is_sustained(&contender),
        failed: contender.failed,
        closed: contender.closed,
        open: contender.open,
    });
    let results: Vec<SettingResult> = results.collect();
    let recommended = Goal::ALL.map(|goal| recommended(goal, &settings, &results));
    let recommendations: Result<Vec<Recommended>> = recommended.into_iter().collect();
    let load_processors = &options.load_processors;
    let is_shared = |processor: &&usize| load_processors.contains(processor);
    let shared = options.server_processors.iter().filter(is_shared).copied();
    Ok(Tuning {
        environment,
        load: Load {
            server: "a new one for each measurement".to_owned(),
            ..Load::of(bench.load())
        },
        storage: options.storage.flags().join(" "),
        rounds: options.rounds,
        seconds: options.duration.as_secs_f64(),
        rate,
        rate_given: options.rate.is_some(),
        server_processors: options.server_processors.clone(),
        load_processors: load_processors.clone(),
        shared_processors: shared.collect(),
        other_cores: None,
        settings: results,
        recommendations: recommendations?,
    })
}

/// Returns whether the setting sustained the rate of the open loop: in one of three rounds, as in a ramp.
/// A round in which the system ran something else says little about the setting.
fn is_sustained(contender: &Contender) -> bool {
    let sustained = contender.open.iter().filter(|sample| sample.sustained);
    let sustained = sustained.count();
    sustained > 0 && sustained * 3 >= contender.open.len()
}

fn recommended(goal: Goal, settings: &[Setting], results: &[SettingResult]) -> Result<Recommended> {
    let better = match goal {
        Goal::Throughput => Better::Higher,
        Goal::P99 | Goal::CpuTime => Better::Lower,
    };
    // Where a setting sustains the rate, one that does not is no choice: it did less work.
    let any_sustained = results.iter().any(|result| result.sustained);
    let is_choice =
        |result: &SettingResult| goal == Goal::Throughput || result.sustained || !any_sustained;
    let figures: Vec<Option<Vec<f64>>> = results
        .iter()
        .map(|result| goal.figures(result).filter(|_| is_choice(result)))
        .collect();
    let found = recommend(better, goal.worthwhile(), &figures)
        .context("there are no measurements to compare")?;
    Ok(Recommended {
        goal,
        command: results[found.setting].command.clone(),
        answer: words::answer(goal, &found, settings),
        recommendation: found,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_two_digits() {
        assert_eq!(rounded(437_812.0), 430_000.0);
        assert_eq!(rounded(99.9), 99.0);
        assert_eq!(rounded(3.7), 3.0);
        assert_eq!(rounded(0.2), 1.0);
    }
}
