//! `hbsim list`.

use anyhow::Result;
use hb_sim::{Plan, library};
use std::io::{self, Write as _};
use std::process::ExitCode;

/// Prints name and title of every scenario of the library.
pub(crate) fn main() -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    let width = library::ALL.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, text) in library::ALL {
        let title = Plan::parse(name, text).map_or_else(|_| "cannot be read".to_owned(), |plan| plan.title);
        writeln!(out, "{name:<width$}  {title}")?;
    }
    Ok(ExitCode::SUCCESS)
}
