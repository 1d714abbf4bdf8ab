//! `hbsim redact`: a recording signed anew, to be handed on.

use anyhow::{Context as _, Result};
use clap::Args;
use hb_sim::replay::redact::redact;
use hb_sim::replay::{Keys, Trace};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args, Debug)]
pub(super) struct RedactArgs {
    /// A recording, or the directory of the flight recorder.
    trace: PathBuf,
    /// The keys of the cluster.
    #[arg(long, value_name = "FILE", default_value = "/etc/ha.d/authkeys")]
    authkeys: PathBuf,
    /// The recording to write; its keys go to OUT.authkeys beside it.
    #[arg(short = 'o', long, value_name = "OUT")]
    out: PathBuf,
}

pub(super) fn main(args: &RedactArgs) -> Result<ExitCode> {
    let (trace, keys) = (Trace::open(&args.trace)?, Keys::read(&args.authkeys)?);
    let mut source = File::open("/dev/urandom").context("cannot read /dev/urandom")?;
    let mut broken = None;
    let redacted = redact(&trace, &keys, &mut || {
        let mut bytes = [0; 20];
        broken = broken.take().or(source.read_exact(&mut bytes).err());
        bytes
    })?;
    if let Some(error) = broken {
        return Err(error).context("cannot read /dev/urandom");
    }
    for note in &redacted.notes {
        eprintln!("note: {note}");
    }
    let mut authkeys = args.out.clone().into_os_string();
    authkeys.push(".authkeys");
    write_private(&args.out, &redacted.trace)?;
    write_private(Path::new(&authkeys), redacted.authkeys.as_bytes())?;
    println!("{}: {} segments, {} bytes", args.out.display(), redacted.segments, redacted.trace.len());
    println!("{}: the keys to replay it with, made for it", Path::new(&authkeys).display());
    println!("ha.cf and haresources are in it as they are: see that they hold no password before you hand it on");
    Ok(ExitCode::SUCCESS)
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let result = file.and_then(|mut file| file.write_all(bytes));
    result.with_context(|| format!("cannot write {}", path.display()))
}
