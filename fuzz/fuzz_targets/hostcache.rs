//! `cargo fuzz run hostcache`; the body is [`hb_fuzz::hostcache`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hb_fuzz::hostcache(data));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!(
        "built without the fuzzer: use `cargo fuzz run hostcache`; the normal tests run the body over its corpus"
    );
}
