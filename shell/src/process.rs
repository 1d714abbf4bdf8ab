//! Resource scripts under way: their output, their end, their time limit (CLUSTER d).
//!
//! ```text
//! Starting --started--> Running --limit: SIGTERM--> Ending --grace: SIGKILL--> Killed --grace--> given up
//!     |                    |                           |                         |
//!     +--not found         +-------- SIGCHLD ----------+----------- SIGCHLD -----+--> finished
//! ```
//!
//! Invariants:
//! - every operation ends in exactly one [`Finished`], whatever the script does,
//! - a script is over when its own process is; what it left in the background may keep our pipe as long as it likes. We
//!   read on, since a service started by a sloppy script would otherwise be killed by its first line of output,
//! - output beyond [`OUTPUT_MAX`] is read and its beginning forgotten.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use hb_core::ids::OpId;
use hb_core::time::Instant;
use mio::unix::pipe;
use mio::{Interest, Registry, Token};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use slab::Slab;

pub use crate::launcher::Manner;
use crate::launcher::{Launcher, Running, Start, StartError, Started};
use crate::unfinished::Effort;

/// How much of each output stream is kept, counted from its end; status words and error messages are far shorter.
pub const OUTPUT_MAX: usize = 16 * 1024;
/// How long a script may take to end after SIGTERM, and to vanish after SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// How much is read from one pipe in one turn of the loop.
const READ_PER_TURN: usize = 64 * 1024;
/// How many pipes that background processes keep are read on; beyond that the oldest are closed.
const ABANDONED_MAX: usize = 256;

/// A script to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptRun {
    /// The operation that its end is reported under.
    pub op: OpId,
    /// The name of the script, or an absolute path.
    pub script: String,
    /// Its arguments, the action not among them.
    pub args: Vec<String>,
    /// The last argument: `start`, `stop`, `status` ...
    pub action: String,
    /// Variables for this run beyond those of [`script_env`](crate::script_env).
    pub env: Vec<(String, String)>,
    /// How long it may take.
    pub limit: Duration,
    /// What of a resource it does, if that is to be noted until it has succeeded.
    pub effort: Option<Effort>,
}

/// News about a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It runs now; the text is the command line as the log shows it (`Running PATH ARGS ACTION`).
    Started(OpId, String),
    /// It is over.
    Finished(Finished),
    /// Starts and stops cannot be noted, and go on without; said once.
    Unnoted(String),
}

/// The end of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The operation it was run for.
    pub op: OpId,
    /// How it ended.
    pub end: End,
    /// The last [`OUTPUT_MAX`] bytes of its standard output.
    pub stdout: Vec<u8>,
    /// The last [`OUTPUT_MAX`] bytes of its error output.
    pub stderr: Vec<u8>,
    /// From the order to the end.
    pub took: Duration,
}

/// How a script ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this exit code.
    Exited(i32),
    /// By a signal that was not ours.
    Killed(i32),
    /// Its time limit passed, and it was killed.
    TimedOut,
    /// No directory has an executable file of that name.
    NotFound,
    /// The system would not start it.
    NotStarted(String),
}

/// All scripts under way.
pub struct Scripts {
    launcher: Launcher,
    registry: Registry,
    first_token: usize,
    pipes: Slab<Pipe>,
    abandoned: VecDeque<usize>,
    running: BTreeMap<OpId, Script>,
    /// Killed or late children whose operation is over; they only need to be reaped.
    orphans: Vec<Child>,
    news: VecDeque<News>,
}

struct Pipe {
    op: OpId,
    source: Source,
}

enum Source {
    Out(pipe::Receiver),
    Err(pipe::Receiver),
}

struct Script {
    child: Option<Child>,
    stage: Stage,
    /// When the stage is over at the latest.
    until: Instant,
    ordered: Instant,
    line: String,
    effort: Option<Effort>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting,
    Running,
    Ending,
    Killed,
}

impl Scripts {
    /// Prepares to run scripts in that manner.
    ///
    /// Output arrives under tokens from `first_token` up, without end; `wake` wakes the loop for [`Scripts::on_wake`].
    pub fn new(registry: Registry, first_token: Token, wake: Arc<mio::Waker>, manner: Manner) -> io::Result<Scripts> {
        Ok(Scripts {
            launcher: Launcher::new(manner, wake)?,
            registry,
            first_token: first_token.0,
            pipes: Slab::new(),
            abandoned: VecDeque::new(),
            running: BTreeMap::new(),
            orphans: Vec::new(),
            news: VecDeque::new(),
        })
    }

    /// Runs nothing more; what runs is left to itself.
    pub fn retire(&mut self) {
        self.launcher.close();
    }

    /// Orders a script to be run.
    pub fn run(&mut self, now: Instant, run: ScriptRun) {
        let mut arguments = run.args;
        arguments.push(run.action);
        let script = Script {
            child: None,
            stage: Stage::Starting,
            until: now.plus(run.limit),
            ordered: now,
            line: arguments.join(" "),
            effort: run.effort.clone(),
            stdout: Vec::new(),
            stderr: Vec::new(),
        };
        self.running.insert(run.op, script);
        let start = Start { op: run.op, program: run.script, arguments, variables: run.env, effort: run.effort };
        if !self.launcher.order(start) {
            self.finish(now, run.op, End::NotStarted("too many scripts wait to be started".into()));
        }
    }

    /// Takes what the launcher has started; to be called when the waker woke the loop.
    pub fn on_wake(&mut self, now: Instant) {
        while let Some(Started { op, result, unnoted }) = self.launcher.answer() {
            self.news.extend(unnoted.map(News::Unnoted));
            match result {
                Ok(running) => self.on_started(now, op, running),
                Err(StartError::NotFound) => self.finish(now, op, End::NotFound),
                Err(StartError::System(path, error)) => {
                    self.finish(now, op, End::NotStarted(format!("{}: {error}", path.display())));
                }
            }
        }
    }

    /// Reads output; `token` is one of ours.
    pub fn on_readable(&mut self, token: Token) {
        let Some(key) = token.0.checked_sub(self.first_token) else { return };
        if let Some(pipe) = self.pipes.get_mut(key) {
            let kept = self.running.get_mut(&pipe.op);
            match pipe.read(kept, READ_PER_TURN) {
                Progress::Empty => {}
                Progress::Closed => self.close(key),
                Progress::More => {
                    // Edge-triggered: only a new registration announces what is still there.
                    let (token, interest) = (Token(self.first_token + key), Interest::READABLE);
                    let source = pipe.source.pipe();
                    if self.registry.reregister(source, token, interest).is_err() {
                        self.close(key);
                    }
                }
            }
        }
    }

    /// Looks which scripts are over; to be called on SIGCHLD.
    pub fn on_child(&mut self, now: Instant) {
        self.orphans.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        let over: Vec<OpId> = self.running.iter().filter(|(_, script)| script.is_over()).map(|(op, _)| *op).collect();
        for op in over {
            self.reap(now, op);
        }
    }

    /// Ends a script as if its time were over; its end comes as news all the same.
    pub fn end(&mut self, op: OpId, now: Instant) {
        if let Some(script) = self.running.get_mut(&op) {
            script.until = now;
            self.on_time(now);
        }
    }

    /// The next time at which [`Scripts::on_time`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.running.values().map(|script| script.until).min()
    }

    /// Enforces time limits.
    pub fn on_time(&mut self, now: Instant) {
        let late: Vec<OpId> =
            self.running.iter().filter(|(_, script)| script.until <= now).map(|(op, _)| *op).collect();
        for op in late {
            let Some(script) = self.running.get_mut(&op) else { continue };
            match script.stage {
                Stage::Running => script.signal(Signal::SIGTERM, Stage::Ending, now),
                Stage::Ending => script.signal(Signal::SIGKILL, Stage::Killed, now),
                // Not even started, or stuck in the kernel: we wait no longer, and its result will come too late.
                Stage::Starting | Stage::Killed => {
                    self.orphans.extend(script.child.take());
                    self.finish(now, op, End::TimedOut);
                }
            }
        }
    }

    /// Takes the next piece of news.
    pub fn next_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    fn on_started(&mut self, now: Instant, op: OpId, running: Running) {
        let Running { path, mut child } = running;
        let Some(script) = self.running.get_mut(&op) else {
            // Its time was over before it began.
            kill_group(&child, Signal::SIGKILL);
            self.orphans.push(child);
            return;
        };
        let sources = [
            child.stdout.take().map(|stdout| Source::Out(stdout.into())),
            child.stderr.take().map(|stderr| Source::Err(stderr.into())),
        ];
        script.child = Some(child);
        script.stage = Stage::Running;
        self.news.push_back(News::Started(op, format!("{} {}", path.display(), script.line)));
        for source in sources.into_iter().flatten() {
            let mut pipe = Pipe { op, source };
            let entry = self.pipes.vacant_entry();
            let (token, interest) = (Token(self.first_token + entry.key()), Interest::READABLE);
            let source = pipe.source.pipe();
            // Without it we know less; the script runs all the same.
            if source.set_nonblocking(true).is_ok() && self.registry.register(source, token, interest).is_ok() {
                entry.insert(pipe);
            }
        }
        // It may be over already, and its SIGCHLD was for a process that we did not know.
        self.on_child(now);
    }

    fn reap(&mut self, now: Instant, op: OpId) {
        let Some(script) = self.running.get_mut(&op) else { return };
        let Some(mut child) = script.child.take() else { return };
        let timed_out = script.stage != Stage::Running;
        if timed_out {
            // The script obeyed; what it has started may not have. Before reaping, the number is still its own.
            kill_group(&child, Signal::SIGKILL);
        }
        let end = match child.wait() {
            _ if timed_out => End::TimedOut,
            Ok(status) => End::from(status),
            Err(error) => End::NotStarted(error.to_string()),
        };
        self.finish(now, op, end);
    }

    fn finish(&mut self, now: Instant, op: OpId, end: End) {
        let Some(mut script) = self.running.remove(&op) else { return };
        if let (End::Exited(0), Some(effort)) = (&end, script.effort.take()) {
            self.launcher.succeeded(effort.resource);
        }
        let pipes: Vec<usize> = self.pipes.iter().filter(|(_, pipe)| pipe.op == op).map(|(key, _)| key).collect();
        for key in pipes {
            match self.pipes[key].read(Some(&mut script), READ_PER_TURN) {
                Progress::Closed => self.close(key),
                Progress::Empty | Progress::More => self.abandoned.push_back(key),
            }
        }
        while self.abandoned.len() > ABANDONED_MAX {
            self.abandoned.front().copied().into_iter().for_each(|key| self.close(key));
        }
        let took = now.since(script.ordered);
        self.news.push_back(News::Finished(Finished { op, end, stdout: script.stdout, stderr: script.stderr, took }));
    }

    fn close(&mut self, key: usize) {
        self.abandoned.retain(|other| *other != key);
        if let Some(mut pipe) = self.pipes.try_remove(key) {
            // Closing the descriptor removes it from the poll as well.
            let _: io::Result<()> = self.registry.deregister(pipe.source.pipe());
        }
    }
}

impl Script {
    /// Whether its process has ended; it stays a zombie, so that its number cannot be given away yet.
    fn is_over(&self) -> bool {
        let Some(child) = &self.child else { return false };
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        !matches!(waitid(Id::Pid(pid(child)), flags), Ok(WaitStatus::StillAlive))
    }

    fn signal(&mut self, signal: Signal, stage: Stage, now: Instant) {
        self.child.iter().for_each(|child| kill_group(child, signal));
        self.stage = stage;
        self.until = now.plus(GRACE);
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

fn kill_group(child: &Child, signal: Signal) {
    // The only failure is that nobody is left in the group.
    let _: nix::Result<()> = killpg(pid(child), signal);
}

impl From<ExitStatus> for End {
    fn from(status: ExitStatus) -> End {
        match status.code() {
            Some(code) => End::Exited(code),
            None => End::Killed(status.signal().unwrap_or(0)),
        }
    }
}

enum Progress {
    Empty,
    More,
    Closed,
}

impl Source {
    fn pipe(&mut self) -> &mut pipe::Receiver {
        match self {
            Source::Out(pipe) | Source::Err(pipe) => pipe,
        }
    }
}

impl Pipe {
    /// Reads up to `budget` bytes and keeps them with the script, if that is still under way.
    fn read(&mut self, script: Option<&mut Script>, budget: usize) -> Progress {
        let mut kept = script.map(|script| match self.source {
            Source::Out(_) => &mut script.stdout,
            Source::Err(_) => &mut script.stderr,
        });
        let mut chunk = [0; 4096];
        let mut total = 0;
        while total < budget {
            match self.source.pipe().read(&mut chunk) {
                Ok(0) => return Progress::Closed,
                Ok(length) => {
                    total += length;
                    if let Some(kept) = &mut kept {
                        keep_tail(kept, &chunk[..length]);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Progress::Empty,
                Err(_) => return Progress::Closed,
            }
        }
        Progress::More
    }
}

fn keep_tail(kept: &mut Vec<u8>, chunk: &[u8]) {
    kept.extend_from_slice(chunk);
    if let Some(surplus) = kept.len().checked_sub(OUTPUT_MAX) {
        kept.drain(..surplus);
    }
}

#[cfg(test)]
mod tests;
