//! `hbsim digests`: what every scenario comes to, as one number. The list is the same on every machine and build.

use anyhow::Result;
use hb_sim::{Detail, Plan, library, pending, run};
use std::io::{self, Write as _};
use std::process::ExitCode;

/// Prints name and digest of every scenario that is met, with seed 1.
pub(crate) fn main() -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    for (name, text) in library::ALL.iter().filter(|(name, _)| pending::reason(name).is_none()) {
        let Ok(plan) = Plan::parse(name, text) else { continue };
        let (world, _) = run::play(&plan, 1, Detail::Quiet);
        writeln!(out, "{name} {:016x}", world.digest())?;
    }
    Ok(ExitCode::SUCCESS)
}
