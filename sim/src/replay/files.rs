//! The recordings of a directory, or one.

use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};

/// What the names of recordings end with.
const SUFFIX: &str = "hbtrace";

/// One file.
#[derive(Clone, Debug)]
pub struct TraceFile {
    /// Its name for messages.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Recordings of one node, oldest first.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The files.
    pub files: Vec<TraceFile>,
}

impl Trace {
    /// Reads a file, or all recordings in a directory.
    pub fn open(path: &Path) -> Result<Trace> {
        let mut paths: Vec<PathBuf> = vec![path.to_owned()];
        if std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.is_dir() {
            let entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
            paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
            paths.retain(|path| path.extension().is_some_and(|extension| extension == SUFFIX));
            // Their numbers have leading zeros.
            paths.sort();
        }
        let mut files = Vec::new();
        for path in &paths {
            match std::fs::read(path) {
                Ok(bytes) => files.push(TraceFile { name: path.display().to_string(), bytes }),
                // A running daemon has removed it meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && paths.len() > 1 => {}
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
            }
        }
        if files.is_empty() {
            bail!("{} holds no recording (*.{SUFFIX})", path.display());
        }
        Ok(Trace { files })
    }
}
