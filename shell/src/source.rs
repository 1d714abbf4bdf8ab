//! The files of the configuration, as they are read and as a terminal may see them. `hbsim explain` reads them with this, too.

use hb_core::config::{Code, Diagnostic, FileName, SourceText, Span};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

/// No more than this is read of a file, one byte more than the core accepts.
const READ_MAX: u64 = (1 << 20) + 1;

/// One file, or why it could not be read.
#[derive(Debug)]
pub struct Source {
    /// Its path, as messages call it.
    pub name: FileName,
    /// What is in it; nothing if it could not be read.
    pub bytes: Vec<u8>,
    /// Who may read it.
    pub mode: u32,
    /// Why it could not be read.
    pub problem: Option<Diagnostic>,
}

/// ha.cf, haresources and authkeys of a directory.
pub fn read(dir: &Path) -> [Source; 3] {
    [("ha.cf", "config file"), ("haresources", "resource file"), ("authkeys", "keyfile")]
        .map(|(name, what)| Source::read(&dir.join(name), what))
}

impl Source {
    fn read(path: &Path, what: &str) -> Source {
        let name = FileName(path.display().to_string());
        match read_file(path) {
            Ok((bytes, mode)) => Source { name, bytes, mode, problem: None },
            Err(why) => {
                let message = format!("Cannot open {what} [{name}]: {why}");
                let problem = Diagnostic::new(Code::CannotOpen, name.clone(), Span::FILE, message);
                let help = match what {
                    "keyfile" => "create it with mode 600: `auth 1`, then `1 sha1 KEY`",
                    "resource file" => "create it; an empty file means that no resources are managed",
                    _ => "create it, or name another directory with --config-dir",
                };
                Source { name, bytes: Vec::new(), mode: 0, problem: Some(problem.help(help)) }
            }
        }
    }

    /// For the core.
    pub fn text(&self) -> SourceText<'_> {
        SourceText { name: &self.name.0, bytes: &self.bytes }
    }

    /// What is wrong with a file of secrets that others may read.
    pub fn is_open_to_others(&self) -> Option<Diagnostic> {
        (self.mode & 0o044 != 0).then(|| {
            let message = format!("Bad permissions on keyfile [{}], 600 recommended.", self.name);
            let problem = Diagnostic::new(Code::KeyfileMode, self.name.clone(), Span::FILE, message);
            problem.help(format!("run `chmod 600 {}`", self.name))
        })
    }
}

/// The bytes and the mode of a file.
pub fn read_file(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    // Opening a FIFO would wait for a writer.
    let kind = fs::metadata(path)?.file_type();
    if kind.is_fifo() || kind.is_socket() {
        return Err(io::Error::other("not a file"));
    }
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    let mut bytes = Vec::new();
    file.take(READ_MAX).read_to_end(&mut bytes)?;
    Ok((bytes, mode))
}

/// The text with a question mark for each byte that is not UTF-8, so that offsets stay.
pub fn displayable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

/// The text of a key file with a star for each byte that may belong to a secret.
///
/// Left are `auth` lines, numbers and methods. A second word without a third may be a key whose method was forgotten, and
/// comments may hold old keys.
pub fn masked(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let keep = match words.as_slice() {
            ["auth", ..] => 2,
            [_, "crc" | "md5" | "sha1", ..] | [_, _, _, ..] if !line.trim_start().starts_with('#') => 2,
            [number, ..] if number.bytes().all(|byte| byte.is_ascii_digit()) => 1,
            _ => 0,
        };
        let mut word = 0;
        let mut in_word = false;
        for c in line.chars() {
            let blank = c.is_ascii_whitespace();
            word += usize::from(!blank && !in_word);
            in_word = !blank;
            if blank || word <= keep {
                safe.push(c);
            } else {
                safe.extend(std::iter::repeat_n('*', c.len_utf8()));
            }
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_the_key_file_are_not_shown() {
        let text = "auth 1\r\n# 3 sha1 old\n1 sha1 geheim more\n2 geheim\n  4 sha256 größe\ngeheim\n";
        let shown = masked(text);
        assert_eq!(shown, "auth 1\r\n* * **** ***\n1 sha1 ****** ****\n2 ******\n  4 sha256 *******\n******\n");
        assert_eq!(shown.len(), text.len());
    }

    #[test]
    fn bytes_that_are_no_text_keep_their_number() {
        assert_eq!(displayable(b"a\xff\xc3(\xe2\x82"), "a??(??");
    }
}
