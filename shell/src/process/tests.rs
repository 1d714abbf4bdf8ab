//! Scripts as a loop sees them; `/bin/sh` is the program, so that no test writes what another may be executing.

use super::*;
use crate::clock;
use mio::{Events, Poll};
use signal_hook_mio::v1_0::Signals;

const WAKE: Token = Token(0);
const CHILD: Token = Token(1);
const FIRST: Token = Token(10);

struct Loop {
    poll: Poll,
    signals: Signals,
    scripts: Scripts,
}

impl Loop {
    fn new() -> Loop {
        Loop::noting(None)
    }

    /// Starts and stops are noted there.
    fn noting(unfinished: Option<std::path::PathBuf>) -> Loop {
        let poll = Poll::new().unwrap();
        let mut signals = Signals::new([Signal::SIGCHLD as i32]).unwrap();
        poll.registry().register(&mut signals, CHILD, Interest::READABLE).unwrap();
        let wake = Arc::new(mio::Waker::new(poll.registry(), WAKE).unwrap());
        let manner = Manner {
            directories: vec!["/bin".into()],
            environment: vec![("HA_TEST".into(), "from us".into())],
            reports: None,
            unfinished,
        };
        let registry = poll.registry().try_clone().unwrap();
        let scripts = Scripts::new(registry, FIRST, wake, manner).unwrap();
        Loop { poll, signals, scripts }
    }

    fn shell(&mut self, op: u64, limit: Duration, script: &str) {
        let (args, action) = (vec!["-c".into()], script.into());
        let run = ScriptRun { op: OpId(op), script: "sh".into(), args, action, env: vec![], limit, effort: None };
        self.scripts.run(clock::now(), run);
    }

    /// Turns until a script is over.
    fn finished(&mut self) -> Finished {
        let mut events = Events::with_capacity(16);
        for _ in 0..100_000 {
            while let Some(news) = self.scripts.next_news() {
                if let News::Finished(finished) = news {
                    return finished;
                }
            }
            let deadline = self.scripts.next_deadline().unwrap_or(Instant::FAR_FUTURE);
            let wait = deadline.since(clock::now()).min(Duration::from_secs(20));
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result.unwrap(),
            }
            for event in &events {
                match event.token() {
                    WAKE => self.scripts.on_wake(clock::now()),
                    CHILD => {
                        self.signals.pending().for_each(drop);
                        self.scripts.on_child(clock::now());
                    }
                    token => self.scripts.on_readable(token),
                }
            }
            self.scripts.on_time(clock::now());
        }
        panic!("the script never finished");
    }

    fn output_of(&mut self, script: &str) -> String {
        self.shell(1, Duration::from_secs(20), script);
        let finished = self.finished();
        assert_eq!(finished.end, End::Exited(0), "{}", String::from_utf8_lossy(&finished.stderr));
        String::from_utf8(finished.stdout).unwrap()
    }
}

#[test]
fn both_outputs_and_the_exit_code_come_back() {
    let mut turn = Loop::new();
    turn.shell(7, Duration::from_secs(20), "echo is running; echo $HA_TEST >&2; exit 3");
    let finished = turn.finished();
    assert_eq!((finished.op, finished.end), (OpId(7), End::Exited(3)));
    assert_eq!(finished.stdout, b"is running\n");
    assert_eq!(finished.stderr, b"from us\n");
}

#[test]
fn the_command_line_is_news_when_the_script_runs() {
    let mut turn = Loop::new();
    turn.shell(7, Duration::from_secs(20), "true");
    while turn.scripts.news.is_empty() {
        turn.scripts.on_wake(clock::now());
    }
    assert_eq!(turn.scripts.next_news(), Some(News::Started(OpId(7), "/bin/sh -c true".into())));
}

#[test]
fn a_signal_from_elsewhere_is_told_from_an_exit() {
    let mut turn = Loop::new();
    turn.shell(1, Duration::from_secs(20), "kill -9 $$");
    assert_eq!(turn.finished().end, End::Killed(9));
}

#[test]
fn a_missing_script_is_an_end_too() {
    let mut turn = Loop::new();
    let run = ScriptRun {
        op: OpId(1),
        script: "no-such-script".into(),
        args: vec![],
        action: "start".into(),
        env: vec![],
        limit: Duration::from_secs(20),
        effort: None,
    };
    turn.scripts.run(clock::now(), run);
    assert_eq!(turn.finished().end, End::NotFound);
}

#[test]
fn a_script_that_cannot_run_says_why() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut turn = Loop::new();
    let file = std::env::temp_dir().join(format!("hb-script-{}", std::process::id()));
    for (mode, expected) in [(0o644, "NotFound"), (0o755, "NotStarted")] {
        std::fs::write(&file, "#!/nonexistent/interpreter\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let script = file.display().to_string();
        let limit = Duration::from_secs(20);
        turn.scripts.run(
            clock::now(),
            ScriptRun { op: OpId(1), script, args: vec![], action: "start".into(), env: vec![], limit, effort: None },
        );
        let end = format!("{:?}", turn.finished().end);
        assert!(end.starts_with(expected), "{mode:o}: {end}");
    }
    std::fs::remove_file(file).unwrap();
}

#[test]
fn error_output_without_end_neither_blocks_the_script_nor_fills_memory() {
    let mut turn = Loop::new();
    turn.shell(1, Duration::from_secs(20), "head -c 3000000 /dev/zero >&2; head -c 3000000 /dev/zero; exit 4");
    let finished = turn.finished();
    assert_eq!(finished.end, End::Exited(4));
    assert_eq!((finished.stdout.len(), finished.stderr.len()), (OUTPUT_MAX, OUTPUT_MAX));
}

#[test]
fn the_time_limit_ends_the_script_and_its_children() {
    let mut turn = Loop::new();
    turn.shell(1, Duration::from_millis(300), "sleep 1000 & echo $!; wait");
    let finished = turn.finished();
    assert_eq!(finished.end, End::TimedOut);
    let sleeper = String::from_utf8(finished.stdout).unwrap();
    let status = format!("/proc/{}/stat", sleeper.trim());
    // Dead, or a zombie that nobody reaps; a signal takes a moment to do its work.
    let is_dead = || std::fs::read_to_string(&status).map_or(true, |status| status.contains(") Z "));
    assert!((0..2000).any(|_| is_dead() || (std::thread::sleep(Duration::from_millis(10)), false).1));
}

#[test]
fn a_script_that_ignores_sigterm_is_killed() {
    let mut turn = Loop::new();
    turn.shell(1, Duration::from_millis(300), "trap '' TERM; while :; do sleep 1; done");
    let finished = turn.finished();
    assert_eq!(finished.end, End::TimedOut);
    assert!(finished.took >= GRACE);
}

#[test]
fn a_daemon_that_keeps_the_pipe_neither_delays_the_end_nor_dies_of_its_output() {
    let mut turn = Loop::new();
    let background = "(sleep 0.3; echo late; echo alive >&3) & echo started";
    let marker = std::env::temp_dir().join(format!("hb-pipe-{}", std::process::id()));
    turn.shell(1, Duration::from_secs(20), &format!("exec 3>{}; {background}", marker.display()));
    let finished = turn.finished();
    assert_eq!((finished.end, finished.stdout), (End::Exited(0), b"started\n".to_vec()));
    assert_eq!(turn.scripts.abandoned.len(), 2, "both pipes are still held");
    let mut events = Events::with_capacity(4);
    while !turn.scripts.abandoned.is_empty() {
        match turn.poll.poll(&mut events, Some(Duration::from_secs(20))) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result.unwrap(),
        }
        assert!(!events.is_empty(), "the daemon never closed its output");
        events.iter().filter(|event| event.token() >= FIRST).for_each(|event| turn.scripts.on_readable(event.token()));
    }
    assert_eq!(std::fs::read_to_string(&marker).unwrap(), "alive\n");
    std::fs::remove_file(marker).unwrap();
}

#[test]
fn of_endless_output_the_end_is_kept() {
    let mut turn = Loop::new();
    let output = turn.output_of("head -c 1000000 /dev/zero | tr '\\0' x; echo is running");
    assert_eq!(output.len(), OUTPUT_MAX);
    assert!(output.ends_with("xxis running\n"));
}

#[test]
fn scripts_inherit_no_descriptor_no_blocked_and_no_ignored_pipe_signal() {
    let mut turn = Loop::new();
    let seen = turn.output_of("ls -m /proc/$$/fd; grep SigBlk /proc/self/status; readlink /proc/$$/fd/0");
    assert_eq!(seen, "0, 1, 2\nSigBlk:\t0000000000000000\n/dev/null\n");
    let ignored = turn.output_of("grep SigIgn /proc/self/status | tail -c 5");
    assert_eq!(ignored.trim().as_bytes()[0] & 1, 0, "SIGPIPE is bit 12: {ignored}");
}

#[test]
fn operations_end_in_any_order() {
    let mut turn = Loop::new();
    turn.shell(1, Duration::from_secs(20), "read line < /dev/null; sleep 0.2");
    turn.shell(2, Duration::from_secs(20), "true");
    let mut over = [turn.finished().op, turn.finished().op];
    over.sort();
    assert_eq!(over, [OpId(1), OpId(2)]);
    assert_eq!(turn.scripts.next_deadline(), None);
}

#[test]
fn a_start_is_noted_until_it_has_succeeded_also_at_the_end() {
    let directory = std::env::temp_dir().join(format!("hb-noted-{}", std::process::id()));
    let notes = || std::fs::read_dir(&directory).map_or(0, Iterator::count);
    let mut turn = Loop::noting(Some(directory.clone()));
    for (op, script, left) in [(1, "exit 1", 1), (2, "[ -s \"$0\"/0 ]", 0), (3, "exit 0", 0)] {
        let effort = Effort { resource: "Web".into(), verb: hb_core::Verb::Start };
        let args = vec!["-c".into(), script.into()];
        let (action, limit) = (directory.display().to_string(), Duration::from_secs(20));
        let run =
            ScriptRun { op: OpId(op), script: "sh".into(), args, action, env: vec![], limit, effort: Some(effort) };
        turn.scripts.run(clock::now(), run);
        turn.finished();
        if op == 3 {
            turn.scripts.retire();
        }
        while notes() != left {
            std::thread::yield_now();
            assert!(op != 3, "nobody notes it any more");
        }
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn what_cannot_be_noted_is_run_all_the_same() {
    // A directory cannot be made below a file.
    let mut turn = Loop::noting(Some("/dev/null/scripts".into()));
    let mut unnoted = 0;
    for op in 1..=2 {
        let effort = Effort { resource: "Web".into(), verb: hb_core::Verb::Stop };
        let (args, limit) = (vec!["-c".into()], Duration::from_secs(20));
        let (action, env) = ("exit 0".into(), vec![]);
        let run = ScriptRun { op: OpId(op), script: "sh".into(), args, action, env, limit, effort: Some(effort) };
        turn.scripts.run(clock::now(), run);
        let mut events = Events::with_capacity(16);
        while !turn.scripts.news.iter().any(|news| matches!(news, News::Finished(_))) {
            turn.poll.poll(&mut events, Some(Duration::from_millis(5))).unwrap();
            turn.scripts.on_wake(clock::now());
            turn.scripts.on_child(clock::now());
        }
        for news in turn.scripts.news.drain(..) {
            match news {
                News::Finished(finished) => assert_eq!(finished.end, End::Exited(0)),
                News::Unnoted(why) => {
                    assert!(why.contains("/dev/null/scripts"), "{why}");
                    unnoted += 1;
                }
                News::Started(..) => {}
            }
        }
    }
    assert_eq!(unnoted, 1, "said once");
}
