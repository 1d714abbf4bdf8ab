//! The pid file: at most one daemon per run directory (CLUSTER b.1 (2)).
//!
//! Ours is locked as long as its writer lives, which no crash can falsify. A Heartbeat 3.0.6 does not lock; its file
//! counts while the process it names lives and is called `heartbeat`. Everything else is stale and taken over.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Pid;

/// Why a pid file could not be claimed.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// A daemon runs here.
    #[error("already running [pid {0}]")]
    AlreadyRunning(Pid),
    /// The file cannot be used.
    #[error("cannot write {}: {error}", path.display())]
    System {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// What a pid file says about the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// It runs.
    Alive(Pid),
    /// It ended without removing its file.
    Stale,
    /// There is no file.
    None,
}

/// A claimed pid file; removed when dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// Holds the lock.
    file: File,
}

impl PidFile {
    /// Claims the file for this process, which must be the one that stays (after going to the background).
    ///
    /// While the guard of an earlier daemon still releases what that held, this waits for it, after it has told `waits` its
    /// number: two that handle the same address at once would be worse than a late start.
    pub fn claim(path: &Path, waits: impl FnOnce(Pid)) -> Result<PidFile, PidFileError> {
        let mut waits = Some(waits);
        let system = |error| PidFileError::System { path: path.to_owned(), error };
        let mut patience = 50;
        loop {
            let file = open(path).map_err(system)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    // The lock may be that of somebody who only looks (`holder`), or of a daemon that has not yet
                    // written its number.
                    let pid = read_pid(&file).unwrap_or(Pid::from_raw(0));
                    if is_guard(pid) {
                        waits.take().into_iter().for_each(|waits| waits(pid));
                        std::thread::sleep(Duration::from_millis(20));
                        continue;
                    }
                    if patience == 0 || Path::new(&format!("/proc/{pid}")).exists() {
                        return Err(PidFileError::AlreadyRunning(pid));
                    }
                    patience -= 1;
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                }
                Err(TryLockError::Error(error)) => return Err(system(error)),
            }
            if let Some(pid) = read_pid(&file).filter(|pid| is_heartbeat(*pid)) {
                return Err(PidFileError::AlreadyRunning(pid));
            }
            // Its holder may have removed the file between our opening and locking it.
            if !is_same_file(&file, path) {
                continue;
            }
            let claimed = PidFile { path: path.to_owned(), file };
            claimed.write_own().map_err(system)?;
            return Ok(claimed);
        }
    }

    /// Looks who holds the file, without touching it.
    pub fn holder(path: &Path) -> Holder {
        let Ok(file) = File::open(path) else { return Holder::None };
        let locked = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
        match read_pid(&file) {
            Some(pid) if locked || is_heartbeat(pid) => Holder::Alive(pid),
            Some(_) | None => Holder::Stale,
        }
    }

    /// Puts the number of this process into it, which shares the lock with the one that claimed it.
    pub(crate) fn sign(&self) {
        // Who reads it meanwhile finds the number of a dead process, and waits for the lock.
        let _unsigned: io::Result<()> = self.write_own();
    }

    /// Leaves the file as it is; without another holder it is stale.
    pub(crate) fn leave(self) {
        std::mem::forget(self);
    }

    fn write_own(&self) -> io::Result<()> {
        let mut file = &self.file;
        file.set_len(0)?;
        io::Seek::rewind(&mut file)?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes())
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // The lock goes with the descriptor; a file left behind is stale and harms nobody.
        let _: io::Result<()> = std::fs::remove_file(&self.path);
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o644).open(path)
}

fn read_pid(mut file: &File) -> Option<Pid> {
    let mut text = String::new();
    io::Seek::rewind(&mut file).ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    io::Seek::rewind(&mut file).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 0).map(Pid::from_raw)
}

/// Whether a process of that number lives, is not this one, and has the daemon's name.
fn is_heartbeat(pid: Pid) -> bool {
    pid != Pid::this() && name_of(pid).starts_with("heartbeat")
}

/// Whether the process of that number is a guard at work.
fn is_guard(pid: Pid) -> bool {
    name_of(pid).trim_end() == crate::guard::NAME
}

/// The name of a process that runs. One that is dead keeps its number until it was waited for, which some parents never do.
fn name_of(pid: Pid) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    if stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X'])) {
        return String::new();
    }
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
}

fn is_same_file(file: &File, path: &Path) -> bool {
    let identity = |data: std::fs::Metadata| (data.dev(), data.ino());
    match (file.metadata().map(identity), std::fs::metadata(path).map(identity)) {
        (Ok(ours), Ok(there)) => ours == there,
        (Ok(_) | Err(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("hb-pid-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_process_that_only_waits_to_be_buried_has_no_name() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        assert!(!name_of(pid).is_empty());
        child.kill().unwrap();
        while !name_of(pid).is_empty() {
            std::thread::yield_now();
        }
        assert!(Path::new(&format!("/proc/{pid}")).exists(), "nobody has waited for it");
        child.wait().unwrap();
    }

    #[test]
    fn a_second_claim_names_the_first_and_a_released_file_is_gone() {
        let path = path("second");
        let first = PidFile::claim(&path, |_| panic!("nobody releases anything")).unwrap();
        let error = PidFile::claim(&path, |_| panic!("nobody releases anything")).unwrap_err();
        assert_eq!(error.to_string(), format!("already running [pid {}]", std::process::id()));
        assert_eq!(PidFile::holder(&path), Holder::Alive(Pid::this()));
        drop(first);
        assert_eq!(PidFile::holder(&path), Holder::None);
    }

    #[test]
    fn files_of_the_dead_and_of_strangers_are_stale() {
        let stranger = Sleeper::named("sleep");
        for (name, content) in [("dead", "4194305\n".into()), ("stranger", stranger.pid()), ("junk", "x".into())] {
            let path = path(name);
            std::fs::write(&path, content).unwrap();
            assert_eq!(PidFile::holder(&path), Holder::Stale, "{name}");
            let claimed = PidFile::claim(&path, |_| panic!("nobody releases anything")).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
            drop(claimed);
        }
    }

    #[test]
    fn a_living_original_counts_though_it_locks_nothing() {
        let original = Sleeper::named("heartbeat");
        let path = path("original");
        std::fs::write(&path, original.pid()).unwrap();
        assert!(matches!(
            PidFile::claim(&path, |_| panic!("nobody releases anything")),
            Err(PidFileError::AlreadyRunning(_))
        ));
        assert!(matches!(PidFile::holder(&path), Holder::Alive(_)));
        std::fs::remove_file(path).unwrap();
    }

    /// A process of that name that does nothing.
    struct Sleeper {
        child: Child,
        directory: PathBuf,
    }

    impl Sleeper {
        fn named(name: &str) -> Sleeper {
            let directory = path(&format!("bin-{name}"));
            std::fs::create_dir_all(&directory).unwrap();
            let program = directory.join(name);
            std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
            let child = Command::new(&program).arg("1000").spawn().unwrap();
            // It has its name a moment after it has begun.
            let comm = format!("/proc/{}/comm", child.id());
            while std::fs::read_to_string(&comm).unwrap().trim() != name {
                std::thread::yield_now();
            }
            Sleeper { child, directory }
        }

        fn pid(&self) -> String {
            format!("{}\n", self.child.id())
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
            std::fs::remove_dir_all(&self.directory).unwrap();
        }
    }
}
