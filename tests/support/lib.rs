//! Helpers shared by the live tests, the tests beside a real Heartbeat and the benchmarks.

pub mod cable;
pub mod observe;
pub mod real;
pub mod relay;

/// Whether this process is root of the computer, not of a user namespace in which only some user ids exist.
pub fn is_root() -> bool {
    let users = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    nix::unistd::geteuid().is_root() && users.split_whitespace().eq(["0", "0", "4294967295"])
}
