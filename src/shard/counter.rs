//! Packs the usual state of a topic into the 8 bytes that the table stores for it. Most counts are
//! one addition to them.

use super::reserve::Reserve;

/// A topic's sum, and how many numbers may still be handed out before the rules of `topic_state.rs`
/// apply ("left"). It is one machine word, because a table may have many millions of topics. A
/// state that does not fit is in the ledger; the word then holds its index.
///
/// The fields, from the lowest bit: the sum (33 bits), the numbers left (20), tick and exponent of
/// the [`Reserve`] (4 + 5), whether the held-back numbers are released, and whether the state is in
/// the ledger. If it is, no numbers are left, and the sum's bits hold the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counter(u64);

const SUM: Field = Field { shift: 0, bits: 33 };
const LEFT: Field = Field {
    shift: 33,
    bits: 20,
};
const TICK: Field = Field { shift: 53, bits: 4 };
const EXPONENT: Field = Field { shift: 57, bits: 5 };
const RELEASED: Field = Field { shift: 62, bits: 1 };
const IN_LEDGER: Field = Field { shift: 63, bits: 1 };

/// A range of bits in the word.
#[derive(Clone, Copy)]
struct Field {
    shift: u32,
    bits: u32,
}

impl Field {
    const fn max(self) -> u64 {
        (1 << self.bits) - 1
    }

    const fn extract(self, word: u64) -> u64 {
        (word >> self.shift) & self.max()
    }

    fn shifted(self, value: u64) -> u64 {
        debug_assert!(value <= self.max());
        value << self.shift
    }
}

/// The state of a topic that fits into a [`Counter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CompactState {
    /// The last sum handed out, or the floor that the topic was advanced to.
    pub(super) sum: u64,
    /// The ceiling that the store has: no sum above it may be handed out.
    pub(super) ceiling: u64,
    pub(super) reserve: Reserve,
    /// If true, all numbers up to the ceiling may be handed out: a raise is pending already, or
    /// none can be requested (the store failed, or topics are only in memory). If false, half of
    /// the reserve is held back, so that `hand_out` fails when a raise is due.
    pub(super) released: bool,
}

impl CompactState {
    /// Returns how many numbers are left, or `None` if the sum is already within the part that is
    /// held back.
    pub(super) fn left(&self) -> Option<u64> {
        (self.ceiling - self.sum).checked_sub(held_back(self.released, self.reserve))
    }
}

/// Returns how many of the numbers below the ceiling are held back.
fn held_back(released: bool, reserve: Reserve) -> u64 {
    if released { 0 } else { reserve.half() }
}

/// What a [`Counter`] contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unpacked {
    /// The topic's whole state.
    Compact(CompactState),
    /// The index of the topic's state in the ledger.
    InLedger(usize),
}

impl Counter {
    /// Packs a state into a word; `None` if it does not fit.
    pub(super) fn pack(compact: CompactState) -> Option<Self> {
        let left = compact.left()?;
        let CompactState {
            sum,
            ceiling,
            reserve,
            released,
        } = compact;
        if ceiling > SUM.max() || left > LEFT.max() {
            return None;
        }
        Some(Self(
            SUM.shifted(sum)
                | LEFT.shifted(left)
                | TICK.shifted(reserve.tick().into())
                | EXPONENT.shifted(reserve.exponent().into())
                | RELEASED.shifted(released.into()),
        ))
    }

    /// Creates the counter of a topic without a ceiling; `None` if it does not fit into a word. The
    /// word gets the highest ceiling that fits. When it is reached, the slow path makes a new word.
    pub(super) fn unbounded(sum: u64) -> Option<Self> {
        Self::pack(CompactState {
            sum,
            ceiling: sum.saturating_add(LEFT.max()).min(SUM.max()).max(sum),
            reserve: Reserve::default(),
            released: true,
        })
        .filter(|counter| counter.left() > 0)
    }

    /// Creates the counter of a topic whose state is in the ledger at `index`.
    pub(super) fn in_ledger(index: usize) -> Self {
        Self(SUM.shifted(index as u64) | IN_LEDGER.shifted(1))
    }

    /// Hands out `n` numbers (at least 1) and returns the sum, if `n` numbers are left.
    pub(super) fn hand_out(&mut self, n: u64) -> Option<u64> {
        if n > self.left() {
            return None;
        }
        // The sum stays at or below the ceiling, which fits into the sum's bits, and no more is
        // handed out than is left: neither field overflows into its neighbour.
        self.0 = self.0 + n - (n << LEFT.shift);
        Some(SUM.extract(self.0))
    }

    /// Returns the sum, or `None` if the state is in the ledger.
    pub(super) fn sum(self) -> Option<u64> {
        (IN_LEDGER.extract(self.0) == 0).then(|| SUM.extract(self.0))
    }

    /// Returns the contents.
    pub(super) fn unpack(self) -> Unpacked {
        let sum = SUM.extract(self.0);
        if IN_LEDGER.extract(self.0) == 1 {
            return Unpacked::InLedger(sum as usize);
        }
        let reserve =
            Reserve::from_parts(EXPONENT.extract(self.0) as u8, TICK.extract(self.0) as u8);
        let released = RELEASED.extract(self.0) == 1;
        Unpacked::Compact(CompactState {
            sum,
            ceiling: sum + self.left() + held_back(released, reserve),
            reserve,
            released,
        })
    }

    fn left(self) -> u64 {
        LEFT.extract(self.0)
    }
}

impl From<u64> for Counter {
    fn from(word: u64) -> Self {
        Self(word)
    }
}

impl From<Counter> for u64 {
    fn from(counter: Counter) -> Self {
        counter.0
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
            |(sum, room, exponent, tick, released)| CompactState {
                sum,
                ceiling: sum.saturating_add(room),
                reserve: Reserve::from_parts(exponent, tick),
                released,
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        /// Unpacking returns exactly the state that was packed, unless the state does not fit.
        #[test]
        fn packing_loses_nothing(compact in any_compact()) {
            if let Some(counter) = Counter::pack(compact) {
                prop_assert_eq!(counter.unpack(), Unpacked::Compact(compact));
                prop_assert_eq!(counter.sum(), Some(compact.sum));
            } else {
                let held_back = if compact.released { 0 } else { compact.reserve.half() };
                let left = (compact.ceiling - compact.sum).checked_sub(held_back);
                let fits = compact.ceiling < 1 << 33 && left.is_some_and(|left| left < 1 << 20);
                prop_assert!(!fits);
            }
        }

        /// Taking raises the sum, never the ceiling, and stops before the numbers held back.
        #[test]
        fn taking_stops_at_the_numbers_held_back(compact in any_compact(), n in 1..1u64 << 21) {
            let Some(mut counter) = Counter::pack(compact) else { return Ok(()) };
            let held_back = if compact.released { 0 } else { compact.reserve.half() };
            match counter.hand_out(n) {
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
    fn nothing_can_be_taken_from_a_counter_in_the_ledger() {
        let mut counter = Counter::in_ledger(7);
        assert_eq!(counter.unpack(), Unpacked::InLedger(7));
        assert_eq!((counter.hand_out(1), counter.sum()), (None, None));
    }

    #[test]
    fn a_counter_without_a_ceiling_is_renewed_until_it_does_not_fit() {
        let mut counter = Counter::unbounded(0).unwrap();
        assert_eq!(counter.hand_out((1 << 20) - 1), Some((1 << 20) - 1));
        assert_eq!(counter.hand_out(1), None);
        assert!(Counter::unbounded((1 << 33) - 2).is_some());
        assert_eq!(Counter::unbounded((1 << 33) - 1), None);
        assert_eq!(Counter::unbounded(u64::MAX), None);
    }
}
