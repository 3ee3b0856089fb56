//! See `src/timestamp.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tollgate_fuzz::timestamp::run(bytes));
