//! Starts and stops that nobody has seen succeed, on file: what a daemon and its guard that die together leave to the next
//! daemon here.
//!
//! ```text
//! RUN/scripts/7:  BOOT start Web::a b    written before the script has a process; BOOT is the kernel's name of its life
//!                 4711 8123456789        number and time since boot (ns), written by that process before it is the script
//!
//! begun -> written; succeeded -> removed; failed -> stays, until a start or stop of that resource succeeds
//! ```
//!
//! Questions have no file: they change nothing. Invariants:
//! - a process is killed only if it certainly is the script: what has its number now lived when the number was written,
//! - what is left is forgotten only when a stop has succeeded, the machine was rebooted, or haresources no longer has it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hb_core::{Level, Verb};
use nix::unistd::{Pid, SysconfVar, geteuid, sysconf};

use crate::log::Log;
use crate::store::create_directory;
use crate::{orphans, sys};

/// A file of ours is far shorter.
const TEXT_MAX: usize = 16 * 1024;

/// A start or stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effort {
    /// The resource, as haresources writes it.
    pub(crate) resource: String,
    /// [`Verb::Start`] or [`Verb::Stop`].
    pub(crate) verb: Verb,
}

/// Where a script's own process writes its number.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) file: OwnedFd,
    /// After this many bytes.
    pub(crate) at: i64,
}

/// The directory, as its writer knows it.
#[derive(Debug)]
pub(crate) struct Unfinished {
    directory: PathBuf,
    boot: String,
    /// The file of each resource; read when it is first needed, since whoever wrote before has to be dead by then.
    files: Option<BTreeMap<String, u64>>,
}

impl Unfinished {
    pub(crate) fn new(directory: PathBuf) -> Unfinished {
        Unfinished { directory, boot: boot_id(), files: None }
    }

    /// Where the files are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Notes that something is begun.
    pub(crate) fn begin(&mut self, effort: &Effort) -> io::Result<Note> {
        create_directory(&self.directory).map_err(|failed| failed.error)?;
        let files = self.files.get_or_insert_with(|| numbers(&self.directory));
        let next = files.values().max().map_or(0, |number| number.saturating_add(1));
        let number = *files.entry(effort.resource.clone()).or_insert(next);
        let mut options = OpenOptions::new();
        // What it said of an earlier try stays until this one is written over it.
        let file = options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.directory.join(number.to_string()))?;
        let text = format!("{} {} {}\n", self.boot, effort.verb.word(), effort.resource);
        file.write_all_at(text.as_bytes(), 0)?;
        file.set_len(text.len() as u64)?;
        Ok(Note { file: file.into(), at: text.len().try_into().unwrap_or(i64::MAX) })
    }

    /// Notes that a start or stop of a resource has succeeded: now its `status` can be believed.
    pub(crate) fn succeeded(&mut self, resource: &str) {
        if let Some(number) = self.files.as_mut().and_then(|files| files.remove(resource)) {
            // One that stays costs a stop too many.
            let _: io::Result<()> = fs::remove_file(self.directory.join(number.to_string()));
        }
    }
}

/// What one file says.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    boot: String,
    verb: String,
    resource: String,
    /// The script, if it came so far: its number, and when that was written.
    process: Option<(u32, Duration)>,
}

/// Ends what an earlier life left under way; the resources whose start or stop was cut short, by that or by their end.
///
/// They are forgotten when they are stopped, or at once where haresources does not have them any more.
pub(crate) fn settle(directory: &Path, is_configured: impl Fn(&str) -> bool, log: &Log) -> Vec<String> {
    let (mut resources, mut killed) = (Vec::new(), Vec::new());
    let boot = boot_id();
    if directory.exists() && !is_ours(directory) {
        let text = "others can write there: whether an earlier heartbeat left scripts under way is not known";
        log.line(Level::Error, format!("{}: {text}", directory.display()));
    }
    for (path, left) in read(directory) {
        let left = match left {
            Ok(Some(left)) if left.boot == boot => left,
            // Nothing that was begun before the machine was booted, or not even begun, is still up.
            Ok(_) => {
                forget(&path);
                continue;
            }
            Err(error) => {
                log.line(Level::Error, format!("{}: {error}", path.display()));
                continue;
            }
        };
        let Left { verb, resource, process, .. } = left;
        if let Some(process) = process.and_then(|(pid, written)| kill(pid, written)) {
            log.line(Level::Warn, format!("{resource} {verb}: still under way from an earlier heartbeat: killed"));
            killed.push(process);
        }
        if is_configured(&resource) {
            resources.push(resource);
        } else {
            let text = "an earlier heartbeat did not see it end, and haresources does not have it any more";
            log.line(Level::Error, format!("{resource} {verb}: {text}: nobody stops it"));
            forget(&path);
        }
    }
    for _script in orphans::wait_for(&killed) {
        // It does nothing more than what the kernel is just doing for it.
        log.line(Level::Error, "a script that was killed does not vanish");
    }
    resources
}

/// Kills a script and what is in its group of processes, if the number still means it; gives what ends.
fn kill(pid: u32, written: Duration) -> Option<OwnedFd> {
    let process = sys::open_process(pid).ok()?;
    // A later process of that number began after the script had written it down.
    let is_it = begun(pid).is_some_and(|begun| begun <= written);
    (is_it && orphans::kill(Pid::from_raw(pid.cast_signed()), &process)).then_some(process)
}

/// When a process began, since boot; rounded down, as the kernel gives it (proc(5), field 22 of `stat`).
fn begun(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in brackets, which may hold anything.
    let (_, fields) = text.rsplit_once(')')?;
    let ticks: u64 = fields.split_whitespace().nth(19)?.parse().ok()?;
    let hertz = sysconf(SysconfVar::CLK_TCK).ok()??;
    let nanos = ticks.checked_mul(1_000_000_000)?.checked_div(u64::try_from(hertz).ok()?)?;
    Some(Duration::from_nanos(nanos))
}

/// Whether nobody else can write into a directory: they could name processes to kill.
fn is_ours(directory: &Path) -> bool {
    fs::symlink_metadata(directory)
        .is_ok_and(|data| data.is_dir() && data.uid() == geteuid().as_raw() && data.mode() & 0o022 == 0)
}

/// The files that are there and what they say, `None` where nothing was begun.
fn read(directory: &Path) -> Vec<(PathBuf, io::Result<Option<Left>>)> {
    let entries = is_ours(directory).then(|| fs::read_dir(directory)).and_then(Result::ok);
    let paths = entries.into_iter().flatten().flatten().map(|entry| entry.path());
    let mut numbered: Vec<(u64, PathBuf)> = paths.filter_map(|path| Some((number_of(&path)?, path))).collect();
    numbered.sort();
    let said = numbered.into_iter().map(|(_, path)| (read_file(&path), path));
    said.map(|(left, path)| (path, left)).collect()
}

fn read_file(path: &Path) -> io::Result<Option<Left>> {
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(File::open(path)?, TEXT_MAX as u64), &mut text)?;
    Ok(parse(&text))
}

fn parse(text: &str) -> Option<Left> {
    let (first, second) = text.split_once('\n')?;
    let mut words = first.splitn(3, ' ');
    let mut word = || words.next().filter(|word| !word.is_empty()).map(str::to_owned);
    let (boot, verb, resource) = (word()?, word()?, word()?);
    let process = second.strip_suffix('\n').and_then(|line| line.split_once(' '));
    let process = process.and_then(|(pid, nanos)| Some((pid.parse().ok()?, Duration::from_nanos(nanos.parse().ok()?))));
    Some(Left { boot, verb, resource, process })
}

/// A file of any other name is none of ours.
fn number_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.parse().ok()
}

/// The number of each resource's file.
fn numbers(directory: &Path) -> BTreeMap<String, u64> {
    let known = |(path, left): (PathBuf, io::Result<Option<Left>>)| Some((left.ok()??.resource, number_of(&path)?));
    read(directory).into_iter().filter_map(known).collect()
}

fn forget(path: &Path) {
    let _: io::Result<()> = fs::remove_file(path);
}

/// The kernel's name of its present life; empty where there is no /proc, and then every life is the same.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or_else(|_| "-".to_owned(), |text| text.trim().to_owned())
}

/// The line of a process; made without allocating, for a process that may not.
pub(crate) fn line(buffer: &mut [u8; 48], pid: u32, now: Duration) -> &[u8] {
    let mut rest = &mut buffer[..];
    // Ten digits and twenty fit.
    let _fits: io::Result<()> = writeln!(rest, "{pid} {}", now.as_nanos());
    let left = rest.len();
    &buffer[..48 - left]
}

#[cfg(test)]
mod tests;
