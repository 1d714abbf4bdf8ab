//! What a script left behind for the log: its exit code and the last lines of what it wrote.

use alloc::string::String;
use alloc::vec::Vec;

/// So many lines are kept ...
const LINES_MAX: usize = 5;
/// ... and of those so many bytes, counted from the end.
const BYTES_MAX: usize = 512;

/// How a script ended, for people: nothing is decided by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub struct Transcript {
    /// Its exit code; absent of what is no script, was killed or never ran.
    pub code: Option<i32>,
    /// Its last lines, one after the other with ` | ` between them, control characters escaped.
    pub output: String,
}

impl Transcript {
    /// The last five lines of both outputs that are not blank, the error output last; at most 512 bytes of them.
    pub fn new(code: Option<i32>, stdout: &[u8], stderr: &[u8]) -> Transcript {
        let texts = [stdout, stderr].map(String::from_utf8_lossy);
        let lines: Vec<&str> =
            texts.iter().flat_map(|text| text.lines()).filter(|line| !line.trim().is_empty()).collect();
        let mut output = String::new();
        for line in lines.iter().skip(lines.len().saturating_sub(LINES_MAX)) {
            if !output.is_empty() {
                output.push_str(" | ");
            }
            for c in line.trim_end().chars() {
                if c.is_control() { output.extend(c.escape_default()) } else { output.push(c) }
            }
        }
        let surplus = output.len().saturating_sub(BYTES_MAX);
        let cut = (surplus..=output.len()).find(|at| output.is_char_boundary(*at)).unwrap_or(surplus);
        Transcript { code, output: output.split_off(cut) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_cannot_steer_a_terminal() {
        let one = Transcript::new(Some(1), b"1\n2\n\n3\n  \n4\r\n", b"5\n\x1b[2J6\xff\n");
        assert_eq!(one.output, "2 | 3 | 4 | 5 | \\u{1b}[2J6\u{fffd}");
        assert_eq!(Transcript::new(None, b"", b"\n").output, "");
    }

    #[test]
    fn of_a_long_line_the_end_is_kept() {
        let mut long = alloc::vec![b'x'; 100_000];
        long.extend("ßß".as_bytes());
        for cut in 0..3 {
            let text = Transcript::new(None, &long, &b"yyy"[..cut]);
            assert!((509..=512).contains(&text.output.len()) && text.output.contains("ßß"), "{}", text.output);
        }
        assert_eq!(Transcript::new(None, "ß".repeat(300).as_bytes(), b"").output.len(), 512);
        assert_eq!(Transcript::new(None, alloc::format!("{}y", "ß".repeat(300)).as_bytes(), b"").output.len(), 511);
    }
}
