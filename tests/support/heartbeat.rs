//! The program `heartbeat`, as the tests and benchmarks of this crate start it.

use std::process::ExitCode;

fn main() -> ExitCode {
    hb_shell::cli::main()
}
