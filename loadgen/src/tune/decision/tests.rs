use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;

/// Nine rounds around `level`, in which the machine is now faster and now slower; `own` is the noise
/// of this setting alone.
fn rounds(level: f64, own: [f64; 9]) -> Option<Vec<f64>> {
    let machine = [1.0, 1.3, 0.8, 1.1, 0.9, 1.0, 0.7, 1.2, 1.0];
    let figures = machine.iter().zip(own);
    Some(
        figures
            .map(|(machine, own)| level * machine * own)
            .collect(),
    )
}

const WORTHWHILE: f64 = 1.03;

const CALM: [f64; 9] = [1.0, 1.01, 0.99, 1.0, 1.01, 0.99, 1.0, 1.01, 0.99];
const ALSO_CALM: [f64; 9] = [0.99, 1.0, 1.01, 1.01, 0.99, 1.0, 1.0, 0.99, 1.01];
const NOISY: [f64; 9] = [0.7, 1.4, 0.8, 1.5, 0.6, 1.3, 1.1, 0.7, 1.2];

#[test]
fn a_clear_winner_is_recommended() {
    let figures = [rounds(100.0, CALM), rounds(150.0, ALSO_CALM)];
    let found = recommend(Better::Higher, WORTHWHILE, &figures).unwrap();
    assert_eq!((found.setting, found.certainty), (1, Certainty::Clear));
    let comparison = found.comparison.unwrap();
    let (low, high) = comparison.ratio.interval.unwrap();
    assert_eq!(comparison.with, 0);
    assert!(1.45 < low && high < 1.55, "{low} {high}");

    let found = recommend(Better::Lower, WORTHWHILE, &figures).unwrap();
    assert_eq!((found.setting, found.certainty), (0, Certainty::Clear));
    let comparison = found.comparison.unwrap();
    assert_eq!(comparison.with, 1);
    assert!((0.64..0.69).contains(&comparison.ratio.estimate));
}

#[test]
fn a_difference_within_the_noise_recommends_the_simplest() {
    for better in [Better::Higher, Better::Lower] {
        let levels = match better {
            Better::Higher => [100.0, 102.0, 105.0],
            Better::Lower => [105.0, 102.0, 100.0],
        };
        let figures = [
            rounds(levels[0], CALM),
            rounds(levels[1], NOISY),
            rounds(levels[2], NOISY),
        ];
        let found = recommend(better, WORTHWHILE, &figures).unwrap();
        assert_eq!(
            (found.setting, found.certainty),
            (0, Certainty::WithinNoise),
            "{better:?}"
        );
        assert_ne!(found.comparison.unwrap().with, 0);
    }
}

#[test]
fn a_tie_recommends_the_simplest() {
    let figures = [rounds(100.0, CALM), rounds(100.0, CALM)];
    let found = recommend(Better::Higher, WORTHWHILE, &figures).unwrap();
    assert_eq!(
        (found.setting, found.certainty),
        (0, Certainty::WithinNoise)
    );
}

/// The best and the second are alike, and both are better than the simplest.
#[test]
fn the_simplest_of_the_best_is_recommended() {
    let figures = [
        rounds(100.0, CALM),
        rounds(150.0, CALM),
        rounds(151.0, ALSO_CALM),
    ];
    let found = recommend(Better::Higher, WORTHWHILE, &figures).unwrap();
    assert_eq!(
        (found.setting, found.certainty),
        (1, Certainty::WithinNoise)
    );
    assert_eq!(found.comparison.unwrap().with, 2);
}

#[test]
fn a_small_gain_is_not_worth_a_setting() {
    let figures = [rounds(100.0, CALM), rounds(102.0, CALM)];
    let found = recommend(Better::Higher, WORTHWHILE, &figures).unwrap();
    assert_eq!((found.setting, found.certainty), (0, Certainty::SmallGain));
}

#[test]
fn a_gain_that_may_be_small_is_not_worth_a_setting() {
    let figures = [rounds(100.0, CALM), rounds(150.0, NOISY)];
    let found = recommend(Better::Higher, 1.0, &figures).unwrap();
    assert_eq!(found.setting, 1);
    let found = recommend(Better::Higher, 1.4, &figures).unwrap();
    assert_eq!((found.setting, found.certainty), (0, Certainty::SmallGain));
}

#[test]
fn one_round_is_too_few() {
    let figures = [Some(vec![100.0]), Some(vec![200.0])];
    let found = recommend(Better::Higher, WORTHWHILE, &figures).unwrap();
    assert_eq!(found.setting, 0);
    assert_eq!(found.certainty, Certainty::TooFewRounds);
    assert_eq!(found.rounds_needed, 5);
    let ratio = found.comparison.unwrap().ratio;
    assert!((ratio.estimate - 0.5).abs() < 1e-9 && ratio.interval.is_none());
}

#[test]
fn a_failed_setting_is_not_recommended() {
    let figures = [None, rounds(100.0, CALM), rounds(150.0, CALM), None];
    let found = recommend(Better::Lower, WORTHWHILE, &figures).unwrap();
    assert_eq!((found.setting, found.certainty), (1, Certainty::Clear));
    let found = recommend(Better::Higher, WORTHWHILE, &figures).unwrap();
    assert_eq!((found.setting, found.certainty), (2, Certainty::Clear));

    let found = recommend(Better::Higher, WORTHWHILE, &[None, rounds(1.0, CALM)]).unwrap();
    assert_eq!((found.setting, found.certainty), (1, Certainty::OnlyOne));
    assert_eq!(recommend(Better::Higher, WORTHWHILE, &[None, None]), None);
    assert_eq!(recommend(Better::Higher, WORTHWHILE, &[]), None);
}

/// Guards against intervals that are too narrow: of settings that are alike, one that is not the
/// simplest is rarely recommended.
#[test]
fn settings_that_are_alike_are_rarely_told_apart() {
    const TRIES: u64 = 1_000;
    let wrong = (0..TRIES).filter(|&seed| {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut setting = || Some((0..9).map(|_| rng.random_range(80.0..120.0)).collect());
        let figures = [setting(), setting(), setting(), setting()];
        recommend(Better::Higher, WORTHWHILE, &figures)
            .unwrap()
            .setting
            != 0
    });
    let wrong = wrong.count() as f64 / TRIES as f64;
    assert!(wrong <= ERROR, "{wrong}");
}
