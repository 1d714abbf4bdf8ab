//! Programs of `respawn` and `failfast`: started in a thread, since looking up a user and reading a program may wait;
//! stopped by SIGTERM, and by SIGKILL if they do not end. Read CLUSTER g.5 first.

use crate::sys;
use hb_core::ProgramEnd;
use hb_core::ids::ProgramId;
use hb_core::time::Instant;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, User, getgrouplist};
use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// How long a program may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
/// How many starts may wait: more than programs can be configured.
const WAITING_MAX: usize = 256;

struct Order {
    program: ProgramId,
    user: String,
    command: String,
}

type Started = (ProgramId, Result<Child, String>);

struct Run {
    child: Child,
    /// When it is ended by force.
    kill_at: Option<Instant>,
}

/// All programs that run.
pub(crate) struct Programs {
    orders: SyncSender<Order>,
    started: Receiver<Started>,
    running: BTreeMap<ProgramId, Run>,
    /// Told to end before they had begun.
    unwanted: Vec<ProgramId>,
    ended: Vec<(ProgramId, ProgramEnd)>,
}

impl Programs {
    /// Starts the thread; `wake` is called after each start. Working directories are those of the users in `cores`.
    pub(crate) fn new(
        environment: Vec<(OsString, OsString)>,
        cores: PathBuf,
        wake: Arc<mio::Waker>,
    ) -> io::Result<Programs> {
        let (orders, incoming) = sync_channel::<Order>(WAITING_MAX);
        let (outgoing, started) = sync_channel(WAITING_MAX);
        // Programs end with this thread, so it lives as long as the daemon.
        std::thread::Builder::new().name("programs".into()).stack_size(256 * 1024).spawn(move || {
            for order in incoming {
                let result = launch(&environment, &cores, &order).map_err(|error| error.to_string());
                if outgoing.send((order.program, result)).is_err() || wake.wake().is_err() {
                    return;
                }
            }
        })?;
        let (running, unwanted, ended) = (BTreeMap::new(), Vec::new(), Vec::new());
        Ok(Programs { orders, started, running, unwanted, ended })
    }

    /// Orders a program to be started.
    pub(crate) fn start(&mut self, program: ProgramId, user: String, command: String) {
        self.unwanted.retain(|unwanted| *unwanted != program);
        if self.orders.try_send(Order { program, user, command }).is_err() {
            self.ended.push((program, ProgramEnd::NotStarted("too many programs wait to be started".into())));
        }
    }

    /// Asks a program to end.
    pub(crate) fn stop(&mut self, program: ProgramId, now: Instant) {
        match self.running.get_mut(&program) {
            Some(run) => {
                signal(&run.child, Signal::SIGTERM);
                run.kill_at = Some(now.plus(GRACE));
            }
            None => self.unwanted.push(program),
        }
    }

    /// Takes what the thread has started; to be called when the waker woke the loop.
    pub(crate) fn on_wake(&mut self, now: Instant) {
        while let Ok((program, result)) = self.started.try_recv() {
            match result {
                Ok(child) => {
                    self.running.insert(program, Run { child, kill_at: None });
                    if self.unwanted.contains(&program) {
                        self.stop(program, now);
                    }
                }
                Err(why) => self.ended.push((program, ProgramEnd::NotStarted(why))),
            }
        }
        // Some may be over already, and their SIGCHLD was for processes that we did not know.
        self.on_child();
    }

    /// Looks which programs are over; to be called on SIGCHLD.
    pub(crate) fn on_child(&mut self) {
        let ended = &mut self.ended;
        self.running.retain(|program, run| {
            let pid = run.child.id();
            let end = match run.child.try_wait() {
                Ok(None) => return true,
                Ok(Some(status)) => match status.code() {
                    Some(code) => ProgramEnd::Exited { pid, code },
                    None => ProgramEnd::Killed { pid, signal: status.signal().unwrap_or(0) },
                },
                Err(error) => ProgramEnd::NotStarted(error.to_string()),
            };
            ended.push((*program, end));
            false
        });
    }

    /// The next time at which [`Programs::on_time`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.running.values().filter_map(|run| run.kill_at).min()
    }

    /// Ends by force what does not end.
    pub(crate) fn on_time(&mut self, now: Instant) {
        for run in self.running.values_mut().filter(|run| run.kill_at.is_some_and(|at| at <= now)) {
            signal(&run.child, Signal::SIGKILL);
            run.kill_at = None;
        }
    }

    /// The programs that ended since the last call.
    pub(crate) fn ended(&mut self) -> impl Iterator<Item = (ProgramId, ProgramEnd)> {
        self.ended.drain(..)
    }
}

/// To the program and all that it started in its group; nobody may be left there.
fn signal(child: &Child, signal: Signal) {
    let _: nix::Result<()> = killpg(Pid::from_raw(child.id().cast_signed()), signal);
}

fn launch(environment: &[(OsString, OsString)], cores: &Path, order: &Order) -> io::Result<Child> {
    let found = match User::from_name(&order.user)? {
        None => order.user.parse::<u32>().ok().map(|number| User::from_uid(number.into())).transpose()?.flatten(),
        found => found,
    };
    let user = found.ok_or_else(|| io::Error::other(format!("there is no user {}", order.user)))?;
    let name = CString::new(user.name.as_str()).map_err(io::Error::other)?;
    let groups = getgrouplist(&name, user.gid)?;
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(format!("exec {}", order.command));
    for name in crate::launcher::NOT_INHERITED {
        command.env_remove(name);
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let home = cores.join(&user.name);
    command.current_dir(if home.is_dir() { &home } else { Path::new("/") });
    command.process_group(0);
    sys::run_as(&mut command, user.uid, user.gid, groups);
    command.spawn()
}
