//! See `src/counter_line.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tollgate_fuzz::counter_line::run(bytes));
