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

use hb_core::ids::OpId;
use nix::libc;

use crate::sys;

/// How many starts may wait; the core has one operation per group under way and nobody has so many groups.
const WAITING_MAX: usize = 1024;
/// Variables by which systemd speaks to the daemon alone: a script that passes them on would speak in its name.
pub(crate) const NOT_INHERITED: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// A program to start.
pub(crate) struct Start {
    pub(crate) op: OpId,
    /// A name to look for in the directories, or an absolute path.
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) variables: Vec<(String, String)>,
}

/// The answer to a [`Start`].
pub(crate) struct Started {
    pub(crate) op: OpId,
    pub(crate) result: Result<Running, StartError>,
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
    orders: SyncSender<Start>,
    answers: Receiver<Started>,
}

impl Launcher {
    /// Starts the thread; `wake` is called after each answer. Each script reports itself to the guard, if there is one.
    pub(crate) fn new(
        directories: Vec<PathBuf>,
        environment: Vec<(OsString, OsString)>,
        wake: Arc<mio::Waker>,
        reports: Option<Arc<OwnedFd>>,
    ) -> io::Result<Launcher> {
        // Ours are close-on-exec from birth; this is about what whoever started us has left open. A kernel older than
        // 5.11 does not know the call, and then scripts see those as they would without us.
        let _: io::Result<()> = sys::close_on_exec_from(3);
        let (orders, incoming) = sync_channel::<Start>(WAITING_MAX);
        let (outgoing, answers) = sync_channel(WAITING_MAX);
        std::thread::Builder::new().name("launcher".into()).stack_size(256 * 1024).spawn(move || {
            for start in incoming {
                let op = start.op;
                let result = launch(&directories, &environment, reports.as_ref(), &start);
                if outgoing.send(Started { op, result }).is_err() || wake.wake().is_err() {
                    return;
                }
            }
        })?;
        Ok(Launcher { orders, answers })
    }

    /// Hands in an order; false if too many wait.
    pub(crate) fn order(&self, start: Start) -> bool {
        self.orders.try_send(start).is_ok()
    }

    /// The next answer, if there is one.
    pub(crate) fn answer(&self) -> Option<Started> {
        self.answers.try_recv().ok()
    }
}

fn launch(
    directories: &[PathBuf],
    environment: &[(OsString, OsString)],
    reports: Option<&Arc<OwnedFd>>,
    start: &Start,
) -> Result<Running, StartError> {
    let path = find(directories, &start.program).ok_or(StartError::NotFound)?;
    let run = |program: &OsStr, first: Option<&Path>| {
        let mut command = Command::new(program);
        command.args(first).args(&start.arguments);
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.envs(start.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, so that a time limit ends what the script has started too.
        command.process_group(0);
        if let Some(guard) = reports {
            sys::report_start(&mut command, Arc::clone(guard), start.op);
        }
        command.spawn()
    };
    let child = match run(path.as_os_str(), None) {
        // No `#!` line: 3.0.6 calls scripts from a shell, which then reads the file itself.
        Err(error) if error.raw_os_error() == Some(libc::ENOEXEC) => run(OsStr::new("/bin/sh"), Some(&path)),
        result => result,
    };
    match child {
        Ok(child) => Ok(Running { path, child }),
        Err(error) => Err(StartError::System(path, error)),
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
