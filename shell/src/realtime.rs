//! `realtime on`: the loop before everybody else, and its memory never on disk.
//!
//! Neither is worth refusing the start: what fails is a line in the log.

use std::fmt;

use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use crate::sys;

/// The bit of CAP_IPC_LOCK in a capability set.
const CAP_IPC_LOCK: u32 = 14;
/// Pieces of the reserve: small enough for the allocator to keep them on its heap.
const PIECE: usize = 64 * 1024;

/// A part of real-time operation that is not to be had.
#[derive(Debug, PartialEq, Eq)]
pub enum Missing {
    /// The thread stays in the normal scheduling class.
    Scheduling(String),
    /// Memory may be written to disk.
    Locking(String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Scheduling(why) => write!(f, "no real-time scheduling: {why}; needs root or CAP_SYS_NICE"),
            Missing::Locking(why) => write!(f, "memory is not locked: {why}; needs root or CAP_IPC_LOCK"),
        }
    }
}

/// `rtprio`: a priority in the round-robin class, the lowest if absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority(pub Option<u8>);

/// Puts the calling thread into the round-robin class and locks the memory of the process; tells what failed.
///
/// `reserve` is how many bytes of heap are made ready now, so that the loop need not ask for memory when the machine has
/// none. To be called by the thread of the loop; threads and programs that it starts later are in the normal class again.
pub fn enter(priority: Priority, reserve: usize) -> Vec<Missing> {
    let locked = lock(reserve).map_err(Missing::Locking);
    [schedule(priority), locked].into_iter().filter_map(Result::err).collect()
}

/// Puts the calling thread into the round-robin class.
pub(crate) fn schedule(Priority(priority): Priority) -> Result<(), Missing> {
    let (lowest, highest) = sys::round_robin_priorities();
    sys::use_round_robin(priority.map_or(lowest, i32::from).clamp(lowest, highest))
        .map_err(|error| Missing::Scheduling(error.to_string()))
}

fn lock(reserve: usize) -> Result<(), String> {
    // Within a limit, locking what is to come "succeeds", and then allocations fail: worse than not to lock.
    may_lock_everything()?;
    sys::keep_freed_memory();
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE).map_err(|errno| errno.to_string())?;
    let pieces: Vec<Vec<u8>> = (0..reserve.div_ceil(PIECE)).map(|_| vec![1; PIECE]).collect();
    // Freed, but kept by the allocator for the loop.
    drop(std::hint::black_box(pieces));
    Ok(())
}

fn may_lock_everything() -> Result<(), String> {
    let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK).map_err(|errno| errno.to_string())?;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    // Root of a user namespace has every capability there, but the kernel wants this one in the first namespace.
    let names = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    if limit == RLIM_INFINITY || (has_lock_capability(&status) && is_first_namespace(&names)) {
        return Ok(());
    }
    Err(format!("only {} kB may be locked (RLIMIT_MEMLOCK)", limit / 1024))
}

fn has_lock_capability(status: &str) -> bool {
    let effective = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    effective.is_some_and(|set| set >> CAP_IPC_LOCK & 1 == 1)
}

fn is_first_namespace(uid_map: &str) -> bool {
    uid_map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_to_lock_is_read_from_the_capabilities() {
        assert!(has_lock_capability("Name:\theartbeat\nCapEff:\t0000000000004000\n"));
        assert!(has_lock_capability("CapEff:\t000001ffffffffff\n"));
        assert!(!has_lock_capability("CapPrm:\t0000000000004000\nCapEff:\t0000000000000000\n"));
        assert!(!has_lock_capability(""));
    }

    #[test]
    fn root_of_a_user_namespace_is_not_root() {
        assert!(is_first_namespace("         0          0 4294967295\n"));
        assert!(!is_first_namespace("         0       1000          1\n"));
    }

    /// What comes of it depends on who runs the test; each outcome has to be true.
    #[test]
    fn entering_says_exactly_what_is_missing() {
        // A thread of its own, so that the other tests stay as they are; locking is for the whole process and harmless.
        std::thread::spawn(|| {
            let missing = enter(Priority(None), 256 * 1024);
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let after_name = stat.rsplit(") ").next().unwrap();
            let policy: i32 = after_name.split(' ').nth(38).unwrap().parse().unwrap();
            let scheduled = !missing.iter().any(|missing| matches!(missing, Missing::Scheduling(_)));
            assert_eq!(policy == nix::libc::SCHED_RR, scheduled, "{missing:?}");
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap().trim() != "0 kB";
            assert_eq!(locked, !missing.iter().any(|missing| matches!(missing, Missing::Locking(_))), "{missing:?}");
            if scheduled {
                let child = std::process::Command::new("cat").arg("/proc/self/stat").output().unwrap();
                let stat = String::from_utf8(child.stdout).unwrap();
                assert_eq!(stat.rsplit(") ").next().unwrap().split(' ').nth(38), Some("0"), "the normal class");
            }
        })
        .join()
        .unwrap();
    }
}
