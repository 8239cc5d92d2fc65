//! Which methods are requested, and how often each.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use globalcounter::protocol::Op;
use rand::RngExt;

use super::rng::Rng;

/// The number that `add` adds.
pub(crate) const ADD: NonZeroU32 = NonZeroU32::new(10).expect("not zero");

/// The sum that `advance` raises a topic to. The first COUNT does the same, so ADVANCE has its real
/// cost and does not change the sums of the other methods.
const FLOOR: u64 = 1;

/// Every method, with its name in a mix.
const METHODS: [(&str, Op); 6] = [
    ("count", Op::Count),
    ("add", Op::Add(ADD)),
    ("get", Op::Get),
    ("reset", Op::Reset),
    ("delete", Op::Delete),
    ("advance", Op::Advance(FLOOR)),
];

/// Returns a method's name in a mix.
pub(crate) fn method_name(op: Op) -> &'static str {
    let same = |other: Op| std::mem::discriminant(&op) == std::mem::discriminant(&other);
    METHODS
        .iter()
        .find(|&&(_, other)| same(other))
        .map_or("unknown", |&(name, _)| name)
}

/// Methods with their weights.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mix {
    methods: Vec<(Op, u32)>,
    total: u32,
}

impl Mix {
    /// Returns the methods of the mix.
    pub(crate) fn ops(&self) -> impl Iterator<Item = Op> {
        self.methods.iter().map(|&(op, _)| op)
    }

    #[inline]
    pub(super) fn draw(&self, rng: &mut Rng) -> Op {
        if let [(only, _)] = self.methods[..] {
            return only;
        }
        let mut at = rng.random_range(0..self.total);
        for &(op, weight) in &self.methods {
            if at < weight {
                return op;
            }
            at -= weight;
        }
        Op::Count
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut mix = Self {
            methods: Vec::new(),
            total: 0,
        };
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let weight: u32 = weight
                .parse()
                .ok()
                .filter(|&weight| weight > 0)
                .ok_or_else(|| format!("the weight of {name:?} must be a number above 0"))?;
            let &(_, op) = METHODS
                .iter()
                .find(|(known, _)| *known == name)
                .ok_or_else(|| {
                    let known = METHODS.map(|(name, _)| name).join(", ");
                    format!("there is no method {name:?}; there are {known}")
                })?;
            if mix.ops().any(|other| other == op) {
                return Err(format!("{name} is given twice"));
            }
            mix.methods.push((op, weight));
            mix.total = mix
                .total
                .checked_add(weight)
                .ok_or("the sum of the weights is too large")?;
        }
        Ok(mix)
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [(only, _)] = self.methods[..] {
            return f.write_str(method_name(only));
        }
        for (i, &(op, weight)) in self.methods.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{}={weight}", method_name(op))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn methods_are_drawn_by_weight() {
        let mix: Mix = "count=90,get=9,add".parse().unwrap();
        let mut rng = Rng::seed_from_u64(1);
        let mut times = [0u32; 3];
        for _ in 0..100_000 {
            times[match mix.draw(&mut rng) {
                Op::Count => 0,
                Op::Get => 1,
                _ => 2,
            }] += 1;
        }
        assert!(times[0].abs_diff(90_000) < 900, "{times:?}");
        assert!(times[2].abs_diff(1_000) < 150, "{times:?}");
        assert_eq!(mix.to_string(), "count=90,get=9,add=1");
    }

    #[test]
    fn invalid_mixes_are_refused() {
        for text in [
            "",
            "incr",
            "count=0",
            "count=x",
            "count,count=2",
            "get=4294967295,add",
        ] {
            assert!(text.parse::<Mix>().is_err(), "{text}");
        }
    }
}
