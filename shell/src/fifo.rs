//! The command FIFO: scripts of root write messages to it, in pieces that may interleave. Read CLIENT 12 first.

use hb_core::Input;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// A message longer than this is none.
const MESSAGE_MAX: usize = 64 * 1024;

/// The FIFO, open.
#[derive(Debug)]
pub(crate) struct Fifo {
    file: File,
    is_readable: bool,
    splitter: Splitter,
    message: Vec<u8>,
}

impl Fifo {
    /// Makes the FIFO, or takes the one that is there; anything else of that name gives way.
    pub(crate) fn open(path: &Path, registry: &Registry, token: Token) -> io::Result<Fifo> {
        match fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_fifo() => {
                fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
            }
            Ok(_) => {
                // A script that found no FIFO has written into a file of that name.
                fs::remove_file(path)?;
                mkfifo(path, Mode::from_bits_truncate(0o600))?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => mkfifo(path, Mode::from_bits_truncate(0o600))?,
            Err(error) => return Err(error),
        }
        // Open for writing as well, so that there is no end of file when the last script closes it.
        let file = OpenOptions::new().read(true).write(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
        registry.register(&mut SourceFd(&file.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Fifo { file, is_readable: true, splitter: Splitter::default(), message: Vec::new() })
    }

    /// Something was written.
    pub(crate) fn on_readable(&mut self) {
        self.is_readable = true;
    }

    /// Whether there may be a message.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_readable
    }

    /// Takes the next message, to be handled as [`input`](Fifo::input); whether there was one.
    pub(crate) fn fetch(&mut self) -> bool {
        let mut buffer = [0; 4096];
        while self.is_readable {
            if let Some(message) = self.splitter.next() {
                self.message = message;
                return true;
            }
            match self.file.read(&mut buffer) {
                Ok(length) if length > 0 => self.splitter.push(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => self.is_readable = false,
            }
        }
        false
    }

    /// The message that was taken.
    pub(crate) fn input(&self) -> Input<'_> {
        Input::Fifo { bytes: &self.message }
    }
}

/// Finds messages in a stream of lines, whatever stands between them.
#[derive(Debug, Default)]
struct Splitter {
    /// What was not looked at yet.
    rest: Vec<u8>,
    /// The lines of the present message, and the line that ends it.
    message: Option<(Vec<u8>, &'static [u8])>,
}

impl Splitter {
    fn push(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            // A beginning is one wherever it stands: what was before it lacks its end.
            let ends_with: &'static [u8] = match &line[..] {
                b">>>\n" => b"<<<\n",
                b"###\n" => b"%%%\n",
                _ => b"",
            };
            if !ends_with.is_empty() {
                self.message = Some((line, ends_with));
                continue;
            }
            let Some((message, ends_with)) = &mut self.message else { continue };
            message.extend_from_slice(&line);
            if line == *ends_with {
                return self.message.take().map(|(message, _)| message);
            }
            if message.len() > MESSAGE_MAX {
                self.message = None;
            }
        }
        if self.rest.len() > MESSAGE_MAX {
            self.rest.clear();
            self.message = None;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pieces: &[&[u8]]) -> Vec<String> {
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        for piece in pieces {
            splitter.push(piece);
            while let Some(message) = splitter.next() {
                found.push(String::from_utf8_lossy(&message).into_owned());
            }
        }
        found
    }

    #[test]
    fn messages_are_found_in_pieces_and_in_junk() {
        assert_eq!(split(&[b">>>\nt=a\n<<<\n>>>\nt=", b"b\n<<", b"<\n"]), [">>>\nt=a\n<<<\n", ">>>\nt=b\n<<<\n"]);
        assert_eq!(split(&[b"junk\n<<<\nx>>>\n>>>\nt=a\n<<<\nmore\n"]), [">>>\nt=a\n<<<\n"]);
        assert_eq!(split(&[b"###\n3:t=a,%%%\n%%%\n"]), ["###\n3:t=a,%%%\n%%%\n"]);
    }

    #[test]
    fn a_message_without_end_gives_way_to_the_next() {
        assert_eq!(split(&[b">>>\nt=a\n>>>\nt=b\n<<<\n"]), [">>>\nt=b\n<<<\n"]);
        let long = vec![b'x'; MESSAGE_MAX + 1];
        assert_eq!(split(&[b">>>\nt=a\n", &long, b"\n<<<\n>>>\nt=b\n<<<\n"]), [">>>\nt=b\n<<<\n"]);
        let many = b"x=y\n".repeat(MESSAGE_MAX / 4 + 1);
        assert_eq!(split(&[b">>>\n", &many, b"<<<\n>>>\nt=b\n<<<\n"]), [">>>\nt=b\n<<<\n"]);
    }
}
