//! `hbsim list`.

use anyhow::Result;
use hb_sim::{library, pending};
use std::io::{self, Write as _};
use std::process::ExitCode;

/// Prints name and title of every scenario of the library, and what those that are not met wait for.
pub(crate) fn main() -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    let width = library::ALL.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, text) in library::ALL {
        writeln!(out, "{name:<width$}  {}", library::title(text))?;
        if let Some(reason) = pending::reason(name) {
            writeln!(out, "{:<width$}    pending: {reason}", "")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
