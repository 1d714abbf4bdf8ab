//! Helpers shared by the live tests, the tests beside a real Heartbeat and the benchmarks.

use anyhow::{Context as _, Result};
use std::ops::{Add, Sub};
use std::time::Duration;

pub mod cable;
pub mod figures;
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

/// What a process has used of the processors since it began; differences say what it used meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// [`processor_time`].
    pub scheduled: Duration,
    /// In the program, to the clock tick (/proc/PID/stat).
    pub user: Duration,
    /// In the kernel, likewise.
    pub system: Duration,
    /// How often its threads have given up a processor to wait for something.
    pub waits: u64,
}

impl Usage {
    /// That of a process that runs.
    pub fn of(pid: u32) -> Result<Usage> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name of the program ends with the last parenthesis, whatever is in it; the next is the third field.
        let (_, fields) = stat.rsplit_once(')').context("stat has the program's name")?;
        let mut ticks = fields.split_whitespace().skip(11).map(str::parse);
        // To programs it is a hundredth of a second, whatever the kernel was built with.
        let mut next = || -> Result<Duration> {
            Ok(Duration::from_millis(ticks.next().context("stat has fourteen fields")??) * 10)
        };
        let (user, system) = (next()?, next()?);
        let mut waits = 0;
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let status = std::fs::read_to_string(task?.path().join("status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            waits += line.context("status counts switches")?.trim().parse::<u64>()?;
        }
        Ok(Usage { scheduled: processor_time(pid)?, user, system, waits })
    }
}

impl Add for Usage {
    type Output = Usage;

    fn add(self, other: Usage) -> Usage {
        Usage {
            scheduled: self.scheduled + other.scheduled,
            user: self.user + other.user,
            system: self.system + other.system,
            waits: self.waits + other.waits,
        }
    }
}

impl Sub for Usage {
    type Output = Usage;

    fn sub(self, earlier: Usage) -> Usage {
        Usage {
            scheduled: self.scheduled.saturating_sub(earlier.scheduled),
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
            waits: self.waits.saturating_sub(earlier.waits),
        }
    }
}
