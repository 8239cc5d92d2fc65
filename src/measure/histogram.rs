//! A histogram of numbers of any size, whose ranges are a quarter of a power of two wide: a number is
//! known to within a fifth.

use super::counter::Counter;

/// Each power of two is divided into this many ranges.
const DIVISIONS: usize = 4;

/// The powers of two that are told apart. Greater numbers count as the greatest: in nanoseconds, 68
/// seconds.
const OCTAVES: usize = 36;

const RANGES: usize = OCTAVES * DIVISIONS;

/// How many of some numbers are in each range. One thread at a time adds to it; any thread reads it.
#[derive(Debug)]
pub(crate) struct Histogram {
    counts: [Counter; RANGES],
    sum: Counter,
}

/// What a [`Histogram`] had counted at one time, or several of them together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    counts: Vec<u64>,
    sum: u64,
}

impl Histogram {
    pub(crate) const fn new() -> Self {
        Self {
            counts: [const { Counter::new() }; RANGES],
            sum: Counter::new(),
        }
    }

    /// Counts a number `weight` times.
    pub(crate) fn add(&self, number: u64, weight: u64) {
        self.counts[range_of(number)].add(weight);
        self.sum.add(number * weight);
    }

    /// Returns the sum of all numbers.
    pub(crate) fn sum(&self) -> u64 {
        self.sum.get()
    }

    pub(crate) fn read(&self) -> Distribution {
        Distribution {
            counts: self.counts.iter().map(Counter::get).collect(),
            sum: self.sum.get(),
        }
    }
}

impl Default for Distribution {
    fn default() -> Self {
        Self {
            counts: vec![0; RANGES],
            sum: 0,
        }
    }
}

impl Distribution {
    /// Adds what another one has counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            *count += other;
        }
        self.sum += other.sum;
    }

    /// Returns what was counted since `earlier`, which is of the same histograms.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = self.counts.iter().zip(&earlier.counts);
        Self {
            counts: counts
                .map(|(now, before)| now.saturating_sub(*before))
                .collect(),
            sum: self.sum.saturating_sub(earlier.sum),
        }
    }

    /// Returns how many numbers were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the sum of all numbers.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Returns the number that a fraction of all numbers, 0 to 1, does not exceed: the upper end of
    /// its range. `None` if none was counted.
    #[must_use]
    pub fn quantile(&self, fraction: f64) -> Option<u64> {
        let rank = (self.count() as f64 * fraction).ceil().max(1.0) as u64;
        let mut below = 0;
        let range = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        });
        range.map(upper_end)
    }

    /// Returns for each power of two from `2^first` to `2^last` how many numbers are below it.
    #[must_use]
    pub fn below_powers_of_two(&self, first: u32, last: u32) -> Vec<(u64, u64)> {
        let below = |power: u32| {
            let end = range_of(1 << power);
            (1 << power, self.counts[..end].iter().sum())
        };
        (first..=last).map(below).collect()
    }
}

/// Some quantiles, and how many numbers they are of.
#[cfg(feature = "cli")]
impl serde::Serialize for Distribution {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let mut summary = serializer.serialize_struct("Distribution", 6)?;
        summary.serialize_field("count", &self.count())?;
        summary.serialize_field("sum", &self.sum())?;
        summary.serialize_field("p50", &self.quantile(0.5))?;
        summary.serialize_field("p99", &self.quantile(0.99))?;
        summary.serialize_field("p999", &self.quantile(0.999))?;
        summary.serialize_field("max", &self.quantile(1.0))?;
        summary.end()
    }
}

/// Returns the range that a number belongs to.
fn range_of(number: u64) -> usize {
    if number < DIVISIONS as u64 {
        return number as usize;
    }
    let octave = number.ilog2() - 2;
    let range = (octave as usize) * DIVISIONS + (number >> octave) as usize;
    range.min(RANGES - 1)
}

/// Returns the greatest number of a range.
fn upper_end(range: usize) -> u64 {
    if range < DIVISIONS {
        return range as u64;
    }
    let octave = range / DIVISIONS - 1;
    let first = (DIVISIONS + range % DIVISIONS) as u64;
    ((first + 1) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_one_another_and_each_holds_its_end() {
        let mut number = 0;
        for range in 0..RANGES - 1 {
            assert_eq!(range_of(number), range);
            let end = upper_end(range);
            assert_eq!(range_of(end), range);
            assert!(end - number <= number / 4, "{number} to {end}");
            number = end + 1;
        }
        assert_eq!(range_of(u64::MAX), RANGES - 1);
    }

    #[test]
    fn quantiles_and_powers_tell_what_was_counted() {
        let histogram = Histogram::new();
        assert_eq!(histogram.read().quantile(0.5), None);
        for number in 1..=1_000 {
            histogram.add(number, 1);
        }
        let before = histogram.read();
        assert_eq!((before.count(), before.sum()), (1_000, 500_500));
        let median = before.quantile(0.5).expect("counted");
        assert!((500..=600).contains(&median), "{median}");
        assert!(before.quantile(1.0) >= Some(1_000));
        assert_eq!(before.below_powers_of_two(3, 4), [(8, 7), (16, 15)]);

        histogram.add(5, 10);
        let since = histogram.read().since(&before);
        assert_eq!((since.count(), since.sum()), (10, 50));
        assert_eq!(since.quantile(0.01), Some(5));
        let mut both = since.clone();
        both.merge(&before);
        assert_eq!(both, histogram.read());
    }
}
