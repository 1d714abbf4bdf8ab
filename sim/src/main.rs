//! The program `hbsim`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
