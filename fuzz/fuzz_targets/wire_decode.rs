//! `cargo fuzz run wire_decode`; the body is [`hb_fuzz::wire_decode`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hb_fuzz::wire_decode(data));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!(
        "built without the fuzzer: use `cargo fuzz run wire_decode`; the normal tests run the body over its corpus"
    );
}
