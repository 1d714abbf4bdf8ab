//! The guard's own process: it listens, and acts once.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::mem::ManuallyDrop;
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use hb_core::config::{Config, watchdog};
use hb_core::ids::{GroupId, OpId};
use hb_core::time::Instant;
use hb_core::{Level, Outcome, Urgency};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use nix::errno::Errno;
use nix::libc::{SIGCHLD, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use nix::sys::signal::Signal;
use nix::sys::socket::{MsgFlags, recv};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use signal_hook_mio::v1_0::Signals;

use super::release::{Release, Step};
use super::watchdog::Watchdog;
use super::word::{Held, Renewal, Word};
use crate::calls::{meaning, script_run};
use crate::log::{Log, Targets};
use crate::net::netlink::Netlink;
use crate::net::vip;
use crate::pid_file::PidFile;
use crate::process::{Manner, News, Scripts};
use crate::timer::Timer;
use crate::transport::serial::Serial;
use crate::transport::udp::Udp;
use crate::{clock, orphans, realtime, sys};

/// What the process is called: `killall heartbeat` does not mean it, and a daemon that starts knows it by that.
pub(crate) const NAME: &str = "heartbeat-guard";

mod token {
    use mio::Token;
    pub(super) const SOCKET: Token = Token(0);
    pub(super) const TIMER: Token = Token(1);
    pub(super) const SIGNALS: Token = Token(2);
    pub(super) const LAUNCHER: Token = Token(3);
    pub(super) const SERIAL: Token = Token(16);
    pub(super) const SCRIPTS: Token = Token(1024);
}

/// The longest word: 64 media with a frame each.
const WORD_MAX: usize = 128 * 1024;
/// A guard that was itself run so late cannot tell a stuck daemon from a machine that stood still ...
const LATE: Duration = Duration::from_millis(100);
/// ... and gives the daemon so long to speak; what a late wake means is the core's business.
const MERCY: Duration = Duration::from_millis(300);
/// A datagram may be lost, and nobody answers for the dead: so the farewell is said this long apart.
const REPEATS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(100), Duration::from_millis(150)];
/// How long a serial line may take for one message.
const LINE_PATIENCE: Duration = Duration::from_secs(5);

/// The guard's end of what [`fork`](super::fork) made.
pub(crate) struct Post {
    /// The daemon, whatever becomes of its number.
    daemon: OwnedFd,
    socket: OwnedFd,
}

/// What the guard takes over from the daemon that forks it.
pub(crate) struct Surroundings<'a> {
    pub(crate) config: &'a Config,
    pub(crate) targets: Targets,
    /// How it stops scripts.
    pub(crate) manner: Manner,
    pub(crate) realtime: bool,
    pub(crate) pid_file: PidFile,
}

/// Why the guard no longer listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The daemon ended in order.
    Farewell,
    /// It is dead.
    Dead,
    /// It is alive and says nothing.
    Stuck,
}

/// The guard at work.
struct Watch<'a> {
    post: Post,
    config: &'a Config,
    poll: Poll,
    timer: Timer,
    /// Never dropped: the handlers outlive it, and would write into a closed pipe, which is another signal.
    signals: ManuallyDrop<Signals>,
    scripts: Scripts,
    netlink: Netlink,
    udp: Udp,
    log: Log,
    held: Vec<Held>,
    /// Scripts under way: the number of their process, and what means it for certain.
    running: BTreeMap<OpId, (Pid, OwnedFd)>,
    renewal: Option<Renewal>,
    timeout: Option<Duration>,
    watchdog: Option<Watchdog>,
    /// Until when a daemon may speak that was found silent by a guard that was late itself.
    mercy: Option<Instant>,
    packet: Box<[u8]>,
}

impl Post {
    pub(super) fn new(daemon: OwnedFd, socket: OwnedFd) -> Post {
        Post { daemon, socket }
    }

    /// Guards until the daemon ends, and then does what is to be done; gives the exit status.
    pub(crate) fn keep(self, from: Surroundings<'_>) -> u8 {
        let pid_file = from.pid_file;
        let (config, targets, realtime) = (from.config, from.targets, from.realtime);
        let mut watch = match Watch::begin(self, config, &targets, from.manner) {
            Ok(watch) => watch,
            Err(error) => {
                eprintln!("heartbeat: no guard: {error}");
                pid_file.leave();
                return 1;
            }
        };
        if realtime {
            // What is missing the daemon says, too.
            let _said = realtime::enter(realtime::Priority(config.rtprio()), 0);
        }
        let verdict = watch.listen();
        let since = clock::now();
        if verdict == Verdict::Farewell || (watch.renewal.is_none() && watch.held.is_empty()) {
            watch.disarm();
            pid_file.leave();
            watch.log.close();
            return 0;
        }
        pid_file.sign();
        let is_clean = watch.release(verdict, since);
        watch.scripts.retire();
        if is_clean {
            watch.disarm();
            watch.say_farewell();
            // Removes it: a daemon that waits for that goes on.
            drop(pid_file);
        } else {
            pid_file.leave();
        }
        watch.log.close();
        u8::from(!is_clean)
    }
}

impl<'a> Watch<'a> {
    fn begin(post: Post, config: &'a Config, targets: &Targets, manner: Manner) -> io::Result<Watch<'a>> {
        let poll = Poll::new()?;
        // Caught, not ignored: what is ignored would be ignored by scripts as well.
        let deaf = [SIGCHLD, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];
        let mut signals = Signals::new(deaf)?;
        poll.registry().register(&mut signals, token::SIGNALS, Interest::READABLE)?;
        setsid()?;
        nix::sys::prctl::set_name(c"heartbeat-guard")?;
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        if !targets.stderr {
            // Whoever started the daemon reads this until it is closed.
            dup2_stderr(&null)?;
        }
        let log = Log::open(config.local_name(), targets).map_err(io::Error::other)?;
        let mut timer = Timer::new()?;
        poll.registry().register(&mut timer, token::TIMER, Interest::READABLE)?;
        let socket = post.socket.as_raw_fd();
        poll.registry().register(&mut SourceFd(&socket), token::SOCKET, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), token::LAUNCHER)?);
        let registry = poll.registry().try_clone()?;
        let scripts = Scripts::new(registry, token::SCRIPTS, waker, manner)?;
        Ok(Watch {
            post,
            config,
            timer,
            signals: ManuallyDrop::new(signals),
            scripts,
            netlink: Netlink::open()?,
            udp: Udp::senders(config.media()),
            log,
            held: Vec::new(),
            running: BTreeMap::new(),
            renewal: None,
            timeout: watchdog::timeout(&config.timing()),
            watchdog: None,
            mercy: None,
            packet: vec![0; WORD_MAX].into(),
            poll,
        })
    }

    // --- as long as the daemon lives

    fn listen(&mut self) -> Verdict {
        loop {
            self.wait(self.next_deadline());
            if let Some(verdict) = self.hear() {
                return verdict;
            }
            let now = clock::now();
            self.feed(now);
            if self.is_overdue(now) {
                return Verdict::Stuck;
            }
        }
    }

    fn next_deadline(&self) -> Instant {
        let Some(renewal) = &self.renewal else { return Instant::FAR_FUTURE };
        let until = self.mercy.unwrap_or(renewal.until);
        self.last_meal().map_or(until, |at| at.min(until))
    }

    /// When the watchdog is to be fed for the last time, if that is still to come.
    fn last_meal(&self) -> Option<Instant> {
        self.watchdog.as_ref().and_then(Watchdog::last_meal)
    }

    /// Whether the daemon is stuck.
    fn is_overdue(&mut self, now: Instant) -> bool {
        let Some(renewal) = &self.renewal else { return false };
        match self.mercy {
            _ if now < renewal.until => false,
            Some(mercy) => now >= mercy,
            None if now.since(renewal.until) > LATE => {
                self.mercy = Some(now.plus(MERCY));
                false
            }
            None => true,
        }
    }

    /// Sleeps until something happens.
    fn wait(&mut self, deadline: Instant) -> Vec<Token> {
        let mut events = Events::with_capacity(64);
        // A timer that cannot be set would never end the sleep.
        let patience = self.timer.arm(deadline).err().map(|_| MERCY);
        match self.poll.poll(&mut events, patience) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Nothing that could be said or done about it; and never a loop without a pause.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
        self.signals.pending().for_each(drop);
        events.iter().map(mio::event::Event::token).collect()
    }

    /// Takes all that the daemon has said.
    fn hear(&mut self) -> Option<Verdict> {
        loop {
            match recv(self.post.socket.as_raw_fd(), &mut self.packet, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return Some(Verdict::Dead),
                Ok(length) => match self.packet.get(..length).and_then(Word::decode) {
                    Some(Word::Farewell) => return Some(Verdict::Farewell),
                    Some(word) => self.take_in(word),
                    None => self.log.line(Level::Error, "the guard does not understand a word of its daemon"),
                },
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return None,
                Err(_) => return Some(Verdict::Dead),
            }
        }
    }

    fn take_in(&mut self, word: Word) {
        match word {
            Word::Renewed(renewal) => {
                if self.renewal.is_none() {
                    self.arm();
                }
                let (now, reset) = (clock::now(), renewal.reset);
                self.note_watchdog(|watchdog| watchdog.renew(now, reset));
                self.renewal = Some(renewal);
                self.mercy = None;
            }
            Word::Held(held) => {
                if !self.held.iter().any(|other| (other.group, &other.word) == (held.group, &held.word)) {
                    self.held.push(held);
                }
            }
            Word::Gone { group, word } => self.held.retain(|held| (held.group, &held.word) != (group, &word)),
            Word::Started { op, pid } => {
                // One that is over already needs no watching.
                if let Ok(process) = sys::open_process(pid) {
                    self.running.insert(op, (Pid::from_raw(pid.cast_signed()), process));
                }
            }
            Word::Over { op } => drop(self.running.remove(&op)),
            Word::Timeout(timeout) => self.set_timeout(timeout),
            Word::Log(targets) => {
                let _turned = self.log.turn_to(targets);
            }
            Word::Farewell => {}
        }
    }

    // --- the watchdog

    /// Arms the device that is configured; without it everything else goes on, as in 3.0.6.
    fn arm(&mut self) {
        let (Some(path), Some(timeout)) = (self.config.watchdog(), self.timeout) else { return };
        match Watchdog::open(path.into(), timeout) {
            Ok(watchdog) => {
                let text =
                    format!("watchdog {path} resets this machine unless it is fed within {} s", timeout.as_secs());
                self.log.line(Level::Info, text);
                self.watchdog = Some(watchdog);
            }
            Err(error) => self.log.line(Level::Error, format!("Cannot open watchdog device: {path}: {error}")),
        }
    }

    fn feed(&mut self, now: Instant) {
        if self.last_meal().is_some_and(|at| at <= now) {
            self.note_watchdog(|watchdog| watchdog.feed_last(now));
        }
    }

    fn set_timeout(&mut self, timeout: Option<Duration>) {
        if self.timeout == timeout {
            return;
        }
        self.timeout = timeout;
        match timeout {
            Some(timeout) => self.note_watchdog(|watchdog| watchdog.set(timeout)),
            None if self.watchdog.is_some() => {
                self.log.line(Level::Error, "deadtime is now too short for the watchdog, which is not used any more");
                self.disarm();
            }
            None => {}
        }
    }

    /// Does something with the watchdog, if there is one, and says what goes wrong.
    fn note_watchdog(&mut self, act: impl FnOnce(&mut Watchdog) -> io::Result<()>) {
        let Some(watchdog) = &mut self.watchdog else { return };
        if let Err(error) = act(watchdog) {
            self.log.line(Level::Error, format!("watchdog {}: {error}", watchdog.path().display()));
        }
    }

    fn disarm(&mut self) {
        let Some(watchdog) = self.watchdog.take() else { return };
        let path = watchdog.path().to_owned();
        if let Err(error) = watchdog.disarm() {
            self.log.line(Level::Error, format!("watchdog {} cannot be disarmed: {error}", path.display()));
        }
    }

    // --- when it is dead

    /// Brings down all that the daemon may have left; whether nothing is left.
    fn release(&mut self, verdict: Verdict, since: Instant) -> bool {
        if verdict == Verdict::Stuck {
            // It must never act again, however far it comes. One that is dead meanwhile needs no killing.
            let _dead: io::Result<()> = sys::signal_process(&self.post.daemon, Signal::SIGKILL as i32);
            // What it said in its last moment counts.
            let _closed = self.hear();
        }
        let killed = self.end_scripts();
        let mut release = Release::new(std::mem::take(&mut self.held));
        let held = release.addresses();
        for (group, word, address) in held.clone() {
            match vip::remove_address(&mut self.netlink, address) {
                Ok(()) => release.is_down(group, &word),
                Err(error) => {
                    self.log.line(Level::Error, format!("{word}: {error}"));
                    release.failed(clock::now(), group);
                }
            }
        }
        let took = clock::now().since(since);
        let what = match verdict {
            Verdict::Stuck => "is stuck, and was killed",
            _ => "is dead",
        };
        let text =
            format!("The daemon {what}: its addresses are removed ({} us), its scripts are stopped.", took.as_micros());
        self.log.line(Level::Crit, text);
        for _script in orphans::wait_for(&killed) {
            self.log.line(Level::Error, "a script that was killed does not vanish");
        }
        let is_gone = verdict != Verdict::Stuck || self.see_off(&held);
        while !release.is_over() {
            self.drive(&mut release);
        }
        let took = clock::now().since(since);
        let stuck = release.stuck();
        if stuck.is_empty() {
            self.log.line(Level::Info, format!("All HA resources relinquished ({} ms).", took.as_millis()));
        }
        for word in &stuck {
            let text =
                format!("Resource STOP failure ({word}): it may still run. The peers are not told. Reboot required!");
            self.log.line(Level::Crit, text);
        }
        stuck.is_empty() && is_gone
    }

    /// Waits until a killed daemon is gone, and removes what the kernel was just adding for it: that may have come after we
    /// looked. Whether it is gone; while it is not nobody may be told that nothing is left.
    fn see_off(&mut self, held: &[(GroupId, String, IpAddr)]) -> bool {
        if !orphans::wait_for([&self.post.daemon]).is_empty() {
            self.log.line(
                Level::Crit,
                "The daemon was killed and does not vanish. The peers are not told. Reboot required!",
            );
            return false;
        }
        for (_, word, address) in held {
            if let Err(error) = vip::remove_address(&mut self.netlink, *address) {
                self.log.line(Level::Error, format!("{word}: {error}"));
                return false;
            }
        }
        true
    }

    /// Kills the scripts that the daemon had under way, so that none of them finishes a start after the stop.
    fn end_scripts(&mut self) -> Vec<OwnedFd> {
        let running = std::mem::take(&mut self.running).into_values();
        running.filter(|(group, script)| orphans::kill(*group, script)).map(|(_, script)| script).collect()
    }

    fn drive(&mut self, release: &mut Release) {
        let now = clock::now();
        while let Some(step) = release.next(now) {
            match step {
                Step::Address { group, word, address } => match vip::remove_address(&mut self.netlink, address) {
                    Ok(()) => self.is_down(release, group, &word),
                    Err(error) => {
                        self.log.line(Level::Error, format!("{word}: {error}"));
                        release.failed(now, group);
                    }
                },
                Step::Script { op, call, verb, limit } => self.scripts.run(now, script_run(op, &call, verb, limit)),
            }
        }
        if release.is_over() {
            return;
        }
        let others = [release.next_deadline(), self.scripts.next_deadline(), self.last_meal()];
        let tokens = self.wait(others.into_iter().flatten().min().unwrap_or(Instant::FAR_FUTURE));
        let now = clock::now();
        self.feed(now);
        self.scripts.on_wake(now);
        self.scripts.on_child(now);
        for token in tokens.into_iter().filter(|token| *token >= token::SCRIPTS) {
            self.scripts.on_readable(token);
        }
        self.scripts.on_time(now);
        while let Some(news) = self.scripts.next_news() {
            match news {
                News::Unnoted(why) => self.log.line(Level::Warn, why),
                News::Started(_, line) => self.log.line(Level::Info, format!("Running {line}")),
                News::Finished(finished) => {
                    let Some((class, verb, limit)) = release.order(finished.op) else { continue };
                    let outcome = meaning(&class, verb, limit, &finished);
                    if let Outcome::Failed(failure) = &outcome {
                        self.log.line(Level::Error, format!("{}: {failure}", verb.word()));
                    }
                    if let Some(word) = release.on_done(now, finished.op, &outcome) {
                        self.log.line(Level::Info, format!("{word} is stopped"));
                    }
                }
            }
        }
    }

    fn is_down(&self, release: &mut Release, group: GroupId, word: &str) {
        release.is_down(group, word);
        self.log.line(Level::Info, format!("{word} is removed"));
    }

    /// Tells the peers what an orderly stop would have told them.
    fn say_farewell(&mut self) {
        let Some(renewal) = self.renewal.take() else { return };
        if renewal.farewell.is_empty() {
            let text =
                "The daemon died before it knew what an earlier heartbeat left here. The other nodes are not told.";
            return self.log.line(Level::Warn, text);
        }
        let mut serial = Serial::new(self.config.media(), token::SERIAL);
        serial.tend(clock::now(), self.poll.registry());
        for pause in REPEATS {
            std::thread::sleep(pause);
            for (medium, frame) in &renewal.farewell {
                if serial.has(*medium) && pause.is_zero() {
                    serial.send(*medium, frame.clone(), Urgency::Message);
                } else if !serial.has(*medium) {
                    // A medium that does not carry: the others do.
                    let _change = self.udp.send(*medium, frame);
                }
            }
            if pause.is_zero() {
                self.log.line(Level::Info, "The other nodes are told that this one has given up its resources.");
            }
        }
        let end = clock::now().plus(LINE_PATIENCE);
        while !serial.is_idle() && clock::now() < end {
            // It ignores tokens that are not its own.
            self.wait(end).into_iter().for_each(|token| serial.on_event(token));
        }
    }
}
