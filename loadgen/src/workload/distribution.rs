//! How often each topic is requested.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rand::RngExt;
use rand_distr::Distribution as _;
use rand_distr::Zipf;

use super::rng::Rng;

/// How a request's topic is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Distribution {
    /// All topics equally often.
    Uniform,
    /// The topic of rank k in proportion to 1 / k^exponent, with this exponent.
    Zipf(f64),
    /// This share of all requests goes to one topic, the others go to all topics equally.
    Hot(f64),
}

/// The default exponent: that of Zipf's law for words, and of the popularity of many things.
const ZIPF_EXPONENT: f64 = 1.0;

/// The default share of the hot topic: every request.
const HOT_SHARE: f64 = 1.0;

/// The most draws for a connection that requests only the topics of one shard. After that, it draws
/// among these topics uniformly: a connection whose shard has no popular topic would draw forever.
const MAX_DRAWS: usize = 100;

impl Distribution {
    /// Returns a choice among `topics`, or only among those in `own` (ascending).
    pub(super) fn choice(self, topics: u32, own: Option<Arc<[u32]>>) -> Choice {
        let zipf = match self {
            Self::Zipf(exponent) => Zipf::new(f64::from(topics), exponent).ok(),
            _ => None,
        };
        Choice {
            distribution: self,
            topics,
            zipf,
            own,
        }
    }
}

impl FromStr for Distribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, number) = match text.split_once(':') {
            Some((name, number)) => (name, Some(number)),
            None => (text, None),
        };
        let number = number
            .map(|number| {
                number
                    .parse::<f64>()
                    .map_err(|_| format!("{number:?} is no number"))
            })
            .transpose()?;
        match (name, number) {
            ("uniform", None) => Ok(Self::Uniform),
            ("zipf", exponent) => match exponent.unwrap_or(ZIPF_EXPONENT) {
                exponent if (0.0..=10.0).contains(&exponent) => Ok(Self::Zipf(exponent)),
                _ => Err("the exponent must be from 0 to 10".into()),
            },
            ("hot", share) => match share.unwrap_or(HOT_SHARE) {
                share if (0.0..=1.0).contains(&share) => Ok(Self::Hot(share)),
                _ => Err("the share must be from 0 to 1".into()),
            },
            _ => Err("it must be uniform, zipf, zipf:EXPONENT, hot or hot:SHARE".into()),
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf(exponent) => write!(f, "zipf:{exponent}"),
            Self::Hot(share) => write!(f, "hot:{share}"),
        }
    }
}

/// A [`Distribution`] over the topics of a run.
#[derive(Debug)]
pub(super) struct Choice {
    distribution: Distribution,
    topics: u32,
    zipf: Option<Zipf<f64>>,
    own: Option<Arc<[u32]>>,
}

impl Choice {
    #[inline]
    pub(super) fn draw(&self, rng: &mut Rng) -> u32 {
        match &self.own {
            None => self.draw_any(rng),
            Some(own) => self.draw_own(own, rng),
        }
    }

    #[inline]
    fn draw_any(&self, rng: &mut Rng) -> u32 {
        match self.distribution {
            Distribution::Hot(share) if rng.random_bool(share) => 0,
            Distribution::Uniform | Distribution::Hot(_) => rng.random_range(0..self.topics),
            Distribution::Zipf(_) => self.zipf.map_or(0, |zipf| {
                // Ranks start at 1.
                (zipf.sample(rng) as u32 - 1).min(self.topics - 1)
            }),
        }
    }

    fn draw_own(&self, own: &[u32], rng: &mut Rng) -> u32 {
        if self.distribution != Distribution::Uniform {
            for _ in 0..MAX_DRAWS {
                let topic = self.draw_any(rng);
                if own.binary_search(&topic).is_ok() {
                    return topic;
                }
            }
        }
        own[rng.random_range(0..own.len())]
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn drawn(distribution: &str, own: Option<Arc<[u32]>>) -> [u32; 10] {
        let choice = distribution
            .parse::<Distribution>()
            .unwrap()
            .choice(10, own);
        let mut rng = Rng::seed_from_u64(1);
        let mut times = [0; 10];
        for _ in 0..10_000 {
            times[choice.draw(&mut rng) as usize] += 1;
        }
        times
    }

    #[test]
    fn topics_are_drawn_as_often_as_the_distribution_says() {
        let near = |times: u32, expected: u32| times.abs_diff(expected) < expected / 5;
        assert!(drawn("uniform", None).iter().all(|&n| near(n, 1_000)));
        let zipf = drawn("zipf", None); // 1/k over the harmonic number of 10, 2.929
        assert!(
            near(zipf[0], 3_414) && near(zipf[1], 1_707) && near(zipf[9], 341),
            "{zipf:?}"
        );
        let hot = drawn("hot:0.5", None);
        assert!(near(hot[0], 5_500) && near(hot[9], 500), "{hot:?}");
        assert_eq!(drawn("hot", None)[0], 10_000);
    }

    #[test]
    fn a_connection_of_a_shard_draws_only_its_topics() {
        let own: Arc<[u32]> = [1, 3, 4].into();
        for distribution in ["uniform", "zipf", "hot", "hot:0.2"] {
            let times = drawn(distribution, Some(own.clone()));
            let asked: u32 = own.iter().map(|&topic| times[topic as usize]).sum();
            assert_eq!(asked, 10_000, "{distribution}: {times:?}");
        }
        let zipf = drawn("zipf", Some(own));
        assert!(zipf[1] > zipf[3] && zipf[3] > zipf[4], "{zipf:?}");
    }

    #[test]
    fn invalid_distributions_are_refused() {
        for text in [
            "",
            "normal",
            "uniform:1",
            "zipf:x",
            "zipf:-1",
            "zipf:nan",
            "hot:1.5",
        ] {
            assert!(text.parse::<Distribution>().is_err(), "{text}");
        }
        let shown = "zipf:0.9".parse::<Distribution>().unwrap().to_string();
        assert_eq!(shown, "zipf:0.9");
    }
}
