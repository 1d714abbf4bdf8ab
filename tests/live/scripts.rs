//! Scripts that behave badly: each is said clearly and ends in a state that is defined. Those in the table fail on `h1`, where
//! the group is at home, and work on `h2`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use hb_shell::testbed::Testbed;
use libtest_mimic::Completion;

use crate::Test;
use crate::agents::{self, PATIENCE, executable, sturdy};
use crate::scene::Outcome;

pub(crate) const TESTS: &[Test] = &[
    ("scripts::missing_or_not_executable_is_said_before_anything_starts", checked),
    ("scripts::gone_after_the_start_the_other_node_runs_it", gone),
    ("scripts::no_longer_executable_the_other_node_runs_it", not_executable),
    ("scripts::a_start_beyond_its_limit_is_ended_and_the_other_node_runs_it", hangs),
    ("scripts::dead_by_signal_the_other_node_runs_it", dies),
    ("scripts::megabytes_and_a_failure_are_a_short_line_and_the_other_node_runs_it", talks_and_fails),
    ("scripts::megabytes_of_output_neither_block_nor_fill_anything", talks),
    ("scripts::a_daemon_that_keeps_the_pipes_open_is_a_success_at_once", forks),
    ("scripts::a_stop_beyond_its_limit_is_tried_again_and_believed_only_if_it_stopped", stop_hangs),
    ("scripts::gone_before_the_stop_it_counts_as_stopped_after_all_attempts", stop_gone),
    ("scripts::what_runs_on_after_all_stops_is_stuck_until_cleanup", stuck),
    ("scripts::a_status_beyond_its_limit_counts_as_running_and_is_stopped", status_hangs),
];

const LINE: &str = "h1 10.77.0.100/24/eth0 Bad\n";
const KEY: &str = "10.77.0.100/24/eth0";

fn script(testbed: &Testbed, which: usize) -> PathBuf {
    testbed.directory(which).join("resource.d/Bad")
}

/// Two nodes with a script that notes its calls; on `h1` it does what `hooks` say first, of the verb in `$1`.
fn pair(lines: &str, hooks: &str) -> Result<Testbed> {
    let mut setup = sturdy();
    setup.ha_cf.push_str("script_limit start 5\nscript_limit stop 5\nstop_retries 1\n");
    setup.ha_cf.push_str(lines);
    setup.haresources = LINE.into();
    let testbed = Testbed::new(setup)?;
    for which in 0..2 {
        let home = testbed.directory(which);
        fs::create_dir_all(home.join("resource.d"))?;
        let hooks = if which == 0 { hooks } else { "" };
        let text = format!(
            "#!/bin/sh\ncd {}\necho \"$1\" >> calls\n{hooks}\n\
             case $1 in start) touch up;; stop) rm -f up;; status) [ -e up ] && echo running || echo stopped;; esac\n",
            home.display()
        );
        executable(&script(&testbed, which), &text)?;
    }
    Ok(testbed)
}

/// The group runs on that node and is in that state on the other; the address is where it runs.
fn ends(testbed: &Testbed, owner: usize, other: &str) -> Result<()> {
    testbed.wait_until("the end state is reached", PATIENCE, |testbed| {
        let there = agents::here(testbed, owner) == "running" && agents::here(testbed, 1 - owner) == other;
        there && testbed.is_owned_by(&[owner]) && testbed.is_stable(owner)
    })
}

/// The start fails on `h1` with that diagnosis: nothing is left there, `h2` runs the group, and `status` says what failed.
fn fails(testbed: &Testbed, diagnosis: &str) -> Result<()> {
    ends(testbed, 1, "failed")?;
    let giving_up = format!("Giving up resources due to failure of Bad: group {KEY} stays stopped here");
    agents::logged_in_order(testbed, 0, &[diagnosis, &giving_up])?;
    let status = testbed.status(0)?;
    let failure = status["groups"][0]["failure"].as_str().context("it is said what failed")?;
    // Of a script that is not there the stop fails as well.
    ensure!(failure.starts_with("Bad st"), "{failure}");
    ensure!(status["groups"][0]["owner"] == "h2", "{status}");
    Ok(())
}

fn start(testbed: &mut Testbed) -> Result<()> {
    testbed.start(0)?;
    testbed.start(1)
}

fn checked() -> Outcome {
    let testbed = pair("", "")?;
    let path = script(&testbed, 0);
    for remove in [false, true] {
        if remove {
            fs::remove_file(&path)?;
        } else {
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        }
        for verb in ["check", "run"] {
            let mut command = testbed.command(0, &[verb]);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            let output = testbed.machine(0)?.spawn(command)?.wait_with_output()?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.code() == Some(6), "{output:?}");
            ensure!(said.contains("Cannot locate resource script Bad") && said.contains("haresources:1:24"), "{said}");
        }
    }
    Ok(Completion::Completed)
}

/// Started with `h1` last, and with its script as `change` left it after the configuration was read.
fn changed(change: impl FnOnce(&Testbed) -> Result<()>) -> Outcome {
    let mut testbed = pair("", "")?;
    testbed.start(0)?;
    testbed.wait_until("it was read, and asked", PATIENCE, |testbed| agents::here(testbed, 0) == "stopped")?;
    // Nothing starts before the other node is heard.
    change(&testbed)?;
    testbed.start(1)?;
    fails(&testbed, "Cannot locate resource script Bad (start)")?;
    Ok(Completion::Completed)
}

fn gone() -> Outcome {
    changed(|testbed| Ok(fs::remove_file(script(testbed, 0))?))
}

fn not_executable() -> Outcome {
    changed(|testbed| Ok(fs::set_permissions(script(testbed, 0), std::os::unix::fs::PermissionsExt::from_mode(0o644))?))
}

fn hangs() -> Outcome {
    // Not even SIGTERM ends it.
    let hooks = "[ $1 = start ] && { trap '' TERM; echo $$ > pid; sleep 1000; sleep 1000; }";
    let mut testbed = pair("script_limit start 1\n", hooks)?;
    start(&mut testbed)?;
    fails(&testbed, "time limit of 1 s exceeded from Bad start after ")?;
    let pid = fs::read_to_string(testbed.directory(0).join("pid"))?;
    ensure!(!PathBuf::from(format!("/proc/{}", pid.trim())).exists(), "it goes on");
    Ok(Completion::Completed)
}

fn dies() -> Outcome {
    let mut testbed = pair("", "[ $1 = start ] && { echo last words >&2; kill -9 $$; }")?;
    start(&mut testbed)?;
    fails(&testbed, "killed by signal 9 from Bad start after ")?;
    testbed.wait_for_log(0, &["last words"], PATIENCE)?;
    Ok(Completion::Completed)
}

/// Ten megabytes on each stream.
const MEGABYTES: &str =
    "head -c 10000000 /dev/zero | tr '\\0' 'x'; echo; head -c 10000000 /dev/zero | tr '\\0' 'y' >&2; echo >&2";

fn talks_and_fails() -> Outcome {
    let mut testbed = pair("", &format!("[ $1 = start ] && {{ {MEGABYTES}; echo the reason >&2; exit 3; }}"))?;
    start(&mut testbed)?;
    fails(&testbed, "Return code 3 from Bad start after ")?;
    testbed.wait_for_log(0, &["the reason"], PATIENCE)?;
    let longest = testbed.log(0).lines().map(str::len).max().unwrap_or_default();
    ensure!(longest < 1024, "a line of {longest} bytes");
    Ok(Completion::Completed)
}

fn talks() -> Outcome {
    // In each verb, the question included: the words that count come last.
    let mut testbed = pair("monitor 200ms\n", MEGABYTES)?;
    start(&mut testbed)?;
    ends(&testbed, 0, "stopped")?;
    let daemon = testbed.daemon_pid(0)?;
    let resident = || -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{daemon}/status"))?;
        let line = text.lines().find(|line| line.starts_with("VmRSS:")).context("it has a size")?;
        Ok(line.split_whitespace().nth(1).context("in kB")?.parse()?)
    };
    let (before, calls) = (resident()?, || fs::read_to_string(testbed.directory(0).join("calls")).unwrap_or_default());
    let questions = calls().matches("status").count();
    testbed.wait_until("it was asked ten times", PATIENCE, |_| calls().matches("status").count() > questions + 10)?;
    let after = resident()?;
    ensure!(after < before + 8192, "from {before} to {after} kB");
    ensure!(testbed.log(0).len() < 100_000, "{} bytes of log", testbed.log(0).len());
    ends(&testbed, 0, "stopped")?;
    ensure!(!testbed.log(0).contains("ceased to run"), "{}", testbed.log(0));
    Ok(Completion::Completed)
}

fn forks() -> Outcome {
    // It writes on after the script has ended, and lives until it is stopped.
    let hooks = "case $1 in start) (while :; do echo still here; sleep 0.1; done) & echo $! > pid;; \
                 stop) kill $(cat pid);; esac";
    let mut testbed = pair("script_limit start 60\n", hooks)?;
    start(&mut testbed)?;
    ends(&testbed, 0, "stopped")?;
    let pid = fs::read_to_string(testbed.directory(0).join("pid"))?;
    let lives = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    ensure!(lives(), "it died of its output");
    ensure!(!testbed.log(0).contains("time limit"), "{}", testbed.log(0));
    let output = testbed.command(0, &["standby", "all"]).output()?;
    ensure!(output.status.success(), "{output:?}");
    testbed.wait_until("it has ended", PATIENCE, |_| !lives())?;
    ends(&testbed, 1, "stopped")?;
    Ok(Completion::Completed)
}

/// What `standby all` says, with its exit code.
fn stand_by(testbed: &Testbed) -> Result<(Option<i32>, String)> {
    let output = testbed.command(0, &["standby", "all"]).output()?;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).trim().to_owned()))
}

fn stop_hangs() -> Outcome {
    // It stops, and hangs then.
    let mut testbed = pair("script_limit stop 1\n", "[ $1 = stop ] && { rm -f up; sleep 1000; }")?;
    start(&mut testbed)?;
    ends(&testbed, 0, "stopped")?;
    let said = stand_by(&testbed)?;
    ensure!(said == (Some(0), "standby all: done".into()), "{said:?}");
    ends(&testbed, 1, "stopped")?;
    let late = "time limit of 1 s exceeded from Bad stop after ";
    agents::logged_in_order(&testbed, 0, &[late, "Retrying failed stop operation [Bad] (attempt 1)", late])?;
    Ok(Completion::Completed)
}

fn stop_gone() -> Outcome {
    let mut testbed = pair("", "")?;
    start(&mut testbed)?;
    ends(&testbed, 0, "stopped")?;
    fs::remove_file(script(&testbed, 0))?;
    let said = stand_by(&testbed)?;
    // As with 3.0.6: nobody can say that it runs.
    ensure!(said == (Some(0), "standby all: done".into()), "{said:?}");
    ends(&testbed, 1, "stopped")?;
    let missing = "Cannot locate resource script Bad (stop)";
    agents::logged_in_order(&testbed, 0, &[missing, "Retrying failed stop operation [Bad] (attempt 1)", missing])?;
    Ok(Completion::Completed)
}

fn stuck() -> Outcome {
    let mut testbed = pair("", "[ $1 = stop ] && [ ! -e willing ] && exit 1")?;
    start(&mut testbed)?;
    ends(&testbed, 0, "stopped")?;
    let said = stand_by(&testbed)?;
    ensure!(said.0 == Some(1) && said.1.contains("a resource could not be stopped"), "{said:?}");
    let stuck = |testbed: &Testbed| agents::here(testbed, 0) == "stuck" && agents::here(testbed, 1) == "stopped";
    testbed.wait_until("it is stuck, and nobody else has it", PATIENCE, stuck)?;
    ensure!(!testbed.has_address(1), "{}", testbed.log(1));
    let failed = "Return code 1 from Bad stop";
    agents::logged_in_order(&testbed, 0, &[failed, failed, "Resource STOP failure. Reboot required! [Bad]"])?;
    // The cause is gone: it is stopped once more by command, and free.
    fs::write(testbed.directory(0).join("willing"), "")?;
    let output = testbed.command(0, &["cleanup", KEY]).output()?;
    ensure!(output.status.success(), "{output:?}");
    testbed.wait_until("one node runs it", PATIENCE, |testbed| {
        let words = [0, 1].map(|which| agents::here(testbed, which));
        words.iter().filter(|word| *word == "running").count() == 1 && words.iter().any(|word| word == "stopped")
    })?;
    Ok(Completion::Completed)
}

fn status_hangs() -> Outcome {
    let mut testbed =
        pair("script_limit status 1\n", "[ $1 = status ] && [ ! -e asked ] && { touch asked; sleep 1000; }")?;
    start(&mut testbed)?;
    ends(&testbed, 0, "stopped")?;
    let found = "Bad runs here already, or may: it is stopped before anything is claimed";
    agents::logged_in_order(&testbed, 0, &["time limit of 1 s exceeded from Bad status", found])?;
    let calls = fs::read_to_string(testbed.directory(0).join("calls"))?;
    ensure!(calls == "status\nstop\nstatus\nstart\n", "{calls}");
    Ok(Completion::Completed)
}
