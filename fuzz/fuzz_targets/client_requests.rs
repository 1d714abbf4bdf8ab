//! `cargo fuzz run client_requests`; the body is [`hb_fuzz::client_requests`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hb_fuzz::client_requests(data));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!(
        "built without the fuzzer: use `cargo fuzz run client_requests`; the normal tests run the body over its corpus"
    );
}
