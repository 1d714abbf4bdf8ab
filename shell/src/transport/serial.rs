//! Serial lines: terminals that are opened, lost and opened again, and a queue before each. Read WIRE 13 first.
//!
//! Nothing here waits. What a line cannot take now waits in its [`Outbox`], which is bounded and lets heartbeats pass; the
//! terminal itself says when it takes more, and it gets one message at a time, so that hardly anything waits where nothing
//! can pass it. A device that disappears is tried again after one second, then two, four, eight and ten.

use crate::sys;
use hb_core::config::{Medium, MediumKind};
use hb_core::ids::MediumId;
use hb_core::time::Instant;
use hb_core::wire::serial::{Framer, Outbox};
use hb_core::{Frame, Urgency};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serialport::{ClearBuffer, DataBits, FlowControl, Parity, SerialPort as _, StopBits, TTYPort};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

/// The first pause before a device is tried again ...
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// ... and the last: soon enough for whoever plugs it in, and rare enough for the log.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// What is read at once: what a terminal keeps.
const BUFFER: usize = 4096;

/// All serial lines of a node.
#[derive(Debug, Default)]
pub struct Serial {
    lines: Vec<Line>,
    first: usize,
    /// The line that found the last message.
    found: usize,
    /// Lines that went, with what to say about it, or came back.
    changes: VecDeque<(MediumId, Result<(), String>)>,
}

#[derive(Debug)]
struct Line {
    medium: MediumId,
    device: String,
    baud: u32,
    token: Token,
    port: Option<File>,
    framer: Framer,
    /// What was read and not yet looked at: from `taken` to `read`.
    buffer: Box<[u8]>,
    taken: usize,
    read: usize,
    /// Whether there may be something to read that no further event announces.
    is_readable: bool,
    outbox: Outbox,
    /// The message on its way out, and how much of it is out.
    writing: Option<(Frame, usize)>,
    /// When the device is opened next, if it is not open.
    retry: Instant,
    pause: Duration,
    has_failed: bool,
}

impl Serial {
    /// The serial lines among `media`, which are those of the configuration in their order; none is open yet.
    pub fn new(media: &[Medium], first: Token) -> Serial {
        let mut serial = Serial { first: first.0, ..Serial::default() };
        for (medium, described) in (0..).map(MediumId).zip(media) {
            if let MediumKind::Serial { device, baud } = &described.kind {
                let token = Token(first.0 + serial.lines.len());
                serial.lines.push(Line::new(medium, device, *baud, token));
            }
        }
        serial
    }

    /// Whether events of that token are about a serial line.
    pub fn owns(&self, token: Token) -> bool {
        self.position(token).is_some()
    }

    fn position(&self, token: Token) -> Option<usize> {
        token.0.checked_sub(self.first).filter(|position| *position < self.lines.len())
    }

    /// Whether that medium is a serial line.
    pub fn has(&self, medium: MediumId) -> bool {
        self.lines.iter().any(|line| line.medium == medium)
    }

    /// Opens what is to be opened by now.
    pub fn tend(&mut self, now: Instant, registry: &Registry) {
        for line in &mut self.lines {
            // What failed since the last look is tried again in a while.
            if line.port.is_none() && line.retry == Instant::FAR_FUTURE {
                line.retry = now.plus(line.pause);
                line.pause = line.pause.saturating_mul(2).min(PAUSE_MAX);
            }
            if line.port.is_some() || line.retry > now {
                continue;
            }
            match line.open(registry) {
                Ok(()) if std::mem::take(&mut line.has_failed) => self.changes.push_back((line.medium, Ok(()))),
                Ok(()) => {}
                Err(error) => {
                    line.retry = now.plus(line.pause);
                    line.pause = line.pause.saturating_mul(2).min(PAUSE_MAX);
                    self.changes.extend(line.fails(&error));
                }
            }
        }
    }

    /// When to [`tend`](Self::tend) next, if ever.
    pub fn next_deadline(&self) -> Option<Instant> {
        let closed = self.lines.iter().filter(|line| line.port.is_none());
        // A line that has just failed is looked at at once.
        closed.map(|line| if line.retry == Instant::FAR_FUTURE { Instant::ORIGIN } else { line.retry }).min()
    }

    /// A line that went, with what to say about it, or came back.
    pub fn next_change(&mut self) -> Option<(MediumId, Result<(), String>)> {
        self.changes.pop_front()
    }

    /// Something happened to the terminal of that token: it can be read, written, or neither any more.
    pub fn on_event(&mut self, token: Token) {
        let Some(position) = self.position(token) else { return };
        let line = &mut self.lines[position];
        line.is_readable = true;
        let written = line.write();
        self.account(position, written);
    }

    /// Whether something may be waiting that no further event will announce: the poll must not sleep then.
    pub fn is_ready(&self) -> bool {
        self.lines.iter().any(|line| line.is_readable || line.taken < line.read)
    }

    /// Looks for the next message, which [`message`](Self::message) gives then, and names the medium it came by.
    pub fn receive(&mut self) -> Option<MediumId> {
        for step in 1..=self.lines.len() {
            // In turns, so that a flood on one line cannot starve another.
            let position = (self.found + step) % self.lines.len();
            match self.lines[position].receive() {
                Ok(true) => {
                    self.found = position;
                    return Some(self.lines[position].medium);
                }
                Ok(false) => {}
                Err(error) => self.account(position, Err(error)),
            }
        }
        None
    }

    /// The message found last.
    pub fn message(&self) -> &[u8] {
        self.lines.get(self.found).map_or(&[], |line| line.framer.message())
    }

    /// Sends a message as soon as the line takes it; it may be lost if that takes too long.
    pub fn send(&mut self, medium: MediumId, frame: Frame, urgency: Urgency) {
        let Some(position) = self.lines.iter().position(|line| line.medium == medium) else { return };
        let line = &mut self.lines[position];
        if line.port.is_none() {
            return;
        }
        line.outbox.push(frame, urgency);
        let written = line.write();
        self.account(position, written);
    }

    /// Whether nothing waits to be sent on any line that is open.
    pub(crate) fn is_idle(&self) -> bool {
        self.lines.iter().all(|line| line.port.is_none() || (line.outbox.is_empty() && line.writing.is_none()))
    }

    fn account(&mut self, position: usize, result: io::Result<()>) {
        let line = &mut self.lines[position];
        if let Err(error) = result {
            line.close();
            line.retry = Instant::FAR_FUTURE;
            self.changes.extend(line.fails(&error));
        }
    }
}

impl Line {
    fn new(medium: MediumId, device: &str, baud: u32, token: Token) -> Line {
        Line {
            medium,
            device: device.to_owned(),
            baud,
            token,
            port: None,
            framer: Framer::new(),
            buffer: vec![0; BUFFER].into(),
            taken: 0,
            read: 0,
            is_readable: false,
            outbox: Outbox::new(baud),
            writing: None,
            retry: Instant::ORIGIN,
            pause: PAUSE_MIN,
            has_failed: false,
        }
    }

    fn open(&mut self, registry: &Registry) -> io::Result<()> {
        let builder = serialport::new(&self.device, self.baud)
            .data_bits(DataBits::Eight)
            .parity(Parity::None)
            .stop_bits(StopBits::One)
            .flow_control(FlowControl::Hardware);
        let port = TTYPort::open(&builder)?;
        // What came before the line had its speed is noise.
        port.clear(ClearBuffer::All)?;
        let port = File::from(sys::own_descriptor(port));
        // `open` has made it one that waits.
        fcntl(&port, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        registry.register(&mut SourceFd(&port.as_raw_fd()), self.token, Interest::READABLE | Interest::WRITABLE)?;
        self.port = Some(port);
        self.is_readable = true;
        Ok(())
    }

    /// Forgets the device and all that was under way.
    fn close(&mut self) {
        if let Some(port) = self.port.take() {
            // Closing would wait until the other end has taken everything, which may be never.
            let _gone = nix::sys::termios::tcflush(&port, nix::sys::termios::FlushArg::TCIOFLUSH);
        }
        self.framer.reset();
        (self.taken, self.read, self.is_readable) = (0, 0, false);
        self.outbox.clear();
        self.writing = None;
    }

    /// The line does not carry; said once.
    fn fails(&mut self, error: &io::Error) -> Option<(MediumId, Result<(), String>)> {
        let was_known = std::mem::replace(&mut self.has_failed, true);
        (!was_known).then(|| (self.medium, Err(format!("serial {}: {error}; trying again", self.device))))
    }

    /// Whether there is a message now.
    fn receive(&mut self) -> io::Result<bool> {
        loop {
            let mut rest = &self.buffer[self.taken..self.read];
            let found = self.framer.advance(&mut rest);
            self.taken = self.read - rest.len();
            if found {
                // It works: the next failure is a new one.
                self.pause = PAUSE_MIN;
                return Ok(true);
            }
            let Some(port) = self.port.as_mut().filter(|_| self.is_readable) else { return Ok(false) };
            (self.taken, self.read) = (0, 0);
            match port.read(&mut self.buffer) {
                Ok(0) => return Err(io::Error::other("the other end of the terminal was closed")),
                Ok(read) => self.read = read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes as long as the terminal takes something.
    fn write(&mut self) -> io::Result<()> {
        let Some(port) = &mut self.port else { return Ok(()) };
        loop {
            if self.writing.is_none() {
                // A terminal takes kilobytes, and nothing passes them there; it asks for more when few are left.
                if self.outbox.is_empty() || !asks_for_more(port)? {
                    return Ok(());
                }
                self.writing = self.outbox.pop().map(|frame| (frame, 0));
            }
            let Some((frame, done)) = &mut self.writing else { return Ok(()) };
            match port.write(&frame[*done..]) {
                Ok(written) => *done += written,
                // The rest is due when the terminal says so.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if *done >= frame.len() {
                self.writing = None;
            }
        }
    }
}

/// Whether the terminal has hardly anything left to send.
fn asks_for_more(port: &File) -> io::Result<bool> {
    let mut one = [PollFd::new(port.as_fd(), PollFlags::POLLOUT)];
    poll(&mut one, PollTimeout::ZERO)?;
    let ready = one[0].revents().unwrap_or(PollFlags::empty());
    if ready.contains(PollFlags::POLLHUP) {
        return Err(io::Error::other("the other end of the terminal was closed"));
    }
    Ok(ready.contains(PollFlags::POLLOUT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hb_core::config::Span;
    use mio::{Events, Poll};
    use nix::pty::{OpenptyResult, openpty};
    use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};

    /// A directory with the device of a line, and what holds its other end.
    struct Bench {
        device: PathBuf,
        poll: Poll,
        serial: Serial,
        start: Instant,
    }

    impl Bench {
        fn new(name: &str) -> Bench {
            let directory = std::env::temp_dir().join(format!("hb-serial-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&directory).unwrap();
            let device = directory.join("tty");
            let text = device.to_str().unwrap().to_owned();
            let kind = MediumKind::Serial { device: text.clone(), baud: 19200 };
            let medium = Medium { name: text, kind, port: 0, span: Span::FILE };
            let serial = Serial::new(&[medium], Token(80));
            let start = Instant::after_origin(Duration::from_secs(100));
            Bench { device, poll: Poll::new().unwrap(), serial, start }
        }

        fn tend(&mut self, seconds: u64) -> Option<Result<(), String>> {
            let now = self.start.plus(Duration::from_secs(seconds));
            self.serial.tend(now, self.poll.registry());
            self.serial.next_change().map(|(_, change)| change)
        }

        /// Lets events happen until `done` says so.
        fn until<R>(&mut self, mut done: impl FnMut(&mut Serial) -> Option<R>) -> R {
            let mut events = Events::with_capacity(8);
            let begin = std::time::Instant::now();
            loop {
                if let Some(result) = done(&mut self.serial) {
                    return result;
                }
                assert!(begin.elapsed() < Duration::from_secs(10), "in vain");
                self.poll.poll(&mut events, Some(Duration::from_millis(20))).unwrap();
                events.iter().for_each(|event| self.serial.on_event(event.token()));
            }
        }

        fn message(&mut self) -> Vec<u8> {
            self.until(|serial| serial.receive().map(|_| serial.message().to_vec()))
        }
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            let directory = self.device.parent().unwrap();
            std::fs::remove_dir_all(directory).unwrap();
        }
    }

    /// Puts the device of a new line at `path`; the line lasts as long as the result.
    fn plug(path: &Path) -> File {
        let OpenptyResult { master, slave } = openpty(None, None).unwrap();
        let mut raw = tcgetattr(&slave).unwrap();
        cfmakeraw(&mut raw);
        tcsetattr(&slave, SetArg::TCSANOW, &raw).unwrap();
        let name = nix::unistd::ttyname(&slave).unwrap();
        let _absent = std::fs::remove_file(path);
        symlink(name, path).unwrap();
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        File::from(master)
    }

    fn frame(text: &str) -> Frame {
        text.as_bytes().into()
    }

    #[test]
    fn messages_go_both_ways_without_what_surrounds_them() {
        let mut bench = Bench::new("both");
        let mut other = plug(&bench.device);
        assert_eq!(bench.tend(0), None);
        other.write_all(b"noise >>>\r\n~\n>>>\nt=a\n<<<\n>>>\nt=b\n<<<\n").unwrap();
        assert_eq!(bench.message(), b">>>\nt=a\n<<<\n");
        assert_eq!(bench.message(), b">>>\nt=b\n<<<\n");
        assert_eq!(bench.serial.receive(), None);
        bench.serial.send(MediumId(0), frame(">>>\nt=c\n<<<\n"), Urgency::Message);
        let mut got = [0; 64];
        let length = bench.until(|_| other.read(&mut got).ok());
        assert_eq!(&got[..length], b">>>\nt=c\n<<<\n", "no echo, no change of line ends");
    }

    #[test]
    fn a_device_that_goes_is_tried_again_and_comes_back() {
        let mut bench = Bench::new("gone");
        let refused = bench.tend(0).unwrap().unwrap_err();
        assert!(refused.contains("tty: ") && refused.contains("trying again"), "{refused}");
        assert_eq!((bench.tend(1), bench.tend(2)), (None, None), "said once, tried at 1 s");
        let mut other = plug(&bench.device);
        assert_eq!(bench.tend(2), None, "the next attempt is at 3 s");
        assert_eq!(bench.tend(3), Some(Ok(())));
        other.write_all(b">>>\nt=a\n<<<\n>>>\nt=half").unwrap();
        assert_eq!(bench.message(), b">>>\nt=a\n<<<\n");

        drop(other);
        let change = bench.until(|serial| {
            assert_eq!(serial.receive(), None);
            serial.next_change()
        });
        assert!(change.1.unwrap_err().contains("closed"));
        bench.serial.send(MediumId(0), frame("nobody hears it"), Urgency::Heartbeat);
        assert_eq!(bench.tend(10), None);
        assert_eq!(bench.serial.next_deadline(), Some(bench.start.plus(Duration::from_secs(11))));
        let mut other = plug(&bench.device);
        assert_eq!(bench.tend(11), Some(Ok(())));
        other.write_all(b"=gone\n<<<\n>>>\nt=b\n<<<\n").unwrap();
        assert_eq!(bench.message(), b">>>\nt=b\n<<<\n", "the half of before is forgotten");
    }

    #[test]
    fn the_pauses_grow_to_ten_seconds() {
        let mut bench = Bench::new("pauses");
        let mut attempts = Vec::new();
        let mut next = bench.start;
        for _ in 0..8 {
            bench.serial.tend(next, bench.poll.registry());
            let after = bench.serial.next_deadline().unwrap();
            attempts.push(after.since(next).as_secs());
            next = after;
        }
        assert_eq!(attempts, [1, 2, 4, 8, 10, 10, 10, 10]);
    }

    #[test]
    fn a_line_that_takes_nothing_never_blocks_and_lets_the_newest_heartbeat_out_first() {
        let mut bench = Bench::new("full");
        let mut other = plug(&bench.device);
        assert_eq!(bench.tend(0), None);
        let bulk = |number: u32| frame(&format!("{number:01000}\n"));
        (0..1000).for_each(|number| bench.serial.send(MediumId(0), bulk(number), Urgency::Repair));
        (0..3)
            .for_each(|number| bench.serial.send(MediumId(0), frame(&format!("beat {number}\n")), Urgency::Heartbeat));
        let waiting = bench.serial.lines[0].outbox.waiting();
        assert!(waiting < 20 && bench.serial.lines[0].outbox.dropped() > 900, "{waiting}");

        let mut all = String::new();
        let mut got = [0; 4096];
        bench.until(|_| {
            while let Ok(length) = other.read(&mut got) {
                all.push_str(std::str::from_utf8(&got[..length]).unwrap());
            }
            (all.lines().filter(|line| line.starts_with("beat")).count() > 0 && all.lines().count() > waiting)
                .then_some(())
        });
        let lines: Vec<&str> = all.lines().collect();
        let beats: Vec<usize> =
            lines.iter().enumerate().filter(|(_, line)| line.starts_with("beat")).map(|(at, _)| at).collect();
        assert_eq!(beats.len(), 1, "the two older ones were replaced");
        assert_eq!(lines[beats[0]], "beat 2");
        assert!(lines.len() - beats[0] > 2, "it passed what waited");
    }
}
