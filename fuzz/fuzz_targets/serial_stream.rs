//! `cargo fuzz run serial_stream`; the body is [`hb_fuzz::serial_stream`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hb_fuzz::serial_stream(data));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!(
        "built without the fuzzer: use `cargo fuzz run serial_stream`; the normal tests run the body over its corpus"
    );
}
