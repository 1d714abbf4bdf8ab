//! The two clocks of the machine.
//!
//! The monotonic one counts while the machine sleeps (CLOCK_BOOTTIME): a node that was suspended must see that its peers
//! had time to declare it dead (scenario F18).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hb_core::time::{Instant, UnixTime};
use nix::time::{ClockId, clock_gettime};

/// The present on the monotonic clock; the origin is the start of the machine.
///
/// # Panics
/// On a kernel without CLOCK_BOOTTIME (before 2.6.39).
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("every supported kernel has CLOCK_BOOTTIME");
    Instant::after_origin(Duration::from(time))
}

/// The wall clock, 1970 if it stands before that.
pub fn wall() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_is_the_one_timers_use() {
        let uptime: f64 = std::fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap();
        let ours = Duration::from_nanos(now().as_nanos()).as_secs_f64();
        assert!(ours >= uptime - 0.02, "{ours} {uptime}");
    }
}
