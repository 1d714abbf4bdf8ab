//! `standby` while a start script hangs: it is refused with the reason and interrupts nothing, and in the end one node owns
//! the group.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use hb_shell::testbed::Testbed;
use libtest_mimic::Completion;

use crate::Test;
use crate::agents::{self, PATIENCE, executable, sturdy};
use crate::scene::Outcome;

pub(crate) const TESTS: &[Test] = &[
    ("hanging_start::standby_is_refused_until_what_hangs_has_started", hangs_here),
    ("hanging_start::standby_of_what_never_starts_ends_on_the_other_node", never_starts),
    ("hanging_start::a_second_standby_is_refused_while_the_other_node_hangs", hangs_there),
];

/// A move as it must be: nothing begins before what was before it has ended.
const MOVED: [&str; 6] = ["h1 start", "h1 start done", "h1 stop", "h1 stop done", "h2 start", "h2 start done"];

/// A script that notes its calls in a file of both nodes, and whose start on `on` hangs while `hold` exists.
fn pair(lines: &str, on: &str) -> Result<Testbed> {
    let mut setup = sturdy();
    setup.ha_cf.push_str(lines);
    setup.haresources = "h1 10.77.0.100/24/eth0 Slow\n".into();
    let testbed = Testbed::new(setup)?;
    fs::write(testbed.directory(0).with_file_name("hold"), "")?;
    for which in 0..2 {
        let home = testbed.directory(which);
        fs::create_dir_all(home.join("resource.d"))?;
        let text = format!(
            "#!/bin/sh\ncd {}\n[ $1 = status ] || echo \"$HA_CURHOST $1\" >> ../calls\n\
             [ \"$HA_CURHOST $1\" = \"{on} start\" ] && while [ -e ../hold ]; do sleep 0.1; done\n\
             case $1 in start) touch up;; stop) rm -f up;; status) [ -e up ] && echo running || echo stopped;; esac\n\
             [ $1 = status ] || echo \"$HA_CURHOST $1 done\" >> ../calls\n",
            home.display()
        );
        executable(&home.join("resource.d/Slow"), &text)?;
    }
    Ok(testbed)
}

fn calls(testbed: &Testbed) -> Vec<String> {
    let text = fs::read_to_string(testbed.directory(0).with_file_name("calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn let_go(testbed: &Testbed) -> Result<()> {
    Ok(fs::remove_file(testbed.directory(0).with_file_name("hold"))?)
}

fn stand_by(testbed: &Testbed, which: usize) -> Command {
    let mut command = testbed.command(which, &["standby", "all"]);
    command.stdout(Stdio::piped());
    command
}

fn rests_with(testbed: &Testbed, owner: usize, other: &str) -> Result<()> {
    testbed.wait_until("one node owns it", PATIENCE, |testbed| {
        let there = agents::here(testbed, owner) == "running" && agents::here(testbed, 1 - owner) == other;
        there && testbed.is_owned_by(&[owner]) && testbed.is_stable(0) && testbed.is_stable(1)
    })
}

fn hangs_here() -> Outcome {
    let mut testbed = pair("", "h1")?;
    testbed.start(0)?;
    testbed.start(1)?;
    testbed.wait_until("the start hangs", PATIENCE, |testbed| calls(testbed) == ["h1 start"])?;
    refused(&testbed, &[0])?;
    // What the other node asks for meanwhile is not given.
    let output = testbed.command(1, &["takeover", "all"]).output()?;
    ensure!(output.status.code() == Some(1) && output.stdout.starts_with(b"takeover all: cancelled: "), "{output:?}");
    ensure!(calls(&testbed) == ["h1 start"] && agents::here(&testbed, 0) == "starting", "{:?}", calls(&testbed));
    let_go(&testbed)?;
    rests_with(&testbed, 0, "stopped")?;
    ensure!(calls(&testbed) == ["h1 start", "h1 start done"], "{:?}", calls(&testbed));
    let output = stand_by(&testbed, 0).output()?;
    ensure!(output.status.success(), "{output:?}");
    rests_with(&testbed, 1, "stopped")?;
    ensure!(calls(&testbed) == MOVED, "{:?}", calls(&testbed));
    Ok(Completion::Completed)
}

/// The nodes refuse to move anything now, and say why.
fn refused(testbed: &Testbed, nodes: &[usize]) -> Result<()> {
    for which in nodes {
        let output = stand_by(testbed, *which).output()?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        ensure!(output.status.code() == Some(1), "h{}: {said}", which + 1);
        let reasons = ["local resources in flux", "other side is in flux"];
        ensure!(
            reasons.iter().any(|reason| said == format!("standby all: refused: {reason}")),
            "h{}: {said}",
            which + 1
        );
    }
    Ok(())
}

fn never_starts() -> Outcome {
    let mut testbed = pair("script_limit start 4\n", "h1")?;
    testbed.start(0)?;
    testbed.start(1)?;
    testbed.wait_until("the start hangs", PATIENCE, |testbed| calls(testbed) == ["h1 start"])?;
    refused(&testbed, &[0])?;
    rests_with(&testbed, 1, "failed")?;
    testbed.wait_for_log(0, &["time limit of 4 s exceeded from Slow start"], PATIENCE)?;
    let order = ["h1 start", "h1 stop", "h1 stop done", "h2 start", "h2 start done"];
    ensure!(calls(&testbed) == order, "{:?}", calls(&testbed));
    Ok(Completion::Completed)
}

fn hangs_there() -> Outcome {
    let mut testbed = pair("", "h2")?;
    testbed.start(0)?;
    testbed.start(1)?;
    rests_with(&testbed, 0, "stopped")?;
    let first = stand_by(&testbed, 0).spawn()?;
    testbed.wait_until("the start hangs on h2", PATIENCE, |testbed| {
        calls(testbed).last().is_some_and(|call| call == "h2 start")
    })?;
    refused(&testbed, &[0, 1])?;
    let_go(&testbed)?;
    let output = first.wait_with_output().context("the first ends")?;
    ensure!(output.status.success(), "{output:?}");
    rests_with(&testbed, 1, "stopped")?;
    ensure!(calls(&testbed) == MOVED, "{:?}", calls(&testbed));
    Ok(Completion::Completed)
}
