//! `watchdog DEVICE`: a timer outside the machine's software that resets it unless it is fed. Read CLUSTER f.5 and
//! OWNERSHIP 5 first.
//!
//! 3.0.6 sets it to `deadtime` and a second, so that a hung node resets about when its peers take over, or after that. Ours
//! fires strictly before (*ours*): at the latest after [`reset_after`] the newest heartbeat was sent.
//!
//! ```text
//! heartbeat                                    the guard releases     reset      peers take over
//!     |----- time-out, whole seconds -----|.. three keepalives ..|.....|              |
//!     |------------------------------- reset_after --------------------|-- drift -----|
//! ```

use super::timing::Timing;
use super::{Config, Span};
use crate::config::diagnostic::{Code, Report};
use crate::time::Millis;
use core::time::Duration;

/// Two clocks differ by a hundredth each at most (OWNERSHIP 5), in parts of the dead time.
const DRIFT_PART: u32 = 50;
/// So many heartbeats may be late before the watchdog bites a healthy node.
const SPARE_HEARTBEATS: u32 = 3;
/// Devices count in seconds.
const LEAST: Duration = Duration::from_secs(1);

/// When the machine must have been reset, counted from its newest heartbeat: before peers whose clocks are fast take over.
pub fn reset_after(timing: &Timing) -> Duration {
    timing.deadtime().saturating_sub(timing.deadtime().checked_div(DRIFT_PART).unwrap_or_default())
}

/// The time-out of a watchdog, in whole seconds; `None` where not even one second fits.
pub fn timeout(timing: &Timing) -> Option<Duration> {
    let room = reset_after(timing).checked_sub(timing.keepalive().saturating_mul(SPARE_HEARTBEATS))?;
    Some(Duration::from_secs(room.as_secs())).filter(|timeout| *timeout >= LEAST)
}

/// Says that the watchdog of that line would come too late.
pub(super) fn check(timing: &Timing, line: Option<Span>, report: &mut Report) {
    if let (Some(span), None) = (line, timeout(timing)) {
        let (deadtime, keepalive) = (timing.deadtime(), timing.keepalive());
        let message = format_args!(
            "deadtime {} is too short for a watchdog, which is not used: it counts in seconds, and with keepalive {} at \
             least {} are needed to reset this node before its peers take over",
            Millis(deadtime),
            Millis(keepalive),
            Millis(enough(keepalive))
        );
        let help = format_args!("write `deadtime {}ms` or more", enough(keepalive).as_millis());
        report.advise(Code::WatchdogTooSlow, span, message, help);
    }
}

/// A dead time that leaves room for a time-out of one second.
fn enough(keepalive: Duration) -> Duration {
    let least = keepalive.saturating_mul(SPARE_HEARTBEATS).saturating_add(LEAST);
    let drift = least.checked_div(DRIFT_PART.saturating_sub(1)).unwrap_or_default();
    // Rounded up to a time that can be written.
    Duration::from_millis(u64::try_from(least.saturating_add(drift).as_millis()).unwrap_or(u64::MAX).saturating_add(1))
}

impl Config {
    /// The device that resets the machine unless it is fed, if one is configured.
    pub fn watchdog(&self) -> Option<&str> {
        self.settings.watchdog.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::timing::Intervals;

    fn timing(keepalive: u64, deadtime: u64) -> Timing {
        Timing::new(Intervals::new(Duration::from_millis(keepalive), Duration::from_millis(deadtime))).unwrap()
    }

    #[test]
    fn a_watchdog_leaves_room_for_late_heartbeats_and_fires_before_the_peers_take_over() {
        for (keepalive, deadtime, seconds) in
            [(1000, 30_000, Some(26)), (250, 3000, Some(2)), (250, 1786, Some(1)), (250, 1785, None), (50, 1000, None)]
        {
            let timing = timing(keepalive, deadtime);
            assert_eq!(timeout(&timing), seconds.map(Duration::from_secs), "{keepalive} {deadtime}");
            let used = timeout(&timing).unwrap_or_default() + timing.keepalive() * SPARE_HEARTBEATS;
            assert!(seconds.is_none() || used <= reset_after(&timing) && reset_after(&timing) < timing.deadtime());
        }
    }

    #[test]
    fn the_dead_time_that_is_advised_is_enough() {
        for keepalive in [10, 100, 250, 333, 1000, 5000] {
            let enough = u64::try_from(enough(Duration::from_millis(keepalive)).as_millis()).unwrap();
            assert_eq!(timeout(&timing(keepalive, enough)), Some(LEAST), "{keepalive}");
            assert_eq!(timeout(&timing(keepalive, enough - 3)), None, "{keepalive}");
        }
    }
}
