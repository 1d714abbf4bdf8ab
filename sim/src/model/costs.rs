//! What the original pays for being made of processes and shell scripts.
//!
//! CLUSTER names these costs only as sums ("shell start-ups 0.3-0.5 s per group", k.19). The parts are chosen so that the
//! sums fit what was observed on 3.0.6 in the laboratory: service 8.3 to 8.5 s after a lone start with `initdead 8` (S3),
//! 3.3 s after a crash with `deadtime 3` (F1), a gap of 0.36 to 0.39 s in a planned move (F6, T1), the overlap of F11.

use std::time::Duration;

/// From the command `heartbeat` to the first packet: configuration, fork, children of the media. It takes up to
/// [`START_SPREAD`] longer, differently each time, so that two nodes started together do not beat together.
pub(super) const START: Duration = Duration::from_millis(45);
/// In microseconds.
pub(super) const START_SPREAD: u64 = 50_000;
/// A child that the daemon starts directly: fork, shell, common functions.
pub(super) const CHILD: Duration = Duration::from_millis(20);
/// A queued job: `harc` and the script of the message's type.
pub(super) const JOB: Duration = Duration::from_millis(40);
/// `mach_down` asks the `ResourceManager` for the keys of the dead node.
pub(super) const LIST_KEYS: Duration = Duration::from_millis(30);
/// One run of the `ResourceManager`: it reads haresources anew.
pub(super) const MANAGER: Duration = Duration::from_millis(60);
/// One call of the script `IPaddr`, whose work is a system call; other scripts' time is the machine's business.
pub(super) const ADDRESS_SCRIPT: Duration = Duration::from_millis(30);
/// `hb_standby` and `hb_takeover`, from the command to the FIFO.
pub(super) const COMMAND: Duration = Duration::from_millis(30);
