//! `cargo fuzz run ha_cf`; the body is [`hb_fuzz::ha_cf`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hb_fuzz::ha_cf(data));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!("built without the fuzzer: use `cargo fuzz run ha_cf`; the normal tests run the body over its corpus");
}
