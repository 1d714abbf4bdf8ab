//! The guard: a tiny process that outlives the daemon, so that SIGKILL is a planned move and not a duplicate address.
//! Read OWNERSHIP 5, CLUSTER b.5 and k.6, and scenario F14 first.
//!
//! ```text
//! daemon ---- heartbeat sent: until, reset, farewell; resource may be up; resource is gone; script runs ----> guard
//!
//! the socket closes: the daemon is dead, by whatever cause --+
//! `until` passes: it is stuck; the guard kills it -----------+--> end scripts under way, remove addresses
//!                                                                 stop scripts, right to left, groups in parallel
//! the daemon says farewell: it ended in order --> ends quietly        all gone --> farewell to the peers, end
//! ```
//!
//! Invariants:
//! - whatever may be up is known here *before* its start is begun, and until its stop has succeeded,
//! - a script reports itself before it becomes one (its process, between fork and exec): no daemon dies too early for that,
//!   and the socket is not closed as long as such a process has it,
//! - the farewell is sent only when everything is gone; where something cannot be stopped the peers wait for the dead time,
//! - a guard that acts holds the lock of the pid file: a daemon that is started meanwhile waits for it.
//!
//! It is forked, not executed: then it needs neither disk nor path, nor a configuration written down for it. That has to
//! be before the daemon starts threads; so a guard that is killed is not replaced, which is said once and in capitals.
//! With a `watchdog` its end is the machine's: the guard is what feeds it.
//!
//! The daemon never waits for its guard. The socket holds some hundred words, and a guard reads them as they come; where
//! it is full, or nobody reads, no resource is started any more (it could not be undone), and everything else goes on: a
//! lost renewal is replaced by the next, a lost "gone" costs a stop too many.

mod post;
mod release;
mod watchdog;
mod word;

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use hb_core::ids::{GroupId, MediumId, OpId};
use hb_core::time::Instant;
use hb_core::{Frame, Level, ResourceRun};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};
use nix::unistd::ForkResult;

pub(crate) use post::{NAME, Post, Surroundings};
pub(crate) use word::started;

use crate::log::Targets;
use crate::sys;
use word::{Held, Renewal, Word};

/// The daemon's end.
#[derive(Debug)]
pub(crate) struct Guard {
    socket: Arc<OwnedFd>,
    trouble: Option<Trouble>,
    /// What is to be said about it.
    news: Option<(Level, &'static str)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// It does not read.
    Silent,
    /// It is dead.
    Gone,
}

/// Which of the two processes this is.
pub(crate) enum Side {
    Daemon(Guard),
    Guard(Post),
}

/// Splits the process into a daemon and its guard.
///
/// # Panics
/// When the process has more than one thread.
pub(crate) fn fork() -> io::Result<Side> {
    // Made by the daemon of itself: it can mean nobody else.
    let daemon = sys::open_process(std::process::id())?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    match sys::fork()? {
        ForkResult::Parent { .. } => Ok(Side::Daemon(Guard::new(ours))),
        ForkResult::Child => {
            drop(ours);
            Ok(Side::Guard(Post::new(daemon, theirs)))
        }
    }
}

impl Guard {
    fn new(socket: OwnedFd) -> Guard {
        Guard { socket: Arc::new(socket), trouble: None, news: None }
    }

    /// Where a script that is being started reports itself.
    pub(crate) fn reports(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.socket)
    }

    /// A heartbeat went out, and this is what it leaves.
    pub(crate) fn renew(&mut self, until: Instant, reset: Instant, farewell: &[(MediumId, Frame)]) {
        self.tell(&Word::Renewed(Renewal { until, reset, farewell: farewell.to_vec() }));
    }

    /// A resource may be up from now on; false if the guard does not take it, and then it must not be started.
    pub(crate) fn hold(&mut self, run: &ResourceRun) -> bool {
        self.tell(&Word::Held(Held::new(run.group, &run.resource, run.limit)));
        // Without a guard it is as it was on 3.0.6, which is better than no service.
        self.trouble != Some(Trouble::Silent)
    }

    /// Nothing of a resource is up any more.
    pub(crate) fn gone(&mut self, group: GroupId, word: &str) {
        self.tell(&Word::Gone { group, word: word.to_owned() });
    }

    /// A script is over.
    pub(crate) fn over(&mut self, op: OpId) {
        self.tell(&Word::Over { op });
    }

    /// The watchdog has another time-out.
    pub(crate) fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.tell(&Word::Timeout(timeout));
    }

    /// The log goes elsewhere.
    pub(crate) fn turn_log(&mut self, targets: Targets) {
        self.tell(&Word::Log(targets));
    }

    /// The daemon ends in order: nothing of it is up.
    pub(crate) fn dismiss(mut self) {
        self.tell(&Word::Farewell);
    }

    /// What is to be said about the guard, once.
    pub(crate) fn news(&mut self) -> Option<(Level, &'static str)> {
        self.news.take()
    }

    fn tell(&mut self, word: &Word) {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let trouble = loop {
            match send(self.socket.as_raw_fd(), &word.encode(), flags) {
                Ok(_) => break None,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN | Errno::ENOBUFS) => break Some(Trouble::Silent),
                Err(_) => break Some(Trouble::Gone),
            }
        };
        if std::mem::replace(&mut self.trouble, trouble) != trouble {
            self.news = Some(match trouble {
                None => (Level::Info, "the guard answers again"),
                Some(Trouble::Silent) => {
                    (Level::Error, "THE GUARD DOES NOT READ: no resource is started until it does")
                }
                Some(Trouble::Gone) => {
                    (Level::Crit, "THE GUARD IS GONE: if this daemon dies its resources stay up; restart heartbeat")
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hb_core::Verb;
    use hb_core::config::{Resource, ScriptCall, ScriptClass, Span};
    use nix::sys::socket::recv;

    fn pair() -> (Guard, OwnedFd) {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
        (Guard::new(ours), theirs)
    }

    fn run() -> ResourceRun {
        let call = ScriptCall {
            name: "Web".into(),
            args: vec![],
            class: ScriptClass::Heartbeat,
            word: "Web".into(),
            span: Span::FILE,
        };
        let (resource, limit) = (Resource::Script(call), Duration::from_mins(5));
        ResourceRun { group: GroupId(0), resource, verb: Verb::Start, limit }
    }

    #[test]
    fn a_guard_that_does_not_read_holds_up_nobody_and_lets_nothing_be_started() {
        let (mut guard, theirs) = pair();
        assert!(guard.hold(&run()));
        let mut told = 0;
        while guard.trouble.is_none() {
            guard.renew(Instant::ORIGIN, Instant::ORIGIN, &[]);
            told += 1;
            assert!(told < 1_000_000, "bounded");
        }
        assert!(told > 100, "a busy moment is no trouble: {told}");
        assert!(!guard.hold(&run()));
        assert!(guard.news().is_some_and(|(level, _)| level == Level::Error));
        assert_eq!(guard.news(), None, "said once");

        let mut packet = [0; 256];
        while recv(theirs.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT).is_ok() {}
        assert!(guard.hold(&run()));
        assert!(guard.news().is_some_and(|(level, _)| level == Level::Info));
    }

    #[test]
    fn without_its_guard_a_daemon_says_so_and_goes_on() {
        let (mut guard, theirs) = pair();
        drop(theirs);
        assert!(guard.hold(&run()));
        assert!(guard.news().is_some_and(|(level, _)| level == Level::Crit));
        guard.dismiss();
    }
}
