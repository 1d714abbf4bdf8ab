//! The thread that starts programs.
//!
//! Starting a program reads it from disk, and until it has been read the thread that starts it stands still; so the
//! loop has this done elsewhere. The thread is in the normal scheduling class, and so is all it starts: the loop's
//! real-time class is not inherited (see [`realtime`](crate::realtime)).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use hb_core::ids::OpId;
use nix::libc;

use crate::sys;
use crate::unfinished::{Effort, Note, Unfinished};

/// How many starts may wait; the core has one operation per group under way and nobody has so many groups.
const WAITING_MAX: usize = 1024;
/// How long the last notes may take.
const LAST_NOTES: Duration = Duration::from_millis(100);
/// Variables by which systemd speaks to the daemon alone: a script that passes them on would speak in its name.
pub(crate) const NOT_INHERITED: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// How scripts are started.
pub struct Manner {
    /// Where they are looked for by name; the first directory that has one wins.
    pub directories: Vec<PathBuf>,
    /// Variables on top of our own.
    pub environment: Vec<(OsString, OsString)>,
    /// The guard, to which each reports itself before it runs.
    pub reports: Option<Arc<OwnedFd>>,
    /// Where starts and stops are noted that nobody has seen succeed.
    pub unfinished: Option<PathBuf>,
}

/// What the thread is told.
enum Order {
    Start(Start),
    /// A start or stop of this resource has succeeded.
    Succeeded(String),
}

/// A program to start.
pub(crate) struct Start {
    pub(crate) op: OpId,
    /// A name to look for in the directories, or an absolute path.
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) variables: Vec<(String, String)>,
    /// What of a resource it does.
    pub(crate) effort: Option<Effort>,
}

/// The answer to a [`Start`].
pub(crate) struct Started {
    pub(crate) op: OpId,
    pub(crate) result: Result<Running, StartError>,
    /// It could not be noted, for the first time since others could.
    pub(crate) unnoted: Option<String>,
}

/// A program that was started.
pub(crate) struct Running {
    pub(crate) path: PathBuf,
    pub(crate) child: Child,
}

/// Why a program was not started.
#[derive(Debug)]
pub(crate) enum StartError {
    NotFound,
    System(PathBuf, io::Error),
}

/// The loop's end of the thread.
pub(crate) struct Launcher {
    /// Until it is closed.
    orders: Option<SyncSender<Order>>,
    answers: Receiver<Started>,
}

impl Launcher {
    /// Starts the thread; `wake` is called after each answer.
    pub(crate) fn new(manner: Manner, wake: Arc<mio::Waker>) -> io::Result<Launcher> {
        // Ours are close-on-exec from birth; this is about what whoever started us has left open. A kernel older than
        // 5.11 does not know the call, and then scripts see those as they would without us.
        let _: io::Result<()> = sys::close_on_exec_from(3);
        let (orders, incoming) = sync_channel(WAITING_MAX);
        let (outgoing, answers) = sync_channel(WAITING_MAX);
        std::thread::Builder::new().name("launcher".into()).stack_size(256 * 1024).spawn(move || {
            let unfinished = manner.unfinished.clone().map(Unfinished::new);
            let mut thread = Thread { manner, unfinished, is_noting: true };
            for order in incoming {
                match order {
                    Order::Start(start) => {
                        if outgoing.send(thread.start(&start)).is_err() || wake.wake().is_err() {
                            return;
                        }
                    }
                    Order::Succeeded(resource) => {
                        thread.unfinished.iter_mut().for_each(|unfinished| unfinished.succeeded(&resource));
                    }
                }
            }
        })?;
        Ok(Launcher { orders: Some(orders), answers })
    }

    /// Hands in an order; false if too many wait.
    pub(crate) fn order(&self, start: Start) -> bool {
        self.orders.as_ref().is_some_and(|orders| orders.try_send(Order::Start(start)).is_ok())
    }

    /// A start or stop of a resource has succeeded. Where that is lost it is stopped once too often.
    pub(crate) fn succeeded(&self, resource: String) {
        let _lost = self.orders.as_ref().map(|orders| orders.try_send(Order::Succeeded(resource)));
    }

    /// Starts nothing more, and lets the thread note what has succeeded; a disk that hangs holds up nobody for long.
    pub(crate) fn close(&mut self) {
        self.orders = None;
        // Until the thread has ended, which nobody has to be told.
        while self.answers.recv_timeout(LAST_NOTES).is_ok() {}
    }

    /// The next answer, if there is one.
    pub(crate) fn answer(&self) -> Option<Started> {
        self.answers.try_recv().ok()
    }
}

/// The thread's own.
struct Thread {
    manner: Manner,
    unfinished: Option<Unfinished>,
    /// Starts and stops could be noted so far.
    is_noting: bool,
}

impl Thread {
    fn start(&mut self, start: &Start) -> Started {
        let op = start.op;
        let Some(path) = find(&self.manner.directories, &start.program) else {
            return Started { op, result: Err(StartError::NotFound), unnoted: None };
        };
        let (note, unnoted) = self.note(start);
        let child = match self.spawn(start, path.as_os_str(), None, note.as_ref()) {
            // No `#!` line: 3.0.6 calls scripts from a shell, which then reads the file itself.
            Err(error) if error.raw_os_error() == Some(libc::ENOEXEC) => {
                self.spawn(start, OsStr::new("/bin/sh"), Some(&path), note.as_ref())
            }
            result => result,
        };
        let result = match child {
            Ok(child) => Ok(Running { path, child }),
            Err(error) => Err(StartError::System(path, error)),
        };
        Started { op, result, unnoted }
    }

    /// Where a script has to write its number, if it does something; and why it is run without, if that is news. A stop must
    /// never be refused, and without a start there is no service.
    fn note(&mut self, start: &Start) -> (Option<Arc<Note>>, Option<String>) {
        let Some((unfinished, effort)) = self.unfinished.as_mut().zip(start.effort.as_ref()) else {
            return (None, None);
        };
        match unfinished.begin(effort) {
            Ok(note) => {
                self.is_noting = true;
                (Some(Arc::new(note)), None)
            }
            Err(error) => {
                let is_news = std::mem::replace(&mut self.is_noting, false);
                (None, is_news.then(|| format!("cannot write in {}: {error}", unfinished.directory().display())))
            }
        }
    }

    fn spawn(
        &self,
        start: &Start,
        program: &OsStr,
        first: Option<&Path>,
        note: Option<&Arc<Note>>,
    ) -> io::Result<Child> {
        let mut command = Command::new(program);
        command.args(first).args(&start.arguments);
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        command.envs(self.manner.environment.iter().map(|(name, value)| (name, value)));
        command.envs(start.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, so that a time limit ends what the script has started too.
        command.process_group(0);
        if let Some(guard) = &self.manner.reports {
            sys::report_start(&mut command, Arc::clone(guard), start.op);
        }
        if let Some(note) = note {
            sys::note_start(&mut command, Arc::clone(note));
        }
        command.spawn()
    }
}

/// The first regular executable file of that name (CLUSTER d.1).
fn find(directories: &[PathBuf], program: &str) -> Option<PathBuf> {
    let executable = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    if program.starts_with('/') {
        return Some(PathBuf::from(program)).filter(executable);
    }
    directories.iter().map(|directory| directory.join(program)).find(executable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn scripts_are_executable_regular_files_and_the_first_directory_wins() {
        let root = std::env::temp_dir().join(format!("hb-find-{}", std::process::id()));
        let dirs = [root.join("resource.d"), root.join("init.d")];
        std::fs::create_dir_all(dirs[0].join("Folder")).unwrap();
        std::fs::create_dir_all(&dirs[1]).unwrap();
        symlink("/bin/true", dirs[0].join("Both")).unwrap();
        symlink("/bin/true", dirs[1].join("Both")).unwrap();
        symlink("/bin/true", dirs[1].join("Folder")).unwrap();
        std::fs::write(dirs[0].join("text"), "no program").unwrap();
        assert_eq!(find(&dirs, "Both"), Some(dirs[0].join("Both")));
        assert_eq!(find(&dirs, "Folder"), Some(dirs[1].join("Folder")));
        assert_eq!(find(&dirs, "text"), None);
        assert_eq!(find(&dirs, "missing"), None);
        assert_eq!(find(&dirs, "/bin/sh"), Some("/bin/sh".into()));
        std::fs::remove_dir_all(root).unwrap();
    }
}
