//! `cargo fuzz run trace_file`; the body is [`hb_fuzz::trace_file`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hb_fuzz::trace_file(data));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!(
        "built without the fuzzer: use `cargo fuzz run trace_file`; the normal tests run the body over its corpus"
    );
}
