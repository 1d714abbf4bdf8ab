//! The laboratory itself: what is in a machine stays in it and ends with it.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use hb_shell::net::namespace::{Machine, Mount};
use libtest_mimic::Completion;

use crate::Test;
use crate::recordings;
use crate::scene::{Outcome, eventually};

pub(crate) const TESTS: &[Test] = &[
    ("machines::a_program_sees_its_machine_and_ends_with_it", program),
    ("machines::a_program_that_detaches_itself_ends_with_its_machine_too", detached),
    ("machines::a_mount_is_seen_in_its_machine_only", mounts),
    ("machines::a_mount_that_cannot_be_made_names_its_directory", no_such_directory),
    (FOR_ORDINARY_USER, ordinary_user),
];

const FOR_ORDINARY_USER: &str = "machines::an_ordinary_user_gets_all_this_too";
/// The user and group `nobody`; that the name exists does not matter.
const NOBODY: u32 = 65534;

fn program() -> Outcome {
    let machine = Machine::new("h1", &[])?;
    let mut uname = Command::new("uname");
    uname.arg("-n").stdout(Stdio::piped());
    let output = machine.spawn(uname)?.wait_with_output()?;
    ensure!(output.stdout == b"h1\n", "{output:?}");

    let mut sleep = Command::new("sleep");
    sleep.arg("1000");
    let mut child = machine.spawn(sleep)?;
    ensure!(machine.processes()?.iter().any(|pid| pid.as_raw().cast_unsigned() == child.id()));
    drop(machine);
    ensure!(child.wait()?.signal() == Some(nix::libc::SIGKILL));
    Ok(Completion::Completed)
}

fn detached() -> Outcome {
    let machine = Machine::new("h1", &[])?;
    let mut shell = Command::new("sh");
    shell.args(["-c", "setsid sleep 1000 </dev/null >/dev/null 2>&1 &"]);
    ensure!(machine.spawn(shell)?.wait()?.success());
    let left = machine.processes()?;
    ensure!(left.len() == 1, "{left:?}");
    drop(machine);
    let gone = |pid: i32| !Path::new(&format!("/proc/{pid}/ns")).join("net").exists();
    eventually("the program is gone", || Ok(gone(left[0].as_raw())))?;
    Ok(Completion::Completed)
}

fn mounts() -> Outcome {
    let covered = std::env::temp_dir();
    let inside = [Mount::Empty { target: covered.clone() }];
    let machine = Machine::new("h1", &inside)?;
    let name = covered.join(format!("heartbeat-live-{}", std::process::id()));
    let file = name.clone();
    machine.run(move || std::fs::write(file, "inside"))?;
    ensure!(!name.exists(), "the file is in the machine only");
    let mut test = Command::new("test");
    test.arg("-f").arg(&name);
    ensure!(machine.spawn(test)?.wait()?.success(), "its programs see it");
    let etc = Mount::Bind { source: "/etc".into(), target: covered.clone() };
    let other = Machine::new("h2", &[etc])?;
    let passwd = covered.join("passwd");
    ensure!(other.run(move || passwd.exists()), "a directory is shown in another place");
    Ok(Completion::Completed)
}

fn no_such_directory() -> Outcome {
    let nowhere = [Mount::Empty { target: "/there/is/none".into() }];
    let error = Machine::new("h1", &nowhere).err().context("it must fail")?;
    ensure!(error.to_string().contains("/there/is/none"), "{error}");
    Ok(Completion::Completed)
}

/// Runs the other tests once more as a user without any right.
fn ordinary_user() -> Outcome {
    if !hb_tests::is_root() {
        return Ok(Completion::ignored_with("this run is already one of an ordinary user"));
    }
    let mut again = Command::new("/proc/self/exe");
    again.args(["--skip", FOR_ORDINARY_USER, "--skip", recordings::REPLAYED]).uid(NOBODY).gid(NOBODY);
    let output = again.output()?;
    let report = String::from_utf8_lossy(&output.stdout);
    if report.contains("cannot make ") {
        return Ok(Completion::ignored_with("ordinary users may not make user namespaces here"));
    }
    ensure!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
    // What needs a real Heartbeat, or Debian's resource scripts, needs root, and nothing else does.
    let is_known = |line: &&str| line.ends_with(" needs root)") || line.ends_with(" is not installed)");
    let left_out = report.lines().filter(|line| line.contains("ignored (")).filter(is_known).count();
    ensure!(report.contains(&format!(" passed; 0 failed; {left_out} ignored")), "{report}");
    Ok(Completion::Completed)
}
