//! What the flight recorders of two daemons kept of a failover: replayed by both builds of `hbsim`, and explained.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use hb_shell::testbed::Testbed;
use libtest_mimic::Completion;
use serde_json::Value;

use crate::Test;
use crate::daemons::{PATIENCE, program, settled, setup, wait_for_short_deadtime};
use crate::scene::Outcome;

pub(crate) const TESTS: &[Test] = &[(REPLAYED, replayed)];

/// Not for a run as another user, who may not write where cargo builds.
pub(crate) const REPLAYED: &str = "recordings::a_failover_replays_equally_in_both_profiles_and_is_explained";

fn replayed() -> Outcome {
    // Built first: compiling while the daemons run would only disturb them.
    let mut builds = Vec::new();
    for profile in ["dev", "release"] {
        match built(profile)? {
            Ok(hbsim) => builds.push((profile, hbsim)),
            Err(reason) => return Ok(Completion::ignored_with(reason)),
        }
    }
    let [(_, hbsim), ..] = &builds[..] else { bail!("there are two builds") };
    let mut testbed = failover()?;
    explained(&testbed, hbsim)?;
    foretold(&testbed, hbsim)?;
    // What a node did last is on disk when it ends as it should.
    ensure!(testbed.stop(1)? == Some(0), "{}", testbed.log(1));
    let mut ends = Vec::new();
    for which in 0..2 {
        for (profile, hbsim) in &builds {
            let summary = replay(&testbed, hbsim, which).with_context(|| format!("replayed by the {profile} build"))?;
            ends.push(summary);
        }
    }
    ensure!(ends[0] == ends[1] && ends[2] == ends[3], "both builds end with the same node: {ends:?}");
    shown(&testbed, hbsim)?;
    Ok(Completion::Completed)
}

/// A pair whose first node lost its power; the second took over.
fn failover() -> Result<Testbed> {
    let mut testbed = settled(setup(false))?;
    wait_for_short_deadtime(&testbed, 0)?;
    testbed.power_off(0)?;
    testbed.wait_until("h2 serves", PATIENCE, |testbed| testbed.is_owned_by(&[1]) && testbed.is_stable(1))?;
    Ok(testbed)
}

/// The program `hbsim` of a profile, or why there can be none.
///
/// Cargo has let go of the build directory before it runs a test, so that it can be called here. It is in a namespace
/// without a network, and stands back for the tests beside this one.
fn built(profile: &str) -> Result<Result<PathBuf, String>> {
    let program = program();
    let target = program.ancestors().nth(2).context("the program lies in TARGET/PROFILE")?;
    let mut cargo = Command::new("nice");
    cargo.args([env!("CARGO"), "build", "--offline", "--quiet", "--package", "hb-sim", "--profile", profile]);
    cargo.args(["--message-format", "json-render-diagnostics", "--target-dir"]).arg(target);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    let output = match cargo.output() {
        Ok(output) => output,
        Err(error) => return Ok(Err(format!("cannot start `nice cargo` to build hbsim: {error}"))),
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    // 127: there is no cargo, `nice` says. The other: whoever tests this package alone may never have fetched the rest.
    if output.status.code() == Some(127) || errors.contains("--offline was specified") {
        return Ok(Err(format!("cannot build hbsim: {}", errors.trim())));
    }
    ensure!(output.status.success(), "cannot build hbsim: {errors}");
    let messages = output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let mut made = messages.filter_map(|message: Value| message["executable"].as_str().map(PathBuf::from));
    let hbsim = made.find(|path| path.file_stem().is_some_and(|name| name == "hbsim"));
    Ok(Ok(hbsim.context("cargo names the program that it built")?))
}

fn run(command: &mut Command) -> Result<(Output, String)> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((output, text))
}

/// `hbsim replay` with what a node recorded and its keys.
fn hbsim_replay(testbed: &Testbed, hbsim: &Path, which: usize, more: &[&str]) -> Result<(Output, String)> {
    let directory = testbed.directory(which);
    let mut command = Command::new(hbsim);
    command.arg("replay").arg(directory.join("state/trace")).arg("--authkeys").arg(directory.join("authkeys"));
    run(command.args(more))
}

/// The summary of a replay in which every digest was equal.
fn replay(testbed: &Testbed, hbsim: &Path, which: usize) -> Result<Value> {
    let (output, text) = hbsim_replay(testbed, hbsim, which, &["--json"])?;
    // One line: a note would say that something was damaged or not recorded.
    ensure!(output.status.success() && text.lines().count() == 1, "{text}");
    let summary: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    ensure!(summary["equal"] == true && summary["steps"].as_u64() > Some(100), "{text}");
    Ok(summary)
}

fn shown(testbed: &Testbed, hbsim: &Path) -> Result<()> {
    let (output, text) = hbsim_replay(testbed, hbsim, 1, &["--timeline"])?;
    ensure!(output.status.success(), "{text}");
    let mut lines = text.lines();
    for phrase in ["Link h1:eth1 up.", "node h1: is dead", "10.77.0.100/24/eth0 runs here", "equal: "] {
        ensure!(lines.any(|line| line.contains(phrase)), "no `{phrase}` where it should be in\n{text}");
    }
    Ok(())
}

/// A command that finds this `hbsim`. It looks beside itself first, where a `--profile` of somebody's own would not have put it.
fn with_simulator(mut command: Command, hbsim: &Path) -> Result<Command> {
    let [beside, others] = [hbsim.parent().map(Path::to_owned), std::env::var_os("PATH").map(PathBuf::from)];
    let others = others.iter().flat_map(std::env::split_paths);
    command.env("PATH", std::env::join_paths(beside.into_iter().chain(others))?);
    Ok(command)
}

/// `heartbeat explain` with the files of the running pair says what has just happened to it.
fn foretold(testbed: &Testbed, hbsim: &Path) -> Result<()> {
    let mut explain = with_simulator(testbed.command(1, &["explain"]), hbsim)?;
    let (output, text) = run(&mut explain)?;
    ensure!(output.status.success(), "{text}");
    let takeover = ["h1 loses power", "10.77.0.100", "h1 \u{2192} h2"];
    ensure!(text.lines().any(|line| takeover.iter().all(|word| line.contains(word))), "it does not say so:\n{text}");
    ensure!(text.contains("policy at-least-one") && text.contains("h2 starts 10.77.0.100: node h1 is dead"), "{text}");
    Ok(())
}

/// `heartbeat why` on the survivor, while it runs, names the reason of the takeover.
fn explained(testbed: &Testbed, hbsim: &Path) -> Result<()> {
    let mut why = with_simulator(testbed.command(1, &["why", "10.77.0.100"]), hbsim)?;
    // Its recorder writes a moment after it acted.
    let mut text = String::new();
    for _ in 0..100 {
        text = run(&mut why)?.1;
        if text.contains("held by h2") {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut lines = text.lines();
    let reason = "because       node h1 is dead: silent for";
    for phrase in ["h2: acquire 10.77.0.100/24/eth0", reason, "held by h2 since", reason] {
        ensure!(lines.any(|line| line.contains(phrase)), "no `{phrase}` where it should be in\n{text}");
    }
    Ok(())
}
