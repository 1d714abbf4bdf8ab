//! The commands of 3.0.6 as one program: chosen by the name it is called by, or as a subcommand of `heartbeat`.
//!
//! | command | talks to the daemon by |
//! |---|---|
//! | `cl_status` | the API, without a name (CLIENT 13.1) |
//! | `hb_standby`, `hb_takeover`, `hb_addnode`, `hb_delnode`, `hb_setweight`, `hb_setsite` | the command FIFO (CLIENT 12) |
//! | `ha_propagate` | not at all: it copies files to the other machines (CLUSTER g.8) |
//!
//! Output and exit codes are those of the originals, with one difference: a message that no daemon takes is an error. The
//! originals then write a plain file of the FIFO's name, and report success. `ha_propagate` is our own: the shipped one does
//! not run with a present Python.

mod cl_status;
mod library;
mod messages;
mod propagate;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// The commands, by name.
pub(crate) const NAMES: [&str; 8] = [
    "cl_status",
    "ha_propagate",
    "hb_standby",
    "hb_takeover",
    "hb_addnode",
    "hb_delnode",
    "hb_setweight",
    "hb_setsite",
];

/// Runs a command if the program was called by its name, or with its name as first argument; else nothing.
pub(crate) fn called() -> Option<ExitCode> {
    let mut words = std::env::args_os();
    let program = words.next()?;
    let name = |word: &OsString| {
        let base = Path::new(word).file_name()?.to_str()?;
        NAMES.into_iter().find(|name| *name == base)
    };
    let arguments =
        |words: std::env::ArgsOs| words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<String>>();
    if let Some(name) = name(&program) {
        return Some(run(name, &program.to_string_lossy(), &arguments(words)));
    }
    let first = words.next()?;
    // A path is no subcommand.
    let name = name(&first).filter(|name| *first == **name)?;
    Some(run(name, name, &arguments(words)))
}

fn run(name: &str, program: &str, arguments: &[String]) -> ExitCode {
    ExitCode::from(match name {
        "cl_status" => cl_status::run(arguments),
        "ha_propagate" => propagate::run(arguments),
        _ => messages::run(name, program, arguments),
    })
}

/// A line as the originals write it for a terminal: time, machine, program, process.
fn log_line(program: &str, text: &str) {
    let stamp = crate::log::stamp(crate::clock::wall());
    let host = nix::unistd::gethostname().unwrap_or_default();
    eprintln!("{stamp} {} {program}: [{}]: ERROR: {text}", host.to_string_lossy(), std::process::id());
}
