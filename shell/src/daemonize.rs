//! Going to the background without lying about it.
//!
//! The parent of 3.0.6 exits with success at once, whatever becomes of the child. Ours waits until the child is ready or
//! has failed (*ours*), so that `heartbeat && echo up` means what it says:
//!
//! ```text
//! parent: fork ---------------- waits ----------------> exit(code)
//! child:   \-> own session, sockets, files ... -> code -/ -> the loop
//! ```

use std::fs::OpenOptions;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::AsFd as _;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use sd_notify::NotifyState;

use crate::sys;

/// The exit code of a parent whose child died without a word.
const GENERIC_FAILURE: i32 = 1;

/// Somebody who waits to hear whether the start worked.
#[derive(Debug)]
#[must_use = "whoever started the daemon waits for it"]
pub struct Starter(Waiting);

#[derive(Debug)]
enum Waiting {
    /// A service manager, if there is one.
    ServiceManager,
    /// The parent process.
    Parent(PipeWriter),
}

/// Stays in the foreground.
pub fn foreground() -> Starter {
    Starter(Waiting::ServiceManager)
}

/// Goes to the background: returns in the child only, while the parent waits for the report and exits with it.
///
/// The child leads its own session, stands in the root directory, and has no standard input or output; its error output
/// remains until it is ready, so that a failed start is seen by whoever caused it. All other descriptors are closed, ours
/// too: a pipe of our caller that stayed open would let him wait for ever. So this comes before anything is opened.
///
/// # Panics
/// When the process has more than one thread.
pub fn background() -> io::Result<Starter> {
    let (reader, writer) = io::pipe()?;
    match sys::fork()? {
        ForkResult::Parent { child } => {
            drop(writer);
            std::process::exit(outcome(reader, child));
        }
        ForkResult::Child => {
            drop(reader);
            sys::close_inherited(writer.as_fd());
            setsid()?;
            std::env::set_current_dir("/")?;
            let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
            dup2_stdin(&null)?;
            dup2_stdout(&null)?;
            Ok(Starter(Waiting::Parent(writer)))
        }
    }
}

impl Starter {
    /// Reports that the daemon serves; in the background, this also ends its error output.
    pub fn ready(self) -> io::Result<()> {
        match self.0 {
            Waiting::ServiceManager => sd_notify::notify(&[NotifyState::Ready]),
            Waiting::Parent(writer) => {
                let null = OpenOptions::new().write(true).open("/dev/null")?;
                dup2_stderr(&null)?;
                report(writer, 0)
            }
        }
    }

    /// Reports that the start failed and with which exit code.
    pub fn failed(self, code: u8) -> io::Result<()> {
        match self.0 {
            // It sees the exit code itself.
            Waiting::ServiceManager => Ok(()),
            Waiting::Parent(writer) => report(writer, code),
        }
    }
}

fn report(mut writer: PipeWriter, code: u8) -> io::Result<()> {
    writer.write_all(&[code])
}

/// What the child reported, or failing that how it ended.
fn outcome(mut reader: PipeReader, child: Pid) -> i32 {
    let mut code = [0];
    if reader.read_exact(&mut code).is_ok() {
        return i32::from(code[0]);
    }
    match waitpid(child, None) {
        // It closed the pipe and ended well: an exit that was meant, such as that of a daemon stopped while it started.
        Ok(WaitStatus::Exited(_, code)) => code,
        Ok(_) | Err(_) => GENERIC_FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// The parent's view, with a shell for the child; forking needs a process without threads (see the live tests).
    fn outcome_of(script: &str, reported: Option<u8>) -> i32 {
        let (reader, writer) = io::pipe().unwrap();
        let mut child = Command::new("/bin/sh").args(["-c", script]).spawn().unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        if let Some(code) = reported {
            Starter(Waiting::Parent(writer)).failed(code).unwrap();
        } else {
            drop(writer);
        }
        let outcome = outcome(reader, pid);
        // Where nothing was reported it has been waited for already.
        let _: io::Result<std::process::ExitStatus> = child.wait();
        outcome
    }

    #[test]
    fn the_parent_exits_with_what_the_child_reported() {
        assert_eq!(outcome_of("exit 3", Some(0)), 0);
        assert_eq!(outcome_of("exit 3", Some(6)), 6);
    }

    #[test]
    fn a_child_that_dies_without_a_word_is_a_failure() {
        assert_eq!(outcome_of("exit 6", None), 6);
        assert_eq!(outcome_of("kill -9 $$", None), GENERIC_FAILURE);
    }
}
