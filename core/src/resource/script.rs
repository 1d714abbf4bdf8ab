//! What the output of a resource script means (CLUSTER d.3).

/// Whether what `script status` wrote on standard output says that the resource runs.
///
/// The exit code does not count, since many scripts of this kind get it wrong and 3.0.6 never looked. `not running`
/// decides first; hence a script that prints `NOT OK` is taken to be running, as with 3.0.6: a script that relies on
/// it would otherwise be started twice.
pub fn says_running(stdout: &[u8]) -> bool {
    const NOT: &[&[u8]] = &[b"nN", b"oO", b"tT", b" ", b"rR", b"u", b"n", b"n", b"i", b"n", b"g"];
    const RUNNING: &[&[u8]] = &[b"rR", b"u", b"n", b"n", b"i", b"n", b"g"];
    const OK: &[&[u8]] = &[b"O", b"K"];
    !contains(stdout, NOT) && (contains(stdout, RUNNING) || contains(stdout, OK))
}

/// Whether somewhere in `text` each byte is one of the set at its place in `pattern`.
fn contains(text: &[u8], pattern: &[&[u8]]) -> bool {
    text.windows(pattern.len()).any(|window| window.iter().zip(pattern).all(|(byte, set)| set.contains(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_on_standard_output_decide() {
        for (stdout, running) in [
            ("running", true),
            ("Running OK\n", true),
            ("httpd (pid 1 2 3) is running...\n", true),
            ("INFO: OK\n", true),
            ("NOT OK", true),
            ("not running", false),
            ("NOT Running", false),
            ("httpd is nOt running\nOK\n", false),
            ("not  running", true),
            ("NOT RUNNING", false),
            ("RUNNING", false),
            ("ok", false),
            ("INFO: Resource is stopped", false),
            ("runnin", false),
            ("", false),
        ] {
            assert_eq!(says_running(stdout.as_bytes()), running, "{stdout:?}");
        }
    }
}
