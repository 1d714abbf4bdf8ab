//! `cargo fuzz run authkeys`; the body is [`hb_fuzz::authkeys`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hb_fuzz::authkeys(data));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!("built without the fuzzer: use `cargo fuzz run authkeys`; the normal tests run the body over its corpus");
}
