//! The one timer slot of the loop, exact to what the kernel offers.
//!
//! mio rounds the timeout of a poll up to whole milliseconds; a takeover is promised within two. So the deadline
//! is a descriptor that becomes readable, and the poll itself waits without limit.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use hb_core::time::Instant;
use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// A single deadline on the clock of [`clock::now`](crate::clock::now), as a source of events.
#[derive(Debug)]
pub struct Timer {
    descriptor: TimerFd,
}

impl Timer {
    /// Makes a timer that is not armed.
    pub fn new() -> io::Result<Timer> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        Ok(Timer { descriptor: TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)? })
    }

    /// Makes the timer readable at `deadline`, at once if that is past; the end of time disarms it.
    ///
    /// An expiry need not be read: arming anew clears it, and the next one is an event again.
    pub fn arm(&self, deadline: Instant) -> io::Result<()> {
        if deadline == Instant::FAR_FUTURE {
            self.descriptor.unset()?;
            return Ok(());
        }
        // A zero time would mean "disarm" to the kernel.
        let at = Duration::from_nanos(deadline.as_nanos().max(1));
        self.descriptor
            .set(Expiration::OneShot(TimeSpec::from_duration(at)), TimerSetTimeFlags::TFD_TIMER_ABSTIME)
            .map_err(io::Error::from)
    }
}

impl Source for Timer {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.descriptor.as_fd().as_raw_fd()).register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.descriptor.as_fd().as_raw_fd()).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.descriptor.as_fd().as_raw_fd()).deregister(registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn readable(poll: &mut mio::Poll, limit: Duration) -> bool {
        let mut events = mio::Events::with_capacity(4);
        poll.poll(&mut events, Some(limit)).unwrap();
        !events.is_empty()
    }

    #[test]
    fn a_deadline_comes_and_never_early() {
        let (mut poll, mut timer) = (mio::Poll::new().unwrap(), Timer::new().unwrap());
        poll.registry().register(&mut timer, Token(0), Interest::READABLE).unwrap();
        for wait in [Duration::from_micros(300), Duration::from_millis(3)] {
            let deadline = clock::now().plus(wait);
            timer.arm(deadline).unwrap();
            assert!(readable(&mut poll, Duration::from_secs(20)));
            assert!(clock::now() >= deadline);
        }
        timer.arm(Instant::ORIGIN).unwrap();
        assert!(readable(&mut poll, Duration::from_secs(20)), "a past deadline is due at once");
    }

    #[test]
    fn the_end_of_time_never_comes() {
        let (mut poll, mut timer) = (mio::Poll::new().unwrap(), Timer::new().unwrap());
        poll.registry().register(&mut timer, Token(0), Interest::READABLE).unwrap();
        timer.arm(clock::now().plus(Duration::from_hours(1))).unwrap();
        timer.arm(Instant::FAR_FUTURE).unwrap();
        assert!(!readable(&mut poll, Duration::from_millis(1)));
    }
}
