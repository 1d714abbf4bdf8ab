//! Lines and words of a text of which nothing is known yet, each with its place.
//!
//! Works on bytes: comments of old files are written in any character set, and only words that mean something must be
//! UTF-8. Limits: a file has at most 1 MiB, a line at most 5120 bytes (WIRE 14).

use alloc::vec::Vec;

use super::SourceText;
use super::diagnostic::{Code, Report, Span};

const FILE_MAX: usize = 1 << 20;
const LINE_MAX: usize = 5120;

/// A physical line without its line end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    number: u32,
    start: usize,
    /// Characters of the physical line before `bytes`.
    indent: u32,
    bytes: &'a [u8],
}

/// A word and its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word<'a> {
    pub(crate) text: &'a str,
    pub(crate) span: Span,
}

/// The lines of a text; `None` and an error if it is no text at all. CR before a line end is dropped.
pub(crate) fn lines<'a>(source: SourceText<'a>, report: &mut Report) -> Option<Vec<Line<'a>>> {
    let mut bytes = source.bytes;
    let mut start = 0_usize;
    if bytes.len() > FILE_MAX {
        let message = format_args!("the file has {} bytes; {FILE_MAX} are the limit", bytes.len());
        report.add(Code::FileTooLarge, Span::FILE, message);
        return None;
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        report.advise(Code::NotText, Span::FILE, "the file is UTF-16", "save it as UTF-8 or ASCII");
        return None;
    }
    if let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        report.add(Code::ByteOrderMark, Span::FILE, "the file begins with a byte order mark, which is skipped");
        bytes = rest;
        start = 3;
    }
    let mut lines = Vec::new();
    for (number, raw) in (1_u32..).zip(bytes.split(|byte| *byte == b'\n')) {
        let mut text = raw;
        while let Some(shorter) = text.strip_suffix(b"\r") {
            text = shorter;
        }
        let line = Line { number, start, indent: 0, bytes: text };
        if let Some(at) = text.iter().position(|byte| *byte == 0) {
            let span = line.span(at, at.saturating_add(1));
            report.advise(Code::NotText, span, "a NUL byte: this is not a text file", "restore it from a backup");
            return None;
        }
        if text.len() > LINE_MAX {
            let message = format_args!("the line has {} bytes; {LINE_MAX} are the limit", text.len());
            report.add(Code::LineTooLong, line.span(0, 0), message);
        } else {
            lines.push(line);
        }
        start = start.saturating_add(raw.len()).saturating_add(1);
    }
    Some(lines)
}

impl<'a> Line<'a> {
    /// The place of the bytes `from..to` of the line.
    fn span(&self, from: usize, to: usize) -> Span {
        // Bytes that do not continue a character count: right for UTF-8, and one a byte for most of what is not.
        let before = self.bytes.get(..from).unwrap_or(self.bytes);
        let characters = before.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        let characters = self.indent.saturating_add(u32::try_from(characters).unwrap_or(u32::MAX));
        Span {
            line: self.number,
            column: characters.saturating_add(1),
            start: self.start.saturating_add(from),
            end: self.start.saturating_add(to),
        }
    }

    /// The place of the line's end: where something is missing.
    pub(crate) fn end(&self) -> Span {
        let trimmed = self.bytes.trim_ascii_end().len();
        self.span(trimmed, trimmed)
    }

    /// The place of the whole line, without blanks around it.
    pub(crate) fn whole(&self) -> Span {
        let end = self.bytes.trim_ascii_end().len();
        let blanks = self.bytes.len().saturating_sub(self.bytes.trim_ascii_start().len());
        self.span(blanks.min(end), end)
    }

    /// The line up to its comment, and the comment. A `#` inside a word is worth a warning: other programs see no comment
    /// there.
    pub(crate) fn split_comment(self, report: &mut Report) -> (Line<'a>, Option<Line<'a>>) {
        let Some(at) = self.bytes.iter().position(|byte| *byte == b'#') else { return (self, None) };
        let (code, comment) = self.bytes.split_at(at);
        if code.last().is_some_and(|byte| !is_blank(*byte)) {
            let span = self.span(at, at.saturating_add(1));
            report.advise(
                Code::HashInWord,
                span,
                "this `#` begins a comment, although it stands inside a word",
                "put a blank before the `#`, or choose a name without it",
            );
        }
        let Span { column, start, .. } = self.span(at, at);
        let comment = Line { number: self.number, start, indent: column.saturating_sub(1), bytes: comment };
        (Line { bytes: code, ..self }, Some(comment))
    }

    /// The line without a final backslash, which joins it with the next.
    pub(crate) fn continued(self) -> Option<Line<'a>> {
        self.bytes.strip_suffix(b"\\").map(|bytes| Line { bytes, ..self })
    }

    /// The pieces between bytes for which `separates`, with their places.
    pub(crate) fn pieces(&self, separates: fn(u8) -> bool) -> Vec<(&'a [u8], Span)> {
        let mut pieces = Vec::new();
        let mut from = 0_usize;
        for piece in self.bytes.split(|byte| separates(*byte)) {
            let to = from.saturating_add(piece.len());
            if !piece.is_empty() {
                pieces.push((piece, self.span(from, to)));
            }
            from = to.saturating_add(1);
        }
        pieces
    }

    /// The words between bytes for which `separates`; a word that is not UTF-8 is reported and left out.
    pub(crate) fn words(&self, separates: fn(u8) -> bool, report: &mut Report) -> Vec<Word<'a>> {
        let mut words = Vec::new();
        for (piece, span) in self.pieces(separates) {
            match core::str::from_utf8(piece) {
                Ok(text) => words.push(Word { text, span }),
                Err(_) => report.advise(
                    Code::NotUtf8,
                    span,
                    "this word is not valid UTF-8",
                    "write it in ASCII, or save the file as UTF-8",
                ),
            }
        }
        words
    }

    /// Everything from `span` on, without blanks at the end, if it is UTF-8.
    pub(crate) fn rest(&self, span: Span) -> Option<Word<'a>> {
        let from = span.start.saturating_sub(self.start);
        let bytes = self.bytes.get(from..)?.trim_ascii_end();
        let text = core::str::from_utf8(bytes).ok()?;
        Some(Word { text, span: self.span(from, from.saturating_add(bytes.len())) })
    }
}

/// What separates words everywhere.
pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0b | 0x0c | b'\r')
}

/// What separates values in ha.cf (CLUSTER i.1).
pub(crate) fn is_delimiter(byte: u8) -> bool {
    is_blank(byte) || matches!(byte, b',' | b';')
}

/// The candidate that `word` most probably was meant to be, if one is near: equal but for case, or at most two edits
/// away; among the shortest names everything is near everything.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_ascii_lowercase();
    let allowed = match lower.len() {
        0..=2 => 0,
        3 => 1,
        _ => 2,
    };
    let near = candidates.into_iter().map(|candidate| (edits(lower.as_bytes(), candidate.as_bytes()), candidate));
    near.filter(|(distance, _)| *distance <= allowed).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// How many letters must be changed, added or dropped to make one word the other; words over 64 bytes are far from all.
fn edits(one: &[u8], other: &[u8]) -> usize {
    if one.len() > 64 || other.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.iter().enumerate() {
        let mut diagonal = at;
        let mut left = at.saturating_add(1);
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, candidate) in row.iter_mut().skip(1).zip(other) {
            let changed = diagonal.saturating_add(usize::from(letter != candidate));
            diagonal = *cell;
            left = changed.min(left.saturating_add(1)).min(diagonal.saturating_add(1));
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use alloc::vec;

    fn read(bytes: &[u8]) -> (Vec<Line<'_>>, Vec<String>) {
        let mut report = Report::new("f");
        let lines = lines(SourceText { name: "f", bytes }, &mut report).unwrap_or_default();
        (lines, report.finish().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn places_count_lines_characters_and_bytes() {
        let text = "# für\r\nnode  h1,größe h2\r\n".as_bytes();
        let (lines, problems) = read(text);
        assert!(problems.is_empty());
        let mut report = Report::new("f");
        let words = lines[1].words(is_delimiter, &mut report);
        let found: Vec<_> = words.iter().map(|word| (word.text, word.span.line, word.span.column)).collect();
        assert_eq!(found, [("node", 2, 1), ("h1", 2, 7), ("größe", 2, 10), ("h2", 2, 16)]);
        for word in words {
            assert_eq!(&text[word.span.start..word.span.end], word.text.as_bytes());
        }
    }

    #[test]
    fn what_is_no_text_is_refused_once() {
        assert_eq!(read(b"node h1\nba\0d\0\n\0").1, ["f:2:3: error[E0002]: a NUL byte: this is not a text file"]);
        assert_eq!(read(b"\xff\xfen\0o\0").1, ["f:1:1: error[E0002]: the file is UTF-16"]);
        assert_eq!(read(&vec![b'#'; FILE_MAX + 1]).1.len(), 1);
        let long = [vec![b'x'; LINE_MAX + 1], b"\nnode h1".to_vec()].concat();
        let (lines, problems) = read(&long);
        assert_eq!((lines.len(), problems.len()), (1, 1));
    }

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_not() {
        let names = ["keepalive", "node", "debug"];
        assert_eq!(nearest("KEEPALIVE", names), Some("keepalive"));
        assert_eq!(nearest("keepalvie", names), Some("keepalive"));
        assert_eq!(nearest("nodes", names), Some("node"));
        assert_eq!(nearest("alfa", ["alpha", "beta"]), Some("alpha"));
        assert_eq!(nearest("bug", names), None);
        assert_eq!(nearest("h3", ["h1", "h2"]), None);
        assert_eq!(nearest(&"x".repeat(100), names), None);
    }
}
