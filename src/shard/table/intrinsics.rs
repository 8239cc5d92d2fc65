//! Processor instructions for which the language has no operation of its own.

#![allow(unsafe_code)]

/// Asks the processor to load a value into its nearest cache, and does not wait for it.
#[inline]
pub(super) fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

        // SAFETY: every x86-64 processor has the instruction, and it changes nothing but caches.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::hint::black_box(value);
}

/// Returns which of the bytes are `byte`: bit n stands for byte n.
#[inline]
pub(super) fn positions_of(byte: u8, bytes: [u8; 16]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};

        let words = u128::from_le_bytes(bytes);
        // SAFETY: every x86-64 processor has SSE2.
        unsafe {
            let bytes = _mm_set_epi64x((words >> 64) as i64, words as i64);
            _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8))) as u32
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    positions_of_any(byte, bytes)
}

/// The same as [`positions_of`], for any processor.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn positions_of_any(byte: u8, bytes: [u8; 16]) -> u32 {
    let numbered = bytes.iter().enumerate();
    numbered.fold(0, |set, (n, &other)| set | u32::from(other == byte) << n)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_ways_find_the_same_positions(byte in 0..4_u8, bytes: [u8; 16], few in any::<bool>()) {
            let bytes = bytes.map(|byte| if few { byte % 4 } else { byte });
            prop_assert_eq!(positions_of(byte, bytes), positions_of_any(byte, bytes));
            let all = (0..16).filter(|n| positions_of(byte, bytes) >> n & 1 == 1);
            prop_assert_eq!(all.map(|n| bytes[n]).filter(|&other| other != byte).count(), 0);
        }
    }
}
