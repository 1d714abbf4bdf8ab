//! The log: lines in the original's format to files, syslog and the terminal (CLUSTER j).
//!
//! The loop hands a line to a bounded queue and goes on; a thread of its own waits for the disk. When the queue is full
//! the line is lost and counted, and the log says how many were.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hb_core::Level;
use hb_core::config::Facility;

use crate::sys::{LocalTime, local_time};

/// How many lines may wait for the disk: a start with all its messages ten times over.
const QUEUE_MAX: usize = 2048;
/// How long the end of the program waits for the last lines.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// How long syslog may let its socket be full before a line for it is dropped.
const SYSLOG_LIMIT: Duration = Duration::from_millis(500);
const SYSLOG: &str = "/dev/log";
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn severity(level: Level) -> u8 {
    match level {
        Level::Debug => 7,
        Level::Info => 6,
        Level::Warn => 4,
        Level::Error => 3,
        Level::Crit => 2,
    }
}

/// Where lines go.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// Everything but debug lines.
    pub logfile: Option<PathBuf>,
    /// Everything.
    pub debugfile: Option<PathBuf>,
    /// Everything but debug lines.
    pub facility: Option<Facility>,
    /// Everything; for a daemon in the foreground.
    pub stderr: bool,
}

/// A log file that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {error}", path.display())]
pub struct LogError {
    /// Which one.
    pub path: PathBuf,
    /// What the system said.
    pub error: io::Error,
}

/// The loop's end of the log.
#[derive(Debug)]
pub struct Log {
    queue: SyncSender<Order>,
    shared: Arc<Shared>,
    done: Receiver<()>,
}

#[derive(Debug, Default)]
struct Shared {
    dropped: AtomicU64,
    reopen: AtomicBool,
}

enum Order {
    Line(Line),
    /// From here on lines go there.
    Turn(Targets),
    /// Somebody waits until everything before this is written.
    Tell(SyncSender<()>),
}

struct Line {
    at: SystemTime,
    level: Level,
    text: String,
}

impl Log {
    /// Opens all targets and starts the writer; in the process that stays (after going to the background).
    pub fn open(node: &str, targets: &Targets) -> Result<Log, LogError> {
        let writer = Writer::open(node, targets)?;
        let (queue, lines) = sync_channel(QUEUE_MAX);
        let (finished, done) = sync_channel(1);
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("log".into())
            .stack_size(256 * 1024)
            .spawn(move || {
                writer.run(&lines, &theirs);
                // Nobody waits for this unless the log is being closed.
                let _: Result<(), TrySendError<()>> = finished.try_send(());
            })
            .map_err(|error| LogError { path: PathBuf::from("the log"), error })?;
        Ok(Log { queue, shared, done })
    }

    /// Writes a line, soon and never waiting.
    pub fn line(&self, level: Level, text: impl Into<String>) {
        let line = Line { at: SystemTime::now(), level, text: text.into() };
        if self.queue.try_send(Order::Line(line)).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// From the next line on others are written to; what cannot be opened is said where lines went until then. Whether
    /// there was room to ask for it.
    #[must_use]
    pub fn turn_to(&self, targets: Targets) -> bool {
        self.queue.try_send(Order::Turn(targets)).is_ok()
    }

    /// How many lines were lost and not yet confessed.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Opens the files anew before the next line, for a program that has moved them away.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Relaxed);
    }

    /// Waits until all lines are written, or for `limit`.
    pub fn flush(&self, limit: Duration) {
        let (tell, told) = sync_channel(1);
        if self.queue.try_send(Order::Tell(tell)).is_ok() {
            // Late or not, nothing more can be done for them.
            let _late = told.recv_timeout(limit);
        }
    }

    /// Waits, for two seconds at most, until all lines are written.
    pub fn close(self) {
        drop(self.queue);
        match self.done.recv_timeout(CLOSE_LIMIT) {
            Ok(()) | Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {}
        }
    }
}

/// The thread's end of the log.
struct Writer {
    node: String,
    pid: u32,
    logfile: Option<LogFile>,
    debugfile: Option<LogFile>,
    syslog: Option<Syslog>,
    stderr: bool,
}

impl Writer {
    fn open(node: &str, targets: &Targets) -> Result<Writer, LogError> {
        let open = |path: &Option<PathBuf>| path.as_deref().map(LogFile::open).transpose();
        Ok(Writer {
            node: node.to_owned(),
            pid: std::process::id(),
            logfile: open(&targets.logfile)?,
            debugfile: open(&targets.debugfile)?,
            syslog: targets.facility.map(|facility| Syslog { facility, socket: None }),
            stderr: targets.stderr,
        })
    }

    fn run(mut self, orders: &Receiver<Order>, shared: &Shared) {
        for order in orders {
            let line = match order {
                Order::Line(line) => line,
                Order::Tell(waiting) => {
                    // Whoever asked may wait no longer.
                    let _late = waiting.try_send(());
                    continue;
                }
                Order::Turn(targets) => match Writer::open(&self.node, &targets) {
                    Ok(writer) => {
                        self = writer;
                        continue;
                    }
                    Err(error) => {
                        let text = format!("{error}: the log goes on where it was");
                        Line { at: SystemTime::now(), level: Level::Error, text }
                    }
                },
            };
            if shared.reopen.swap(false, Ordering::Relaxed) {
                self.logfile.iter_mut().chain(&mut self.debugfile).for_each(LogFile::reopen);
            }
            self.write(&line);
            self.confess(shared);
        }
        self.confess(shared);
    }

    fn confess(&mut self, shared: &Shared) {
        let dropped = shared.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let text = format!("{dropped} log lines lost: the writer could not keep up");
            self.write(&Line { at: SystemTime::now(), level: Level::Warn, text });
        }
    }

    fn write(&mut self, line: &Line) {
        let message = message(self.pid, line);
        let seconds = line.at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let full = full_line(local_time(seconds.cast_signed()), &self.node, &message);
        // A log that cannot be written has nowhere to complain; the next line tries again.
        if let Some(file) = &mut self.debugfile {
            file.append(&full);
        }
        if self.stderr {
            let _: io::Result<()> = io::stderr().lock().write_all(full.as_bytes());
        }
        if line.level == Level::Debug {
            return;
        }
        if let Some(file) = &mut self.logfile {
            file.append(&full);
        }
        if let Some(syslog) = &mut self.syslog {
            syslog.send(line.level, &message);
        }
    }
}

/// `heartbeat: [pid]: level: text`, on one line whatever the text holds: it may quote what came from the network.
fn message(pid: u32, line: &Line) -> String {
    let mut message = format!("heartbeat: [{pid}]: {}: ", line.level.word());
    message.extend(line.text.chars().map(|letter| if letter.is_control() && letter != '\t' { ' ' } else { letter }));
    message
}

fn full_line(at: LocalTime, node: &str, message: &str) -> String {
    let mut line = String::with_capacity(message.len() + node.len() + 20);
    writeln!(line, "{} {node} {message}", date(at)).expect("a string grows");
    line
}

fn date(at: LocalTime) -> String {
    let LocalTime { month, day, hour, minute, second } = at;
    let month = MONTHS.get(month).copied().unwrap_or("Jan");
    format!("{month} {day:02} {hour:02}:{minute:02}:{second:02}")
}

/// A time as it stands at the beginning of a line.
pub(crate) fn stamp(time: hb_core::time::UnixTime) -> String {
    date(local_time(time.0.cast_signed()))
}

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: Option<File>,
}

impl LogFile {
    fn open(path: &Path) -> Result<LogFile, LogError> {
        let file = append_to(path).map_err(|error| LogError { path: path.to_owned(), error })?;
        Ok(LogFile { path: path.to_owned(), file: Some(file) })
    }

    fn reopen(&mut self) {
        self.file = append_to(&self.path).ok();
    }

    fn append(&mut self, line: &str) {
        if self.file.is_none() {
            self.reopen();
        }
        // One write a line: with O_APPEND it stays whole beside those of the scripts.
        if let Some(file) = &mut self.file
            && file.write_all(line.as_bytes()).is_err()
        {
            self.file = None;
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o644).open(path)
}

#[derive(Debug)]
struct Syslog {
    facility: Facility,
    socket: Option<UnixDatagram>,
}

impl Syslog {
    fn send(&mut self, level: Level, message: &str) {
        let datagram = format!("<{}>{message}", self.facility.number() * 8 + severity(level));
        // A restarted syslog has a new socket: the second attempt finds it.
        for _ in 0..2 {
            if self.socket.is_none() {
                self.socket = connect().ok();
            }
            match &self.socket {
                Some(socket) if socket.send(datagram.as_bytes()).is_ok() => return,
                Some(_) | None => self.socket = None,
            }
        }
    }
}

fn connect() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(SYSLOG_LIMIT))?;
    socket.connect(SYSLOG)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("hb-log-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_line_looks_as_monitoring_tools_expect() {
        let line = Line { at: UNIX_EPOCH, level: Level::Warn, text: "node beta: is dead".into() };
        let at = LocalTime { month: 10, day: 3, hour: 4, minute: 5, second: 6 };
        let full = full_line(at, "alpha", &message(77, &line));
        assert_eq!(full, "Nov 03 04:05:06 alpha heartbeat: [77]: WARN: node beta: is dead\n");
    }

    #[test]
    fn a_hostile_text_stays_on_its_line() {
        let line = Line { at: UNIX_EPOCH, level: Level::Info, text: "bad\nNov 03 faked\u{1b}[2J".into() };
        assert_eq!(message(1, &line), "heartbeat: [1]: info: bad Nov 03 faked [2J");
    }

    #[test]
    fn debug_lines_go_to_the_debug_file_only_and_reopening_follows_the_name() {
        let (logfile, debugfile, moved) = (path("log"), path("debug"), path("moved"));
        let targets =
            Targets { logfile: Some(logfile.clone()), debugfile: Some(debugfile.clone()), ..Targets::default() };
        let log = Log::open("alpha", &targets).unwrap();
        log.line(Level::Debug, "detail");
        log.line(Level::Info, "first");
        while !std::fs::read_to_string(&logfile).unwrap().contains("first") {
            std::thread::yield_now();
        }
        std::fs::rename(&logfile, &moved).unwrap();
        log.reopen();
        log.line(Level::Crit, "second");
        log.close();
        let texts = |path: &Path| -> Vec<String> {
            let content = std::fs::read_to_string(path).unwrap();
            std::fs::remove_file(path).unwrap();
            content.lines().map(|line| line.rsplit("]: ").next().unwrap().to_owned()).collect()
        };
        assert_eq!(texts(&moved), ["info: first"]);
        assert_eq!(texts(&logfile), ["CRIT: second"]);
        assert_eq!(texts(&debugfile), ["debug: detail", "info: first", "CRIT: second"]);
    }

    #[test]
    fn lost_lines_are_counted_and_confessed() {
        let file = path("lost");
        let writer = Writer::open("alpha", &Targets { logfile: Some(file.clone()), ..Targets::default() }).unwrap();
        let (queue, lines) = sync_channel(2);
        let shared = Arc::new(Shared::default());
        let log = Log { queue, shared: Arc::clone(&shared), done: sync_channel(1).1 };
        // Nobody writes yet: two lines fit.
        (0..5).for_each(|number| log.line(Level::Info, format!("line {number}")));
        assert_eq!(log.dropped(), 3);
        drop(log);
        writer.run(&lines, &shared);
        let content = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(file).unwrap();
        assert!(content.contains("info: line 1\n") && !content.contains("line 2"), "{content}");
        assert!(content.contains("WARN: 3 log lines lost: the writer could not keep up\n"), "{content}");
    }

    #[test]
    fn a_log_file_that_cannot_be_is_named() {
        let targets = Targets { logfile: Some("/proc/no/log".into()), ..Targets::default() };
        let error = Log::open("alpha", &targets).unwrap_err().to_string();
        assert!(error.starts_with("cannot write /proc/no/log: "), "{error}");
    }
}
