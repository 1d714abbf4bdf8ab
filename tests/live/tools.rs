//! Our tools beside the originals, on the same machine: the same words, the same exit codes.

use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use hb_shell::net::namespace::Machine;
use hb_tests::real;
use libtest_mimic::Completion;

use crate::Test;
use crate::clients::pair;
use crate::daemons::{PATIENCE, program};
use crate::scene::Outcome;

pub(crate) const TESTS: &[Test] = &[
    ("tools::ours_say_what_the_real_cl_status_says", cl_status),
    ("tools::ours_say_what_the_real_scripts_say", scripts),
    ("tools::without_a_daemon_nothing_is_sent", nobody),
];

const LINES: [&str; 54] = [
    "",
    "-h",
    "hbstatus",
    "hbstatus -m",
    "hbstatus -v",
    "hbstatus -v -m",
    "hbstatus -x",
    "listnodes",
    "listnodes -n",
    "listnodes -p",
    "listnodes -v",
    "listnodes -m",
    "listnodes -v -m",
    "listnodes -n -v",
    "listnodes x",
    "nodestatus h1",
    "nodestatus H2",
    "nodestatus -m h1",
    "nodestatus h1 -m",
    "nodestatus",
    "nodestatus nosuch",
    "nodestatus -z h1",
    "nodeweight h1",
    "nodeweight -m h1",
    "nodeweight",
    "nodeweight nosuch",
    "nodesite h1",
    "nodesite -m h1",
    "nodesite nosuch",
    "nodetype h1",
    "nodetype -m h1",
    "nodetype nosuch",
    "nodetype",
    "listhblinks h2",
    "listhblinks -v h2",
    "listhblinks -m h2",
    "listhblinks -m -v h2",
    "listhblinks",
    "listhblinks nosuch",
    "hblinkstatus h2 eth1",
    "hblinkstatus -m h2 eth0",
    "hblinkstatus h1",
    "hblinkstatus h1 eth9",
    "clientstatus h1 foo",
    "clientstatus -m h2 foo",
    "clientstatus h1",
    "rscstatus",
    "rscstatus -m",
    "hbparameter -p keepalive",
    "hbparameter -p warntime -m",
    "hbparameter",
    "hbparameter -p",
    "hbparameter -p nosuch",
    "test",
];

/// Runs a program; exit code, output, error output, without what differs between two runs.
fn run(machine: &Machine, mut command: Command) -> Result<(Option<i32>, String, String)> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = machine.spawn(command)?.wait_with_output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // `Nov 21 03:20:49 h1 cl_status: [18430]: ERROR: ...`
    let neutral = |line: &str| match line.split_once("]: ERROR: ") {
        Some((_, rest)) => format!("ERROR: {rest}\n"),
        None => match line.split_once(" Going standby") {
            Some((_, rest)) => format!("Going standby{rest}\n"),
            None => format!("{line}\n"),
        },
    };
    let errors: String = text(&output.stderr).lines().map(neutral).collect::<Vec<_>>().concat();
    Ok((output.status.code(), text(&output.stdout), errors))
}

fn command(name: &str, line: &str) -> Command {
    let mut command = Command::new(name);
    command.args(line.split_whitespace());
    command
}

/// Ours, called by the name of the original.
fn ours(name: &str, line: &str) -> Command {
    let mut command = command(program().to_str().unwrap_or_default(), line);
    command.arg0(name);
    command
}

fn cl_status() -> Outcome {
    const REAL: &str = "/usr/bin/cl_status";
    if let Some(reason) = real::missing() {
        return Ok(Completion::ignored_with(reason));
    }
    let mut testbed = pair("ping 10.78.0.77\n")?;
    for line in LINES {
        let machine = testbed.machine(0)?;
        let (theirs, own) = (run(machine, command(REAL, line))?, run(machine, ours(REAL, line))?);
        ensure!(theirs == own, "cl_status {line}:\ntheirs {theirs:?}\nours   {own:?}");
    }
    // As a subcommand, too.
    let mut subcommand = Command::new(program());
    subcommand.args(["cl_status", "nodestatus", "h2"]);
    ensure!(run(testbed.machine(0)?, subcommand)?.1 == "active\n");
    testbed.stop(0)?;
    for line in ["hbstatus", "hbstatus -m", "hbstatus -v", "listnodes", "rscstatus", "nodestatus", "frobnicate"] {
        let machine = testbed.machine(0)?;
        let (theirs, own) = (run(machine, command(REAL, line))?, run(machine, ours(REAL, line))?);
        ensure!(theirs == own, "stopped: cl_status {line}:\ntheirs {theirs:?}\nours   {own:?}");
    }
    Ok(Completion::Completed)
}

fn scripts() -> Outcome {
    if let Some(reason) = real::missing() {
        return Ok(Completion::ignored_with(reason));
    }
    let testbed = pair("")?;
    for line in [
        "hb_standby foo",
        "hb_standby --help",
        "hb_takeover foo",
        "hb_takeover -h",
        "hb_addnode",
        "hb_delnode",
        "hb_setweight",
        "hb_setsite",
    ] {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let path = format!("/usr/share/heartbeat/{name}");
        let machine = testbed.machine(0)?;
        let (theirs, own) = (run(machine, command(&path, rest))?, run(machine, ours(&path, rest))?);
        ensure!(theirs == own, "{line}:\ntheirs {theirs:?}\nours   {own:?}");
    }
    // What they do, ours first and then the originals.
    for (real, away, back) in [(false, "hb_standby", "hb_takeover"), (true, "hb_standby", "hb_takeover")] {
        let call = |name: &str, line: &str| {
            let path = format!("/usr/share/heartbeat/{name}");
            if real { command(&path, line) } else { ours(&path, line) }
        };
        let (code, _, said) = run(testbed.machine(0)?, call(away, ""))?;
        ensure!(code == Some(0) && said == "Going standby [all].\n", "{said}");
        testbed.wait_until("h2 serves", PATIENCE, |testbed| testbed.is_owned_by(&[1]) && testbed.is_stable(0))?;
        let (code, _, said) = run(testbed.machine(0)?, call(back, "local"))?;
        ensure!(code == Some(0) && said.is_empty(), "{said}");
        testbed.wait_until("h1 serves", PATIENCE, |testbed| {
            testbed.is_owned_by(&[0]) && testbed.is_stable(0) && testbed.is_stable(1)
        })?;
    }
    Ok(Completion::Completed)
}

fn nobody() -> Outcome {
    let mut testbed = pair("")?;
    testbed.stop(0)?;
    let links = testbed.directory(0).join("links");
    std::fs::create_dir_all(&links)?;
    symlink(program(), links.join("hb_standby"))?;
    let mut command = Command::new(links.join("hb_standby"));
    command.env("HA_FIFO", testbed.directory(0).join("state/fifo"));
    let (code, _, said) = run(testbed.machine(0)?, command)?;
    ensure!(code == Some(1) && said.contains("no heartbeat takes this"), "{code:?} {said}");
    Ok(Completion::Completed)
}
