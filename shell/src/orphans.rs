//! Scripts that outlive the daemon that started them: ended by its guard, or by the next daemon.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::clock;

/// How long processes that were killed may take to vanish; the system may be writing what they had open.
pub(crate) const VANISH: Duration = Duration::from_secs(2);

/// Kills a script and all in its group of processes; false if the script itself has ended.
///
/// Only while it lives is the number certainly its own, and what it left behind when it ended is a service.
pub(crate) fn kill(group: Pid, script: &OwnedFd) -> bool {
    let lives = !has_ended(script, PollTimeout::ZERO);
    if lives {
        let _nobody: nix::Result<()> = killpg(group, Signal::SIGKILL);
    }
    lives
}

/// Waits until processes that were killed are gone; which of them are not, after [`VANISH`].
pub(crate) fn wait_for<'a>(killed: impl IntoIterator<Item = &'a OwnedFd>) -> Vec<&'a OwnedFd> {
    let end = clock::now().plus(VANISH);
    let stays = |process: &&OwnedFd| {
        let rest = end.since(clock::now());
        !has_ended(process, PollTimeout::try_from(rest).unwrap_or(PollTimeout::ZERO))
    };
    killed.into_iter().filter(stays).collect()
}

/// Whether a process has ended, or does within the time.
fn has_ended(process: &OwnedFd, patience: PollTimeout) -> bool {
    let mut one = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    loop {
        match poll(&mut one, patience) {
            Err(Errno::EINTR) => {}
            result => return result.is_ok_and(|count| count > 0),
        }
    }
}
