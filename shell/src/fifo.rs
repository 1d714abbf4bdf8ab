//! The command FIFO: scripts of root write messages to it, in pieces that may interleave. Read CLIENT 12 first.

use crate::refusals::Refusals;
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
/// So many pieces of what holds no message are read in one go: whoever writes without end must not hold the node up.
const PIECES_MAX: usize = 16;

/// The FIFO, open.
#[derive(Debug)]
pub(crate) struct Fifo {
    file: File,
    is_readable: bool,
    splitter: Splitter,
    message: Vec<u8>,
    refusals: Refusals,
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
        let (splitter, refusals) = (Splitter::default(), Refusals::default());
        Ok(Fifo { file, is_readable: true, splitter, message: Vec::new(), refusals })
    }

    /// Something was written.
    pub(crate) fn on_readable(&mut self) {
        self.is_readable = true;
    }

    /// Whether there may be a message.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_readable
    }

    /// Takes the next message, to be handled as [`input`](Fifo::input); whether there was one. What is no message is skipped,
    /// and there may be more of it.
    pub(crate) fn fetch(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let mut pieces = 0;
        let found = loop {
            self.message = self.splitter.next().unwrap_or_default();
            if !self.message.is_empty() {
                break true;
            }
            if !self.is_readable || pieces == PIECES_MAX {
                break false;
            }
            pieces += 1;
            match self.file.read(&mut buffer) {
                Ok(length) if length > 0 => self.splitter.push(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => self.is_readable = false,
            }
        };
        let skipped = std::mem::take(&mut self.splitter.skipped);
        if skipped > 0 {
            self.refusals.note(format!("the command FIFO: {skipped} bytes skipped that are no message"));
        }
        found
    }

    /// What was refused.
    pub(crate) fn refusals(&mut self) -> &mut Refusals {
        &mut self.refusals
    }

    /// The message that was taken.
    pub(crate) fn input(&self) -> Input<'_> {
        Input::Fifo { bytes: &self.message }
    }
}

/// Finds messages in a stream of lines, whatever stands between them; each byte is moved once.
#[derive(Debug, Default)]
struct Splitter {
    received: Vec<u8>,
    /// How much of it was looked at.
    at: usize,
    /// The lines of the present message, and the line that ends it.
    message: Option<(Vec<u8>, &'static [u8])>,
    /// How many bytes belonged to no message.
    skipped: usize,
}

impl Splitter {
    fn push(&mut self, bytes: &[u8]) {
        self.received.drain(..self.at);
        self.at = 0;
        self.received.extend_from_slice(bytes);
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        while let Some(end) = self.received[self.at..].iter().position(|byte| *byte == b'\n') {
            let line = &self.received[self.at..=self.at + end];
            self.at += line.len();
            // A beginning is one wherever it stands: what was before it lacks its end.
            let ends_with: &'static [u8] = match line {
                b">>>\n" => b"<<<\n",
                b"###\n" => b"%%%\n",
                _ => b"",
            };
            if !ends_with.is_empty() {
                let before = self.message.replace((line.to_vec(), ends_with));
                self.skipped += before.map_or(0, |(message, _)| message.len());
                continue;
            }
            let Some((message, ends_with)) = &mut self.message else {
                // An empty line is nothing.
                self.skipped += line.len() - 1;
                continue;
            };
            message.extend_from_slice(line);
            if line == *ends_with {
                return self.message.take().map(|(message, _)| message);
            }
            if message.len() > MESSAGE_MAX {
                self.skipped += message.len();
                self.message = None;
            }
        }
        let rest = self.received.len() - self.at;
        if rest > MESSAGE_MAX {
            self.skipped += rest + self.message.take().map_or(0, |(message, _)| message.len());
            self.at = self.received.len();
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
    fn what_belongs_to_no_message_is_counted() {
        for (text, skipped) in
            [(&b">>>\nt=a\n<<<\n\n"[..], 0), (b"junk\n>>>\nt=a\n<<<\nmore\n", 8), (b">>>\nt=a\n>>>\nt=b\n<<<\n", 8)]
        {
            let mut splitter = Splitter::default();
            splitter.push(text);
            while splitter.next().is_some() {}
            assert_eq!(splitter.skipped, skipped, "{}", text.escape_ascii());
        }
        let mut splitter = Splitter::default();
        for _ in 0..1000 {
            splitter.push(&[0; 4096]);
            assert!(splitter.next().is_none() && splitter.received.len() <= MESSAGE_MAX + 4096);
        }
        assert_eq!(splitter.skipped + splitter.received.len() - splitter.at, 4096 * 1000);
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
