//! How tests plant a fault, to show that they would find it. Outside of tests no fault can be planted.

/// Defines `plant`, which plants a fault of this type in the current thread, or removes it, and `planted`,
/// which returns whether that fault is planted: never, outside of tests.
macro_rules! planting {
    ($fault:ty) => {
        #[cfg(test)]
        thread_local! {
            static PLANTED: std::cell::Cell<Option<$fault>> = const { std::cell::Cell::new(None) };
        }

        /// Plants a fault in this thread, or removes it.
        #[cfg(test)]
        pub(super) fn plant(fault: Option<$fault>) {
            PLANTED.set(fault);
        }

        /// Returns whether a test has planted `fault`.
        #[cfg(test)]
        pub(super) fn planted(fault: $fault) -> bool {
            PLANTED.get() == Some(fault)
        }

        /// Returns whether a test has planted the fault: never, outside of tests.
        #[cfg(not(test))]
        pub(super) const fn planted(_: $fault) -> bool {
            false
        }
    };
}
