//! `ha_propagate` with an scp and an ssh that only write down what they are told.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use hb_shell::testbed::Testbed;
use libtest_mimic::Completion;

use crate::Test;
use crate::daemons::{program, setup};
use crate::scene::Outcome;

pub(crate) const TESTS: &[Test] = &[
    ("propagate::each_other_node_gets_the_files_and_a_failure_stops_no_other", each),
    ("propagate::bad_files_are_refused_before_anything_is_sent", refused),
];

/// Every argument on a line of its own; the program fails for a host that its name is in.
const FAKE: &str = "#!/bin/sh\n\
    { printf '%s' \"${0##*/}\"; printf ' [%s]' \"$@\"; echo; } >>\"${0%/*}/calls\"\n\
    for word; do case \"${0##*/} $word\" in\n\
    'scp no-scp:'*) echo 'lost connection' >&2; exit 255;;\n\
    'ssh no-ssh') exit 3;;\n\
    esac; done\n";

/// A directory of files with these nodes, and fakes beside it.
fn scene(nodes: &str) -> Result<Testbed> {
    let testbed = Testbed::new(setup(false))?;
    let file = testbed.directory(0).join("ha.cf");
    fs::write(&file, fs::read_to_string(&file)?.replace("node h1 h2", nodes))?;
    for name in ["scp", "ssh"] {
        let fake = testbed.directory(1).join(name);
        fs::write(&fake, FAKE)?;
        fs::set_permissions(&fake, Permissions::from_mode(0o755))?;
    }
    Ok(testbed)
}

/// Exit code, output, error output, and what scp and ssh were told.
fn run(testbed: &Testbed, by_name: bool) -> Result<(Option<i32>, String, String, String)> {
    let mut command = Command::new(program());
    if by_name {
        command.arg0("/usr/sbin/ha_propagate");
    } else {
        command.arg("ha_propagate");
    }
    command.arg("--config-dir").arg(testbed.directory(0)).args(["--node", "h1"]);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", testbed.directory(1).display()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = testbed.machine(0)?.spawn(command)?.wait_with_output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let calls = testbed.directory(1).join("calls");
    let said = fs::read_to_string(&calls).unwrap_or_default();
    fs::write(&calls, "")?;
    Ok((output.status.code(), text(&output.stdout), text(&output.stderr), said))
}

fn each() -> Outcome {
    let testbed = scene("node h2 h1\nnode no-scp -oproxycommand=evil root@h9\nnode no-ssh h3")?;
    // haresources is none of its business.
    fs::remove_file(testbed.directory(0).join("haresources"))?;
    for by_name in [true, false] {
        let (code, out, error, calls) = run(&testbed, by_name)?;
        ensure!(code == Some(1), "{code:?} {out} {error}");
        let lines: Vec<&str> = out.lines().collect();
        ensure!(
            lines
                == [
                    "h2: ha.cf and authkeys copied, heartbeat enabled",
                    "no-scp: failed: not copied: scp ended with exit code 255",
                    "-oproxycommand=evil: failed: this is no host name that scp and ssh could be told",
                    "root@h9: failed: this is no host name that scp and ssh could be told",
                    "no-ssh: failed: ha.cf and authkeys copied, not enabled: ssh ended with exit code 3",
                    "h3: ha.cf and authkeys copied, heartbeat enabled",
                ],
            "{out}"
        );
        ensure!(error == "lost connection\nha_propagate: 4 of 6 nodes failed\n", "{error}");

        let directory = testbed.directory(0).display().to_string();
        let calls: Vec<&str> = calls.lines().collect();
        let scp = |node: &str| {
            format!(
                "scp [-p] [-q] [-oConnectTimeout=10] [--] [{directory}/ha.cf] [{directory}/authkeys] [{node}:{directory}/]"
            )
        };
        let told = |at: usize| calls.get(at).copied().unwrap_or_default();
        ensure!(calls.len() == 7, "{calls:#?}");
        for (at, node) in [(0, "h2"), (2, "no-scp"), (3, "no-ssh"), (5, "h3")] {
            ensure!(told(at) == scp(node), "{calls:#?}");
        }
        for (at, node) in [(1, "h2"), (4, "no-ssh"), (6, "h3")] {
            ensure!(told(at).starts_with(&format!("ssh [-oConnectTimeout=10] [--] [{node}] [PATH=")), "{calls:#?}");
            for word in ["systemctl enable heartbeat;", "chkconfig heartbeat on;", "update-rc.d heartbeat defaults;"] {
                ensure!(told(at).contains(word), "{word}: {calls:#?}");
            }
        }
    }
    Ok(Completion::Completed)
}

fn refused() -> Outcome {
    let testbed = scene("node h1 h2")?;
    let nothing = |phrase: &str| -> Result<()> {
        let (code, out, error, calls) = run(&testbed, true)?;
        ensure!(code == Some(6) && out.is_empty() && calls.is_empty(), "{code:?} {out} {calls}");
        ensure!(error.contains(phrase) && error.ends_with("ha_propagate: nothing was sent\n"), "{phrase}: {error}");
        Ok(())
    };
    let file = |name: &str| testbed.directory(0).join(name);
    let good = fs::read_to_string(file("ha.cf"))?;
    fs::write(file("ha.cf"), format!("{good}frobnicate on\n"))?;
    nothing("Illegal directive [frobnicate]")?;
    fs::remove_file(file("ha.cf"))?;
    nothing("Cannot open config file")?;
    fs::write(file("ha.cf"), good.replace("node h1", "node h7"))?;
    nothing("Current node [h1] not in configuration!")?;
    fs::write(file("ha.cf"), &good)?;
    for mode in [0o644, 0o620] {
        fs::set_permissions(file("authkeys"), Permissions::from_mode(mode))?;
        nothing("chmod 600")?;
    }
    fs::set_permissions(file("authkeys"), Permissions::from_mode(0o600))?;
    fs::write(file("authkeys"), "auth 2\n1 sha1 secret-word\n")?;
    nothing("authkeys")?;
    fs::remove_file(file("authkeys"))?;
    nothing("Cannot open keyfile")?;
    Ok(Completion::Completed)
}
