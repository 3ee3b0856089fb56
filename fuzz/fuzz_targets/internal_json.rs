//! See `src/internal_json.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tollgate_fuzz::internal_json::run(bytes));
