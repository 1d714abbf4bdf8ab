//! What resource scripts are told and what they answer, by their class (CLUSTER d.3).
//!
//! | class | told | runs | does not | the answer is no answer |
//! |---|---|---|---|---|
//! | Heartbeat | `status` | words on standard output | other words, or none | never |
//! | LSB | `status` | 0 | 1, 2, 3 | other codes |
//! | OCF | `monitor` | 0 | 7 | other codes |

use crate::action::Verb;
use crate::config::ScriptClass;
use crate::input::{Failure, Outcome};

/// The last argument of a script.
pub fn argument(class: &ScriptClass, verb: Verb) -> &'static str {
    match (class, verb) {
        (ScriptClass::Ocf { .. }, Verb::Status) => Verb::Monitor.word(),
        (ScriptClass::Heartbeat | ScriptClass::Lsb, Verb::Monitor) => Verb::Status.word(),
        (_, verb) => verb.word(),
    }
}

/// What it means that a script ended by itself with this exit code.
pub fn outcome(class: &ScriptClass, verb: Verb, code: i32, stdout: &[u8]) -> Outcome {
    let (runs, stopped) = match (verb, class) {
        (Verb::Start | Verb::Stop, _) if code == 0 => return Outcome::Done,
        (Verb::Start | Verb::Stop, _) => return Outcome::Failed(Failure::ExitCode(code)),
        (_, ScriptClass::Heartbeat) => (says_running(stdout), true),
        (_, ScriptClass::Lsb) => (code == 0, (1..=3).contains(&code)),
        (_, ScriptClass::Ocf { .. }) => (code == 0, code == 7),
    };
    match (runs, stopped) {
        (true, _) => Outcome::Running,
        (false, true) => Outcome::NotRunning,
        (false, false) => Outcome::Failed(Failure::ExitCode(code)),
    }
}

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
    fn the_class_decides_what_an_exit_code_means() {
        let ocf = ScriptClass::Ocf { provider: "heartbeat".into() };
        let failed = |code| Outcome::Failed(Failure::ExitCode(code));
        for (class, code, stdout, expected) in [
            (&ScriptClass::Heartbeat, 3, "running", Outcome::Running),
            (&ScriptClass::Heartbeat, 0, "stopped", Outcome::NotRunning),
            (&ScriptClass::Lsb, 0, "not running", Outcome::Running),
            (&ScriptClass::Lsb, 1, "", Outcome::NotRunning),
            (&ScriptClass::Lsb, 3, "running", Outcome::NotRunning),
            (&ScriptClass::Lsb, 4, "", failed(4)),
            (&ocf, 0, "stopped", Outcome::Running),
            (&ocf, 7, "running", Outcome::NotRunning),
            (&ocf, 1, "running", failed(1)),
            (&ocf, 8, "", failed(8)),
        ] {
            assert_eq!(outcome(class, Verb::Status, code, stdout.as_bytes()), expected, "{class:?} {code}");
        }
        assert_eq!(outcome(&ocf, Verb::Stop, 7, b""), failed(7));
        assert_eq!(outcome(&ScriptClass::Lsb, Verb::Start, 0, b"not running"), Outcome::Done);
        assert_eq!((argument(&ocf, Verb::Status), argument(&ScriptClass::Lsb, Verb::Monitor)), ("monitor", "status"));
    }

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
