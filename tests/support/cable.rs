//! A null-modem cable: two pseudo terminals and somebody who carries bytes from one to the other.
//!
//! Each end is a path, as `serial` names it in ha.cf. An end can be pulled: its terminal is gone then, as that of a USB
//! adapter is; plugged in again, a new terminal has the same path.

use anyhow::{Context as _, Result};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the carrier looks; a line of 115200 baud brings ten bytes in that time.
const LOOK_EVERY: Duration = Duration::from_millis(1);

#[derive(Debug)]
struct End {
    master: File,
    /// Kept open, so that the terminal keeps its settings and nothing is refused while nobody else has it open.
    _slave: OwnedFd,
}

/// The cable; its terminals end with it.
#[derive(Debug)]
pub struct NullModem {
    paths: [PathBuf; 2],
    ends: Arc<[Mutex<Option<End>>; 2]>,
    stop: Arc<AtomicBool>,
    carrier: Option<JoinHandle<()>>,
}

impl NullModem {
    /// A cable with both ends plugged in.
    pub fn new(paths: [PathBuf; 2]) -> Result<NullModem> {
        let ends = Arc::new([Mutex::new(None), Mutex::new(None)]);
        let stop = Arc::new(AtomicBool::new(false));
        let (joined, stopped) = (Arc::clone(&ends), Arc::clone(&stop));
        let carrier = std::thread::Builder::new().name("null modem".to_owned()).spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                carry(&joined[0], &joined[1]);
                carry(&joined[1], &joined[0]);
                std::thread::sleep(LOOK_EVERY);
            }
        })?;
        let cable = NullModem { paths, ends, stop, carrier: Some(carrier) };
        cable.plug(0)?;
        cable.plug(1)?;
        Ok(cable)
    }

    /// Plugs an end in: a new terminal appears.
    pub fn plug(&self, which: usize) -> Result<()> {
        let pair = openpty(None, None).context("no pseudo terminal")?;
        // A daemon that inherited them would keep a pulled end alive.
        for descriptor in [&pair.master, &pair.slave] {
            fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        let mut raw = tcgetattr(&pair.slave)?;
        cfmakeraw(&mut raw);
        tcsetattr(&pair.slave, SetArg::TCSANOW, &raw)?;
        fcntl(&pair.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        symlink(nix::unistd::ttyname(&pair.slave)?, &self.paths[which])?;
        let end = End { master: File::from(pair.master), _slave: pair.slave };
        *self.ends[which].lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        Ok(())
    }

    /// Pulls an end: its terminal is gone.
    pub fn pull(&self, which: usize) -> Result<()> {
        fs::remove_file(&self.paths[which])?;
        *self.ends[which].lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}

impl Drop for NullModem {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(carrier) = self.carrier.take() {
            // It does not panic, and if it did there would be nobody to tell.
            let _: std::thread::Result<()> = carrier.join();
        }
    }
}

/// What came out of one end goes into the other, as far as that takes it: a line has no memory.
fn carry(from: &Mutex<Option<End>>, to: &Mutex<Option<End>>) {
    let mut bytes = [0; 4096];
    let mut from = from.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(length) = from.as_mut().and_then(|end| end.master.read(&mut bytes).ok()) else { return };
    drop(from);
    if let Some(end) = to.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        // What does not fit is lost, as on a line without flow control.
        let _: std::io::Result<()> = end.master.write_all(&bytes[..length]);
    }
}
