//! A ring of files, one a segment: the oldest go before the newest would make all together too large.
//!
//! Files are `DIR/NUMBER.hbtrace`, mode 0600, numbers rise for ever; those of earlier lives of the daemon are part of the
//! ring. A file that cannot be finished is left as it is: a reader stops at its end.

use hb_core::trace::{Head, State, begin};
use std::collections::VecDeque;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// What the names of recordings end with.
const SUFFIX: &str = ".hbtrace";
/// A ring has at least so many segments, that little is lost with the oldest.
const SEGMENTS: u64 = 16;
/// The largest segment in bytes: some seconds to replay.
const SEGMENT_MAX: u64 = 4 * 1024 * 1024;
/// A file takes at least so much of a disk.
const BLOCK: u64 = 4096;

/// How large a segment may become, its state not counted.
pub(super) fn segment_max(size: u64) -> u64 {
    (size / SEGMENTS).clamp(1, SEGMENT_MAX)
}

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {error}", path.display())]
pub(super) struct RingError {
    path: PathBuf,
    error: io::Error,
}

pub(super) struct Ring {
    directory: PathBuf,
    size: u64,
    /// Number and bytes of every file, oldest first; `None` until the directory was looked through.
    files: Option<VecDeque<(u64, u64)>>,
    current: Option<File>,
}

impl Ring {
    /// A ring in `directory`, of `size` bytes at most; touches nothing yet.
    pub(super) fn new(directory: &Path, size: u64) -> Ring {
        Ring { directory: directory.to_owned(), size, files: None, current: None }
    }

    /// Begins a new file; on failure nothing is open, and the next attempt looks at the directory anew.
    pub(super) fn begin(&mut self, head: &Head, state: &State) -> Result<(), RingError> {
        self.current = None;
        self.try_begin(head, state).inspect_err(|_| self.files = None)
    }

    fn try_begin(&mut self, head: &Head, state: &State) -> Result<(), RingError> {
        let mut bytes = Vec::with_capacity(256 * 1024);
        begin(&mut bytes, head, state).map_err(|error| failed(&self.directory, io::Error::other(error)))?;
        if self.files.is_none() {
            let found = look_through(&self.directory).map_err(|error| failed(&self.directory, error))?;
            self.files = Some(found);
        }
        self.make_room(bytes.len() as u64);
        let files = self.files.get_or_insert_default();
        let number = files.back().map_or(1, |(number, _)| number.saturating_add(1));
        let path = self.directory.join(format!("{number:08}{SUFFIX}"));
        // Never a file, and never through a link, that somebody else has put there.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut file = file.map_err(|error| failed(&path, error))?;
        self.files.get_or_insert_default().push_back((number, 0));
        if let Err(error) = file.write_all(&bytes) {
            // It could not be replayed. If it cannot be removed either, it is found and counted the next time.
            let _left = std::fs::remove_file(&path);
            return Err(failed(&path, error));
        }
        self.count(bytes.len() as u64);
        self.current = Some(file);
        Ok(())
    }

    /// Appends to the file begun last; false if there is none. On failure it is closed.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<bool, RingError> {
        if self.current.is_none() {
            return Ok(false);
        }
        self.make_room(bytes.len() as u64);
        let Some(file) = &mut self.current else { return Ok(false) };
        // One call, that a reader meets whole records but for the last.
        let result = file.write_all(bytes);
        self.count(bytes.len() as u64);
        if let Err(error) = result {
            (self.current, self.files) = (None, None);
            return Err(failed(&self.directory, error));
        }
        Ok(true)
    }

    /// A ring whose present file is this one.
    #[cfg(test)]
    pub(super) fn writing_to(mut self, file: File) -> Ring {
        self.current = Some(file);
        self
    }

    fn count(&mut self, bytes: u64) {
        if let Some((_, size)) = self.files.get_or_insert_default().back_mut() {
            *size = size.saturating_add(bytes);
        }
    }

    /// Removes the oldest files until `bytes` more fit; never the one that is being written.
    fn make_room(&mut self, bytes: u64) {
        let files = self.files.get_or_insert_default();
        let on_disk = |files: &VecDeque<(u64, u64)>| files.iter().map(|(_, size)| size.max(&BLOCK)).sum::<u64>();
        let keep = usize::from(self.current.is_some());
        while files.len() > keep && on_disk(files).saturating_add(bytes) > self.size {
            let Some((number, _)) = files.pop_front() else { return };
            // Somebody else may have removed it; what cannot be removed is not ours to count any more.
            let _gone = std::fs::remove_file(self.directory.join(format!("{number:08}{SUFFIX}")));
        }
    }
}

fn failed(path: &Path, error: io::Error) -> RingError {
    RingError { path: path.to_owned(), error }
}

/// The files of a directory, which is made if it is missing.
fn look_through(directory: &Path) -> io::Result<VecDeque<(u64, u64)>> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).and_then(|number| number.parse().ok());
        if let Some(number) = number {
            files.push((number, entry.metadata()?.len()));
        }
    }
    files.sort_unstable();
    Ok(files.into())
}
