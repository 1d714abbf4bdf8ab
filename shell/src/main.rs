//! The program `heartbeat`; everything is in the library, where tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    hb_shell::cli::main()
}
