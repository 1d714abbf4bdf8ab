//! Helpers shared by the live tests, the tests beside a real Heartbeat and the benchmarks.

use anyhow::{Context as _, Result};
use std::time::Duration;

pub mod cable;
pub mod observe;
pub mod real;
pub mod relay;

/// Whether this process is root of the computer, not of a user namespace in which only some user ids exist.
pub fn is_root() -> bool {
    let users = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    nix::unistd::geteuid().is_root() && users.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The processor time of all threads of a process, to the nanosecond (schedstat).
pub fn processor_time(pid: u32) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        let nanos = text.split_whitespace().next().context("schedstat begins with the time on a processor")?;
        total += Duration::from_nanos(nanos.parse()?);
    }
    Ok(total)
}
