//! One machine of a laboratory: a thread that lives in namespaces of its own.
//!
//! A thread rather than a process: whatever it is given to do runs in the machine and hands its result back as a value,
//! and a program it starts is a child like any other. A socket opened there stays in the machine's network wherever it is
//! used later.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, sethostname};

use crate::net::netlink::Netlink;
use crate::sys;

type Job = Box<dyn FnOnce() + Send>;

/// How often, a millisecond apart, a dying machine looks for programs that are still there.
const KILL_ROUNDS: usize = 1000;

/// A change of the directory tree that one machine alone sees; the directory must exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// An empty directory in memory over `target`.
    Empty {
        /// The directory that is covered.
        target: PathBuf,
    },
    /// The directory `source` in the place of `target`.
    Bind {
        /// The directory to show.
        source: PathBuf,
        /// The directory that is covered.
        target: PathBuf,
    },
}

/// A machine; its end is the end of its interfaces and of every program in it.
#[derive(Debug)]
pub struct Machine {
    name: String,
    network: OwnedFd,
    jobs: Option<Sender<Job>>,
    resident: Option<JoinHandle<()>>,
}

impl Machine {
    /// Makes a machine called `name` (also its host name), with the loopback interface up and `mounts` done in order.
    ///
    /// The process must have called [`enter`](super::enter).
    pub fn new(name: &str, mounts: &[Mount]) -> io::Result<Machine> {
        let (jobs, work): (Sender<Job>, Receiver<Job>) = channel();
        let (ready, moved_in) = sync_channel(1);
        let (host_name, mounts) = (name.to_owned(), mounts.to_vec());
        let resident = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // The one who waits for this goes away only by a panic.
            let _: Result<(), _> = ready.send(move_in(&host_name, &mounts));
            for job in work {
                job();
            }
        })?;
        let network = moved_in.recv().map_err(io::Error::other)??;
        let machine = Machine { name: name.to_owned(), network, jobs: Some(jobs), resident: Some(resident) };
        let mut netlink = machine.netlink()?;
        let loopback = netlink.link("lo")?;
        netlink.set_up(loopback.index, true)?;
        Ok(machine)
    }

    /// The name, which is also the machine's host name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The network namespace.
    pub fn network_namespace(&self) -> BorrowedFd<'_> {
        self.network.as_fd()
    }

    /// Runs `job` inside the machine and waits for its result; jobs of one machine run one after the other.
    ///
    /// # Panics
    /// When `job` panics.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (result, answer) = sync_channel(1);
        let job = Box::new(move || {
            // Nobody waits for the result any more only if the waiting thread died.
            let _: Result<(), _> = result.send(job());
        });
        let jobs = self.jobs.as_ref().expect("only a dropped machine has no jobs");
        jobs.send(job).expect("the machine's thread ended by a panic");
        answer.recv().expect("the machine's thread ended by a panic")
    }

    /// Starts a program inside the machine; it is killed when the machine or this process ends.
    pub fn spawn(&self, mut command: Command) -> io::Result<Child> {
        sys::die_with_thread(&mut command);
        self.run(move || command.spawn())
    }

    /// Opens a channel to the machine's addresses, links and routes.
    pub fn netlink(&self) -> io::Result<Netlink> {
        self.run(Netlink::open)
    }

    /// The programs that run in the machine's network, however they were started.
    pub fn processes(&self) -> io::Result<Vec<Pid>> {
        let ours = nix::sys::stat::fstat(&self.network)?;
        let mut processes = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            // The process may have ended, or may not be ours to look at: then it is in no namespace of ours.
            let Ok(theirs) = nix::sys::stat::stat(format!("/proc/{pid}/ns/net").as_str()) else { continue };
            if (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino) {
                processes.push(Pid::from_raw(pid));
            }
        }
        Ok(processes)
    }

    /// Kills every program in the machine at once, as a power failure does, and waits until they are gone.
    ///
    /// A child of ours stays visible to its parent as ended, until that waits for it.
    pub fn kill_programs(&self) -> io::Result<()> {
        for _ in 0..KILL_ROUNDS {
            let processes = self.processes()?;
            if processes.is_empty() {
                return Ok(());
            }
            for pid in processes {
                // It may have ended in between.
                let _: nix::Result<()> = kill(pid, Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Programs that detached themselves from their parent are found by their namespace. What cannot be killed
        // within a second stays; a destructor has nobody to tell.
        let _: io::Result<()> = self.kill_programs();
        self.jobs = None;
        if let Some(resident) = self.resident.take() {
            // A panic in a job was already passed on to the one who gave it.
            let _: std::thread::Result<()> = resident.join();
        }
    }
}

/// Moves the calling thread into namespaces of its own and returns that of its network.
fn move_in(name: &str, mounts: &[Mount]) -> io::Result<OwnedFd> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)?;
    sethostname(name)?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    for step in mounts {
        let (target, done) = match step {
            Mount::Empty { target } => {
                (target, mount(Some("tmpfs"), target, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, none))
            }
            Mount::Bind { source, target } => {
                (target, mount(Some(source), target, none, MsFlags::MS_BIND | MsFlags::MS_REC, none))
            }
        };
        done.map_err(|error| io::Error::new(io::Error::from(error).kind(), format!("{}: {error}", target.display())))?;
    }
    Ok(std::fs::File::open("/proc/thread-self/ns/net")?.into())
}
