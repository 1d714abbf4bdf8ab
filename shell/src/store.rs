//! The state directory: what a node must remember between two lives (WIRE 8).
//!
//! A number that went backwards would make every peer ignore us as a replay; so a new one replaces the old in one step
//! and is on disk before anything uses it. All this waits for a disk and happens before the loop starts.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hb_core::StateFile;
use hb_core::config::hostcache::{self, Hostcache, KnownNode};
use hb_core::ids::{Generation, NodeUuid};
use hb_core::time::UnixTime;

const GENERATION: &str = "hb_generation";
const UUID: &str = "hb_uuid";
/// Bytes of hostcache that are read; a cluster of a hundred nodes needs fifty thousand.
const HOSTCACHE_MAX: u64 = 1024 * 1024;

/// A file or directory that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {}: {error}", path.display())]
pub struct StoreError {
    /// `read`, `write` or `create`.
    pub verb: &'static str,
    /// Which one.
    pub path: PathBuf,
    /// What the system said.
    pub error: io::Error,
}

/// A line of hostcache or delhostcache that names no node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}, line {line} names no node (name, uuid, weight and site with tabulators between them): ignored", path.display())]
pub struct BadLine {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
}

/// An open state directory.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
}

/// A generation read from disk or begun anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastGeneration {
    /// The one after that of the last life.
    Continued(Generation),
    /// There was none, or none that could be read: the log says `No Previous generation - starting at N`.
    Begun(Generation),
}

impl LastGeneration {
    /// The number itself.
    pub fn generation(self) -> Generation {
        match self {
            LastGeneration::Continued(generation) | LastGeneration::Begun(generation) => generation,
        }
    }
}

impl Store {
    /// Opens `directory`; creates it, but not its parent, if it is missing.
    pub fn open(directory: &Path) -> Result<Store, StoreError> {
        create_directory(directory)?;
        Ok(Store { directory: directory.to_owned() })
    }

    /// Begins a new life: the generation that follows the stored one, already stored.
    ///
    /// Without a readable one it is the wall clock plus one, which every peer finds higher than before unless the node
    /// restarted more than once a second.
    pub fn next_generation(&self, wall: UnixTime) -> Result<LastGeneration, StoreError> {
        let path = self.directory.join(GENERATION);
        let last = match read_start(&path) {
            Ok(text) => parse_generation(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(StoreError { verb: "read", path, error }),
        };
        let next = match last.and_then(|last| last.checked_add(1)) {
            Some(next) => LastGeneration::Continued(Generation(next)),
            None => LastGeneration::Begun(Generation(wall.0.saturating_add(1))),
        };
        self.write_generation(next.generation())?;
        Ok(next)
    }

    /// Stores a generation, as `hbgenmethod time` and a core that skips numbers do.
    pub fn write_generation(&self, generation: Generation) -> Result<(), StoreError> {
        self.replace(GENERATION, format!("{generation:>15}\n").as_bytes())
    }

    /// The stored uuid of this node; a new random one, stored, if there is none.
    ///
    /// A file of another length is an error: a new uuid would make the peers take us for another node.
    pub fn uuid(&self) -> Result<NodeUuid, StoreError> {
        let path = self.directory.join(UUID);
        match read_start(&path) {
            Ok(bytes) => bytes.try_into().map(NodeUuid).map_err(|_| {
                let error = io::Error::new(io::ErrorKind::InvalidData, "not 16 bytes; remove it to get a new uuid");
                StoreError { verb: "read", path, error }
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let uuid = NodeUuid::from_random(random_bytes()?);
                self.replace(UUID, &uuid.0)?;
                Ok(uuid)
            }
            Err(error) => Err(StoreError { verb: "read", path, error }),
        }
    }

    /// Replaces what is known about members.
    pub fn keep(&self, file: StateFile, text: &str) -> Result<(), StoreError> {
        self.replace(file.name(), text.as_bytes())
    }

    /// What earlier lives knew about members, and the lines that say nothing.
    pub fn hostcache(&self) -> Result<(Hostcache, Vec<BadLine>), StoreError> {
        let mut bad = Vec::new();
        let mut read = |file: StateFile| -> Result<Vec<KnownNode>, StoreError> {
            let path = self.directory.join(file.name());
            let mut bytes = Vec::new();
            let text = File::open(&path).and_then(|file| file.take(HOSTCACHE_MAX).read_to_end(&mut bytes));
            match text {
                Ok(_) => {
                    let (nodes, lines) = hostcache::parse(&bytes);
                    bad.extend(lines.into_iter().map(|line| BadLine { path: path.clone(), line }));
                    Ok(nodes)
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
                Err(error) => Err(StoreError { verb: "read", path, error }),
            }
        };
        let cache = Hostcache { nodes: read(StateFile::Hostcache)?, deleted: read(StateFile::Delhostcache)? };
        Ok((cache, bad))
    }

    /// The longest dead time of others that an earlier life met, as far as it was longer than `initdead`. What is no number is
    /// as good as none: the others announce theirs again.
    pub fn longest_deadtime(&self) -> Result<Duration, StoreError> {
        let path = self.directory.join(StateFile::Deadtime.name());
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Duration::from_millis(text.trim().parse().unwrap_or_default())),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
                Ok(Duration::ZERO)
            }
            Err(error) => Err(StoreError { verb: "read", path, error }),
        }
    }

    /// Replaces a file so that after a power failure it holds the old or the new content, never half of one.
    fn replace(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let (path, fresh) = (self.directory.join(name), self.directory.join(format!(".{name}.new")));
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&fresh)?;
            file.write_all(content)?;
            file.sync_all()?;
            std::fs::rename(&fresh, &path)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|error| StoreError { verb: "write", path: path.clone(), error })
    }
}

/// Creates a directory for state or sockets, mode 0755; it is fine if it exists.
pub fn create_directory(path: &Path) -> Result<(), StoreError> {
    match DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        result => result.map_err(|error| StoreError { verb: "create", path: path.to_owned(), error }),
    }
}

/// Bytes that nobody can guess, for seeds and uuids.
pub fn random_bytes<const LENGTH: usize>() -> Result<[u8; LENGTH], StoreError> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; LENGTH];
    File::open(path).and_then(|mut file| file.read_exact(&mut bytes)).map_err(|error| StoreError {
        verb: "read",
        path: path.to_owned(),
        error,
    })?;
    Ok(bytes)
}

/// The beginning of a file that should have 16 bytes.
fn read_start(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse_generation(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const WALL: UnixTime = UnixTime(1_795_228_250);

    fn in_store(name: &str, test: impl FnOnce(&Store, &Path)) {
        let path = std::env::temp_dir().join(format!("hb-store-{name}-{}", std::process::id()));
        let store = Store::open(&path).unwrap();
        test(&store, &path);
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn the_files_of_the_original_are_read_and_written_alike() {
        let generation: &[u8] = include_bytes!("../../tests/vectors/files/hb_generation.sample");
        let uuid: &[u8] = include_bytes!("../../tests/vectors/files/hb_uuid.sample");
        in_store("alike", |store, path| {
            store.write_generation(Generation(1_795_228_251)).unwrap();
            assert_eq!(std::fs::read(path.join(GENERATION)).unwrap(), generation);
            let next = LastGeneration::Continued(Generation(1_795_228_252));
            assert_eq!(store.next_generation(UnixTime(5)).unwrap(), next);
            assert_eq!(std::fs::read(path.join(GENERATION)).unwrap(), b"     1795228252\n");
            std::fs::write(path.join(UUID), uuid).unwrap();
            assert_eq!(store.uuid().unwrap().to_string(), "a51c76c5-e164-44ae-b80c-174a3ba82788");
        });
    }

    #[test]
    fn a_missing_or_broken_generation_begins_with_the_clock() {
        for (name, content) in [("none", None), ("empty", Some("")), ("text", Some("gibberish\n"))] {
            in_store(name, |store, path| {
                if let Some(content) = content {
                    std::fs::write(path.join(GENERATION), content).unwrap();
                }
                let begun = LastGeneration::Begun(Generation(WALL.0 + 1));
                assert_eq!(store.next_generation(WALL).unwrap(), begun);
                let continued = LastGeneration::Continued(Generation(WALL.0 + 2));
                assert_eq!(store.next_generation(WALL).unwrap(), continued);
            });
        }
    }

    #[test]
    fn a_uuid_is_made_once_and_world_readable() {
        in_store("uuid", |store, path| {
            let made = store.uuid().unwrap();
            assert_eq!(store.uuid().unwrap(), made);
            let file = path.join(UUID);
            assert_eq!(std::fs::read(&file).unwrap(), made.0);
            assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o644);
            assert_eq!(made.0[6] >> 4, 4, "version 4 is the random kind");
        });
    }

    #[test]
    fn a_damaged_uuid_is_not_replaced_silently() {
        in_store("damaged", |store, path| {
            std::fs::write(path.join(UUID), "short").unwrap();
            let error = store.uuid().unwrap_err().to_string();
            assert!(error.ends_with("hb_uuid: not 16 bytes; remove it to get a new uuid"), "{error}");
        });
    }

    #[test]
    fn a_directory_that_cannot_be_is_named() {
        let error = Store::open(Path::new("/proc/no/such")).unwrap_err().to_string();
        assert!(error.starts_with("cannot create /proc/no/such: "), "{error}");
        let error = Store { directory: "/proc/self".into() }.next_generation(WALL).unwrap_err().to_string();
        assert!(error.starts_with("cannot write /proc/self/hb_generation: "), "{error}");
    }
}
