//! `cargo fuzz run cluster`; the body is [`hb_fuzz::cluster`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hb_fuzz::cluster(data));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!("built without the fuzzer: use `cargo fuzz run cluster`; the normal tests run the body over its corpus");
}
