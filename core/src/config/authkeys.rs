//! Reading of authkeys. Read CLUSTER i.3 and WIRE 6.1 first.
//!
//! No message repeats a word that may be a secret.

use alloc::vec::Vec;

use super::SourceText;
use super::diagnostic::{Code, Diagnostic, Report, Span};
use super::text::{Line, Word, is_blank, lines, nearest};
use crate::auth::{Key, Keyring, Method};

/// Entries are numbered from 0 up to this.
const NUMBER_MAX: u8 = 15;

/// Reads authkeys; the keyring is absent exactly if a diagnostic is an error.
pub fn parse(source: SourceText<'_>) -> (Option<Keyring>, Vec<Diagnostic>) {
    let mut report = Report::new(source.name);
    let mut draft = Draft::default();
    let keyring = lines(source, &mut report).and_then(|lines| {
        for line in lines {
            if report.is_full() {
                break;
            }
            draft.line(&line, &mut report);
        }
        draft.finish(&mut report)
    });
    let keyring = if report.has_errors() { None } else { keyring };
    (keyring, report.finish())
}

#[derive(Default)]
struct Draft {
    auth: Option<(u8, Span)>,
    /// An `auth` line stands there, right or wrong.
    has_auth_line: bool,
    entries: Vec<(u8, Key, Span)>,
    /// Numbers of entries that were meant but could not be read: enough to say no more about them.
    broken: Vec<u8>,
}

impl Draft {
    fn line(&mut self, line: &Line<'_>, report: &mut Report) {
        let mut pieces = line.pieces(is_blank).into_iter();
        let Some((first, first_span)) = pieces.next() else { return };
        match first {
            [b'#', ..] => {}
            [b'a', ..] => {
                self.has_auth_line = true;
                let number = pieces.next();
                self.auth_line(first, number, line, report);
            }
            _ => match number(first) {
                Some(number) if number <= NUMBER_MAX => {
                    let (method, key, more) = (pieces.next(), pieces.next(), pieces.next());
                    let before = self.entries.len();
                    self.entry(number, first_span, [method, key, more], line, report);
                    if before == self.entries.len() {
                        self.broken.push(number);
                    }
                }
                _ if first.iter().all(u8::is_ascii_digit) => {
                    let text = core::str::from_utf8(first).unwrap_or_default();
                    let message = format_args!("Invalid authnum [{text}]");
                    report.advise(Code::AuthNumber, first_span, message, "entries have numbers from 0 to 15");
                }
                _ => {
                    // The original prints the line, which may hold a secret.
                    let help = "write `auth N` once, then entries `N METHOD KEY`";
                    report.advise(Code::AuthSyntax, first_span, "Auth line [...] is invalid.", help);
                }
            },
        }
    }

    fn auth_line(&mut self, word: &[u8], value: Option<(&[u8], Span)>, line: &Line<'_>, report: &mut Report) {
        let help = "write `auth N`, the number of the entry that signs";
        match value.map(|(text, span)| (number(text), span)) {
            Some((Some(number), span)) if word == b"auth" && number <= NUMBER_MAX => {
                if let Some((_, first)) = self.auth {
                    let message = format_args!("auth stands already in line {}; this one counts", first.line);
                    report.advise(Code::AuthRepeated, span, message, "remove one of the lines");
                }
                if self.entries.iter().any(|(entry, ..)| *entry == number) {
                    let message = format_args!("the auth line must stand before the entry {number} that it names");
                    report.advise(Code::AuthOrder, span, message, "move it to the top of the file");
                }
                self.auth = Some((number, span));
            }
            _ => report.advise(Code::AuthLine, line.whole(), "Invalid auth line", help),
        }
    }

    fn entry(
        &mut self,
        number: u8,
        at: Span,
        [method, key, more]: [Option<(&[u8], Span)>; 3],
        line: &Line<'_>,
        report: &mut Report,
    ) {
        let help = "write `N sha1 KEY`, `N md5 KEY` or `N crc`";
        let Some((name, name_span)) = method else {
            report.advise(Code::AuthSyntax, line.end(), "Auth line [...] is invalid.", help);
            return;
        };
        let method = match name {
            b"crc" => Method::Crc,
            b"md5" => Method::Md5,
            b"sha1" => Method::Sha1,
            _ => {
                unknown_method(
                    Word { text: core::str::from_utf8(name).unwrap_or_default(), span: name_span },
                    key,
                    report,
                );
                return;
            }
        };
        let secret = match (method, key) {
            (Method::Crc, None) => Vec::new(),
            (Method::Crc, Some((_, span))) => {
                let message = "Auth method [crc] doesn't use a key";
                report.advise(Code::AuthKeyForCrc, span, message, "remove the key, or write `sha1` for `crc`");
                return;
            }
            (_, Some((secret, _))) => secret.to_vec(),
            (method, None) => {
                let method = if method == Method::Md5 { "md5" } else { "sha1" };
                let message = format_args!("Auth method [{method}] requires a key");
                report.advise(Code::AuthKeyMissing, line.end(), message, "add a long random word");
                return;
            }
        };
        if let Some((_, span)) = more {
            let message = "words after the key are ignored: a key has no blanks";
            report.advise(Code::AuthTrailing, span, message, "remove them, or join them with the key on all nodes");
        }
        if let Some((_, _, first)) = self.entries.iter().find(|(entry, ..)| *entry == number) {
            let message = format_args!("entry {number} stands already in line {}; this one counts", first.line);
            report.advise(Code::AuthRepeated, at, message, "remove one of the lines");
            self.entries.retain(|(entry, ..)| *entry != number);
        }
        self.entries.push((number, Key { method, secret }, at));
    }

    fn finish(self, report: &mut Report) -> Option<Keyring> {
        let Some((current, span)) = self.auth else {
            if !self.has_auth_line {
                let help = "write `auth N` first, the number of the entry that signs";
                report.advise(Code::AuthMissing, Span::FILE, "Missing auth directive", help);
            }
            return None;
        };
        match self.entries.iter().find(|(number, ..)| *number == current) {
            Some((_, key, at)) if key.method == Method::Crc => {
                let message = "crc finds damaged messages, but anybody can sign with it";
                report.advise(Code::AuthCrc, *at, message, "use `sha1 KEY` unless all media are private cables");
            }
            Some(_) => {}
            None if self.broken.contains(&current) => return None,
            None => {
                let message = format_args!("Auth Key [{current}] not found");
                report.advise(Code::AuthKeyNotFound, span, message, format_args!("add a line `{current} sha1 KEY`"));
                return None;
            }
        }
        // What `Keyring::new` refuses was reported above, line by line.
        Keyring::new(current, self.entries.into_iter().map(|(number, key, _)| (number, key))).ok()
    }
}

/// A name that is followed by a key is printed; without one it may be the key itself.
fn unknown_method(name: Word<'_>, key: Option<(&[u8], Span)>, report: &mut Report) {
    let shown = if key.is_some() { name.text } else { "..." };
    let message = format_args!("Invalid authtype [{shown}]");
    match nearest(name.text, ["crc", "md5", "sha1"]) {
        Some(near) => report.advise(Code::AuthMethod, name.span, message, format_args!("did you mean `{near}`?")),
        None => report.advise(Code::AuthMethod, name.span, message, "write `sha1`, `md5` or `crc`"),
    }
}

fn number(word: &[u8]) -> Option<u8> {
    core::str::from_utf8(word).ok().filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};

    fn read(text: &[u8]) -> (Option<Keyring>, Vec<String>) {
        let (keyring, problems) = parse(SourceText { name: "authkeys", bytes: text });
        assert_eq!(keyring.is_some(), !problems.iter().any(Diagnostic::is_error));
        let lines = problems.iter().map(|one| alloc::format!("{} {} {}", one.span.line, one.code, one.message));
        (keyring, lines.collect())
    }

    #[test]
    fn a_keyring_has_the_bytes_of_the_file() {
        let (keyring, problems) = read(b"# keys\r\nauth 2\n\n 1 crc\n2\tsha1 s#e\xff::cret\n15 md5 other\r\n");
        assert_eq!(problems, [""; 0]);
        let key = |method, secret: &[u8]| Key { method, secret: secret.to_vec() };
        let expected =
            [(1, key(Method::Crc, b"")), (2, key(Method::Sha1, b"s#e\xff::cret")), (15, key(Method::Md5, b"other"))];
        assert_eq!(keyring, Keyring::new(2, expected).ok());
    }

    #[test]
    fn faults_have_the_phrases_of_the_original() {
        for (text, problem) in [
            ("", "1 E0401 Missing auth directive"),
            ("1 sha1 k", "1 E0401 Missing auth directive"),
            ("auth x\n1 sha1 k", "1 E0402 Invalid auth line"),
            ("auth\n1 sha1 k", "1 E0402 Invalid auth line"),
            ("auth 16\n1 sha1 k", "1 E0402 Invalid auth line"),
            ("aut 1\n1 sha1 k", "1 E0402 Invalid auth line"),
            ("auth 2\n1 sha1 k", "1 E0403 Auth Key [2] not found"),
            ("auth 1\n1 sha256 k", "2 E0404 Invalid authtype [sha256]"),
            ("auth 1\n1 geheim", "2 E0404 Invalid authtype [...]"),
            ("auth 1\n1 crc k", "2 E0405 Auth method [crc] doesn't use a key"),
            ("auth 1\n1 sha1", "2 E0406 Auth method [sha1] requires a key"),
            ("auth 1\n1 md5 # key", "2 W0411 words after the key are ignored: a key has no blanks"),
            ("auth 1\n1 sha1 k\n16 crc", "3 E0407 Invalid authnum [16]"),
            ("auth 1\n1 sha1 k\n999999999999 crc", "3 E0407 Invalid authnum [999999999999]"),
            ("auth 1\n1 sha1 k\nhello secret", "3 E0408 Auth line [...] is invalid."),
            ("auth 1\n1", "2 E0408 Auth line [...] is invalid."),
            ("1 sha1 k\nauth 1", "2 E0409 the auth line must stand before the entry 1 that it names"),
            ("auth 1\n1 sha1 k\n1 md5 k", "3 W0410 entry 1 stands already in line 2; this one counts"),
            ("auth 1\n1 crc", "2 W0412 crc finds damaged messages, but anybody can sign with it"),
        ] {
            assert_eq!(read(text.as_bytes()).1, [problem.to_string()], "{text:?}");
        }
    }

    #[test]
    fn the_last_of_two_entries_counts() {
        let (keyring, _) = read(b"auth 1\n1 sha1 old\n1 md5 new");
        assert_eq!(keyring, Keyring::new(1, [(1, Key { method: Method::Md5, secret: b"new".to_vec() })]).ok());
    }
}
