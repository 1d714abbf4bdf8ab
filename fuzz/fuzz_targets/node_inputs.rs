//! `cargo fuzz run node_inputs`; the body is [`hb_fuzz::node_inputs`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hb_fuzz::node_inputs(data));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!(
        "built without the fuzzer: use `cargo fuzz run node_inputs`; the normal tests run the body over its corpus"
    );
}
