#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| globalcounter_fuzz::classic(bytes));
