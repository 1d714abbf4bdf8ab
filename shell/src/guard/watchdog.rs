//! The device that resets the machine unless it is fed. Read OWNERSHIP 5 and hb_core's `config::watchdog` first.
//!
//! | what happens | the device |
//! |---|---|
//! | a heartbeat goes out | is fed, if it would fire before the peers take over |
//! | no heartbeat any more | is fed once more, so late that it fires exactly when it must |
//! | everything was released, or the daemon ended in order | gets its magic `V` and is closed: it never fires |
//! | something cannot be released | is left as it is, and fires |
//!
//! Anything that can be written to takes the place of a device, for tests: it gets the same writes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::time::Duration;

use hb_core::time::Instant;
use nix::libc;

use crate::sys;

/// What feeds it: any byte but the magic one.
const FOOD: &[u8] = b".";
/// What disarms it, right before it is closed.
const MAGIC: &[u8] = b"V";

/// By so much the last meal may be late: nothing beside the hundredths that clocks may differ by.
const HAIR: Duration = Duration::from_millis(2);

/// An armed watchdog.
#[derive(Debug)]
pub(crate) struct Watchdog {
    device: File,
    path: PathBuf,
    timeout: Duration,
    /// When the machine must have been reset, unless another heartbeat goes out.
    reset: Instant,
    /// Whether it had its last meal before that.
    is_fed: bool,
}

impl Watchdog {
    /// Arms the device: from now on the machine is reset unless it is fed.
    pub(crate) fn open(path: PathBuf, timeout: Duration) -> io::Result<Watchdog> {
        // Whoever reads a stand-in may be slow or absent: that must not hold up anything.
        let device = OpenOptions::new().append(true).custom_flags(libc::O_NONBLOCK).open(&path)?;
        let mut watchdog = Watchdog { device, path, timeout, reset: Instant::ORIGIN, is_fed: true };
        if let Err(error) = watchdog.set(timeout) {
            // With another time-out it would fire too late, or bite a healthy node.
            watchdog.disarm()?;
            return Err(error);
        }
        watchdog.device.write_all(FOOD)?;
        Ok(watchdog)
    }

    /// Gives the device another time-out.
    pub(crate) fn set(&mut self, timeout: Duration) -> io::Result<()> {
        if self.device.metadata()?.file_type().is_char_device() {
            let wanted = i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX);
            let actual = sys::set_watchdog_timeout(&self.device, wanted)?;
            if actual != wanted {
                return Err(io::Error::other(format!("it takes {actual} s where {wanted} s are needed")));
            }
        }
        self.timeout = timeout;
        Ok(())
    }

    /// A heartbeat went out that lasts until `reset`.
    pub(crate) fn renew(&mut self, now: Instant, reset: Instant) -> io::Result<()> {
        (self.reset, self.is_fed) = (reset, false);
        self.feed(now)
    }

    /// When to feed it for the last time, if no heartbeat goes out any more and that has not been done.
    pub(crate) fn last_meal(&self) -> Option<Instant> {
        (!self.is_fed).then(|| self.reset.minus(self.timeout))
    }

    /// Feeds it for the last time.
    pub(crate) fn feed_last(&mut self, now: Instant) -> io::Result<()> {
        self.is_fed = true;
        self.feed(now)
    }

    /// Feeds it, unless it would then fire too late. At the very last moment the timer that says so is late by a little.
    fn feed(&mut self, now: Instant) -> io::Result<()> {
        if now.plus(self.timeout) <= self.reset.plus(HAIR) { self.device.write_all(FOOD) } else { Ok(()) }
    }

    /// Disarms and closes it.
    pub(crate) fn disarm(mut self) -> io::Result<()> {
        self.device.write_all(MAGIC)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::after_origin(Duration::from_millis(millis))
    }

    #[test]
    fn it_is_fed_only_while_it_fires_in_time_and_ends_with_the_magic_byte() {
        let path = std::env::temp_dir().join(format!("hb-watchdog-{}", std::process::id()));
        std::fs::write(&path, "").unwrap();
        let read = || std::fs::read_to_string(&path).unwrap();
        let mut watchdog = Watchdog::open(path.clone(), Duration::from_secs(2)).unwrap();
        assert_eq!(read(), ".");
        watchdog.renew(at(100), at(3000)).unwrap();
        assert_eq!((read().as_str(), watchdog.last_meal()), ("..", Some(at(1000))));
        watchdog.feed_last(at(1000)).unwrap();
        assert_eq!((read().as_str(), watchdog.last_meal()), ("...", None));
        watchdog.renew(at(1010), at(3000)).unwrap();
        assert_eq!(read(), "...", "it would fire when the peers have taken over");
        watchdog.set(Duration::from_secs(1)).unwrap();
        watchdog.renew(at(2001), at(3001)).unwrap();
        watchdog.disarm().unwrap();
        assert_eq!(read(), "....V");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn one_that_is_missing_is_not_made() {
        let path = std::env::temp_dir().join(format!("hb-no-watchdog-{}", std::process::id()));
        let error = Watchdog::open(path.clone(), Duration::from_secs(2)).unwrap_err();
        assert_eq!((error.kind(), path.exists()), (io::ErrorKind::NotFound, false));
    }
}
