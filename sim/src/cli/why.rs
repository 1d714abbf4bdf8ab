//! `hbsim why`: what was decided about a group, and on what evidence; `heartbeat why` calls it.

use anyhow::Result;
use clap::Args;
use hb_sim::replay::why::why;
use hb_sim::replay::{Keys, Trace};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args, Debug)]
pub(super) struct WhyArgs {
    /// A recording, or the directory of the flight recorder.
    trace: PathBuf,
    /// A group: its first resource as in haresources; of an address the part before `/` will do. All groups without it.
    group: Option<String>,
    /// The keys of the cluster.
    #[arg(long, value_name = "FILE", default_value = "/etc/ha.d/authkeys")]
    authkeys: PathBuf,
}

pub(super) fn main(args: &WhyArgs) -> Result<ExitCode> {
    let (trace, keys) = (Trace::open(&args.trace)?, Keys::read(&args.authkeys)?);
    let answer = why(&trace, &keys, args.group.as_deref())?;
    for note in &answer.notes {
        eprintln!("note: {note}");
    }
    io::stdout().lock().write_all(answer.text.as_bytes())?;
    if let Some(difference) = &answer.difference {
        eprintln!("hbsim: what follows cannot be explained, since this build does otherwise there: {difference}");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
