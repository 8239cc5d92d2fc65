//! What the table keeps of a topic: 8 bytes, most of whose counts are one addition.

use super::reserve::Reserve;

/// A topic's sum, and how many more may be handed out before anything must be looked at: one
/// machine word, since there may be many millions. What does not fit is kept elsewhere, and the word
/// says where.
///
/// From the lowest bit: 33 bits of sum, 20 of what is left, 4 + 5 of [`Reserve`], whether a ceiling
/// is asked for, and whether the topic is elsewhere; then nothing is left, and the sum's place is the
/// number of its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counter(u64);

const SUM: Field = Field { shift: 0, bits: 33 };
const LEFT: Field = Field {
    shift: 33,
    bits: 20,
};
const TICK: Field = Field { shift: 53, bits: 4 };
const EXPONENT: Field = Field { shift: 57, bits: 5 };
const RAISE_PENDING: Field = Field { shift: 62, bits: 1 };
const IN_LEDGER: Field = Field { shift: 63, bits: 1 };

/// Some bits of the word.
#[derive(Clone, Copy)]
struct Field {
    shift: u32,
    bits: u32,
}

impl Field {
    const fn max(self) -> u64 {
        (1 << self.bits) - 1
    }

    const fn of(self, word: u64) -> u64 {
        (word >> self.shift) & self.max()
    }

    fn put(self, value: u64) -> u64 {
        debug_assert!(value <= self.max());
        value << self.shift
    }
}

/// What a [`Counter`] says where all of it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CompactState {
    /// The last sum handed out, or the floor that the topic was advanced to.
    pub(super) sum: u64,
    /// No sum above it may be handed out: it is what the store knows.
    pub(super) ceiling: u64,
    pub(super) reserve: Reserve,
    /// Whether a higher ceiling is on its way, or there is none to ask for: then all up to the
    /// ceiling is handed out without a look at it. Otherwise the last half of the reserve is not.
    pub(super) raise_pending: bool,
}

impl CompactState {
    /// How many numbers may be handed out before anything must be looked at; `None` where it is high
    /// time already.
    pub(super) fn left(&self) -> Option<u64> {
        (self.ceiling - self.sum).checked_sub(held_back(self.raise_pending, self.reserve))
    }
}

/// What of the reserve is not handed out without a look.
fn held_back(raise_pending: bool, reserve: Reserve) -> u64 {
    if raise_pending { 0 } else { reserve.half() }
}

/// Where a topic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unpacked {
    /// All of it is in the word.
    Compact(CompactState),
    /// In the state of that number.
    InLedger(usize),
}

impl Counter {
    /// Where all of it fits into the word.
    pub(super) fn pack(compact: CompactState) -> Option<Self> {
        let left = compact.left()?;
        let CompactState {
            sum,
            ceiling,
            reserve,
            raise_pending,
        } = compact;
        if ceiling > SUM.max() || left > LEFT.max() {
            return None;
        }
        Some(Self(
            SUM.put(sum)
                | LEFT.put(left)
                | TICK.put(reserve.tick().into())
                | EXPONENT.put(reserve.exponent().into())
                | RAISE_PENDING.put(raise_pending.into()),
        ))
    }

    /// One without a ceiling, of that sum, where it fits into the word. Its ceiling is only as far
    /// away as the word can say, and is moved on when it is reached.
    pub(super) fn unbounded(sum: u64) -> Option<Self> {
        Self::pack(CompactState {
            sum,
            ceiling: sum.saturating_add(LEFT.max()).min(SUM.max()).max(sum),
            reserve: Reserve::default(),
            raise_pending: true,
        })
        .filter(|counter| counter.left() > 0)
    }

    /// One that is in the state of that number.
    pub(super) fn in_ledger(index: usize) -> Self {
        Self(SUM.put(index as u64) | IN_LEDGER.put(1))
    }

    /// Adds `n` (at least 1), where as many are left: the sum then.
    pub(super) fn take(&mut self, n: u64) -> Option<u64> {
        if n > self.left() {
            return None;
        }
        // What is left and the sum come to no more than fits, so neither runs into its neighbour.
        self.0 = self.0 + n - (n << LEFT.shift);
        Some(SUM.of(self.0))
    }

    /// Its sum, where it is in the word.
    pub(super) fn sum(self) -> Option<u64> {
        (IN_LEDGER.of(self.0) == 0).then(|| SUM.of(self.0))
    }

    /// All that it says.
    pub(super) fn unpack(self) -> Unpacked {
        let sum = SUM.of(self.0);
        if IN_LEDGER.of(self.0) == 1 {
            return Unpacked::InLedger(sum as usize);
        }
        let reserve = Reserve::from_parts(EXPONENT.of(self.0) as u8, TICK.of(self.0) as u8);
        let raise_pending = RAISE_PENDING.of(self.0) == 1;
        Unpacked::Compact(CompactState {
            sum,
            ceiling: sum + self.left() + held_back(raise_pending, reserve),
            reserve,
            raise_pending,
        })
    }

    fn left(self) -> u64 {
        LEFT.of(self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_compact() -> impl Strategy<Value = CompactState> {
        let sum = prop_oneof![0..100_u64, (1 << 33) - 100..1_u64 << 33, 0..u64::MAX];
        let room = prop_oneof![0..5_u64, (1 << 20) - 3..(1_u64 << 20) + 3, 0..1_u64 << 21];
        (sum, room, 0..=19u8, 0..16u8, any::<bool>()).prop_map(
            |(sum, room, exponent, tick, raise_pending)| CompactState {
                sum,
                ceiling: sum.saturating_add(room),
                reserve: Reserve::from_parts(exponent, tick),
                raise_pending,
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        /// A word says exactly what was put in, or nothing is put in.
        #[test]
        fn nothing_is_lost(compact in any_compact()) {
            if let Some(counter) = Counter::pack(compact) {
                prop_assert_eq!(counter.unpack(), Unpacked::Compact(compact));
                prop_assert_eq!(counter.sum(), Some(compact.sum));
            } else {
                let held_back = if compact.raise_pending { 0 } else { compact.reserve.half() };
                let left = (compact.ceiling - compact.sum).checked_sub(held_back);
                let fits = compact.ceiling < 1 << 33 && left.is_some_and(|left| left < 1 << 20);
                prop_assert!(!fits);
            }
        }

        /// Taking raises the sum, never the ceiling, and leaves the last half of the reserve.
        #[test]
        fn taking_stops_in_time(compact in any_compact(), n in 1..1u64 << 21) {
            let Some(mut counter) = Counter::pack(compact) else { return Ok(()) };
            let held_back = if compact.raise_pending { 0 } else { compact.reserve.half() };
            match counter.take(n) {
                Some(sum) => {
                    prop_assert_eq!(sum, compact.sum + n);
                    prop_assert!(sum + held_back <= compact.ceiling);
                    prop_assert_eq!(counter.unpack(), Unpacked::Compact(CompactState { sum, ..compact }));
                }
                None => {
                    prop_assert!(compact.sum + n + held_back > compact.ceiling);
                    prop_assert_eq!(counter.unpack(), Unpacked::Compact(compact));
                }
            }
        }
    }

    #[test]
    fn one_that_is_elsewhere_has_nothing_to_take() {
        let mut counter = Counter::in_ledger(7);
        assert_eq!(counter.unpack(), Unpacked::InLedger(7));
        assert_eq!((counter.take(1), counter.sum()), (None, None));
    }

    #[test]
    fn one_without_a_ceiling_is_moved_on_until_it_does_not_fit() {
        let mut counter = Counter::unbounded(0).unwrap();
        assert_eq!(counter.take((1 << 20) - 1), Some((1 << 20) - 1));
        assert_eq!(counter.take(1), None);
        assert!(Counter::unbounded((1 << 33) - 2).is_some());
        assert_eq!(Counter::unbounded((1 << 33) - 1), None);
        assert_eq!(Counter::unbounded(u64::MAX), None);
    }
}
