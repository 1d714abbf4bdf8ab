//! `cargo fuzz run haresources`; the body is [`hb_fuzz::haresources`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hb_fuzz::haresources(data));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!(
        "built without the fuzzer: use `cargo fuzz run haresources`; the normal tests run the body over its corpus"
    );
}
