#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kekring_fuzz::checks::node::check(data));
