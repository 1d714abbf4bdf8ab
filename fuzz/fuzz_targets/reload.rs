//! `cargo fuzz run reload`; the body is [`hb_fuzz::reload`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hb_fuzz::reload(data));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!("built without the fuzzer: use `cargo fuzz run reload`; the normal tests run the body over its corpus");
}
