//! `cargo fuzz run scenario_file`; the body is [`hb_fuzz::scenario_file`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hb_fuzz::scenario_file(data));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!(
        "built without the fuzzer: use `cargo fuzz run scenario_file`; the normal tests run the body over its corpus"
    );
}
