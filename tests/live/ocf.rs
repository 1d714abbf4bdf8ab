//! OCF agents called directly: their parameters, monitors with `fall` and `rise`, starts and stops that fail.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, ensure};
use hb_shell::testbed::{Setup, Testbed};
use libtest_mimic::Completion;

use crate::Test;
use crate::agents::{self, Needed, PATIENCE};
use crate::daemons::program;
use crate::scene::Outcome;

pub(crate) const TESTS: &[Test] = &[
    ("ocf::an_agent_gets_its_parameters_and_one_that_it_lacks_is_refused", parameters),
    ("ocf::meta_data_without_end_delay_the_start_and_no_more", endless_meta_data),
    ("ocf::what_dies_is_noticed_after_fall_monitors_and_counted_until_rise", fall_and_rise),
    ("ocf::a_start_that_fails_is_left_to_the_other_and_remembered_until_cleanup", start_failure),
    ("ocf::what_cannot_be_stopped_ends_with_its_machine", stop_failure),
];

const AGENT: &str = "/usr/lib/ocf/resource.d/heartbeat/Dummy";
const DUMMY: &[Needed] = &[(AGENT, "resource-agents")];

/// The state file of the agent, if it is there.
fn exists(testbed: &Testbed, which: usize, file: &str) -> Result<bool> {
    let file = file.to_owned();
    Ok(testbed.machine(which)?.run(move || Path::new(&file).exists()))
}

fn parameters() -> Outcome {
    if let Some(reason) = agents::hindrance(DUMMY) {
        return Ok(Completion::ignored_with(reason));
    }
    let mut testbed = agents::pair("")?;
    let word = "ocf:heartbeat:Dummy::state=/run/web.state::fake=yes";
    agents::prepare(&mut testbed, &format!("h1 {word} ocf:heartbeat:Dummy\n"), &[])?;
    agents::start(&mut testbed)?;
    ensure!(exists(&testbed, 0, "/run/web.state")? && !exists(&testbed, 1, "/run/web.state")?);
    // Without parameters the agent's own default counts, in which the instance is.
    let names = |which: usize| -> Result<Vec<String>> {
        let directory = || -> std::io::Result<Vec<String>> {
            let entries = fs::read_dir("/run/resource-agents")?;
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        };
        Ok(testbed.machine(which)?.run(directory)?)
    };
    let of_h1 = names(0)?;
    let is_instance = |name: &String| name.starts_with("Dummy-Dummy-") && Path::new(name).extension().is_some();
    ensure!(of_h1.len() == 1 && of_h1.iter().all(is_instance), "{of_h1:?}");
    agents::stand_by(&testbed, 0)?;
    ensure!(names(0)?.is_empty() && names(1)? == of_h1, "{:?} {:?}", names(0)?, names(1)?);
    ensure!(exists(&testbed, 1, "/run/web.state")? && !exists(&testbed, 0, "/run/web.state")?);

    let haresources = testbed.directory(0).join("haresources");
    fs::write(haresources, "h1 ocf:heartbeat:Dummy::stat=/run/web.state\n")?;
    let output = testbed.command(0, &["check"]).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && said.contains("E0509"), "{said}");
    ensure!(said.contains("the agent Dummy has no parameter stat"), "{said}");
    Ok(Completion::Completed)
}

/// Answers, and leaves somebody behind who holds its output for ever.
const LINGERS: &str = "case $1 in\n\
     start) touch up;;\n\
     stop) rm -f up;;\n\
     monitor) [ -e up ] || exit 7;;\n\
     meta-data) setsid sleep 1000 & echo '<resource-agent name=\"Dummy\"><parameters/></resource-agent>';;\n\
     esac\n\
     exit 0";

fn endless_meta_data() -> Outcome {
    if let Some(reason) = agents::hindrance(DUMMY) {
        return Ok(Completion::ignored_with(reason));
    }
    let mut testbed = agents::pair("")?;
    agents::stand_in(&testbed, "Dummy", LINGERS)?;
    agents::prepare(&mut testbed, "h1 ocf:heartbeat:Dummy 10.77.0.100/24/eth0\n", &[AGENT])?;
    agents::start(&mut testbed)?;
    let said = testbed.log(0) + &testbed.output(0);
    ensure!(said.contains("the meta-data of ocf:heartbeat:Dummy cannot be read: it takes longer than 10 s"), "{said}");
    // With its guard, which is forked after that.
    testbed.kill(0)?;
    testbed.wait_until("h2 runs it", PATIENCE, |testbed| agents::here(testbed, 1) == "running")?;
    ensure!(testbed.is_owned_by(&[1]));
    Ok(Completion::Completed)
}

fn fall_and_rise() -> Outcome {
    if let Some(reason) = agents::hindrance(DUMMY) {
        return Ok(Completion::ignored_with(reason));
    }
    // So many successes in a row do not come within this test: after the first failure each counts.
    let mut testbed = agents::pair("monitor 300ms fall 3 rise 1000\n")?;
    let word = "ocf:heartbeat:Dummy::state=/run/web.state";
    agents::prepare(&mut testbed, &format!("h1 {word} 10.77.0.100/24/eth0\n"), &[])?;
    agents::start(&mut testbed)?;
    let remove = |testbed: &Testbed| -> Result<()> {
        testbed.machine(0)?.run(|| fs::remove_file("/run/web.state"))?;
        Ok(())
    };
    let is_back = |testbed: &Testbed| {
        exists(testbed, 0, "/run/web.state").unwrap_or(false) && agents::runs(testbed, 0) && testbed.has_address(0)
    };
    remove(&testbed)?;
    testbed.wait_until("it is noticed", PATIENCE, |testbed| testbed.log(0).contains("is restarted here"))?;
    testbed.wait_until("it runs again", PATIENCE, is_back)?;
    let lost = format!("{word} ceased to run here: ");
    agents::logged_in_order(&testbed, 0, &[&lost, "(3 monitors in a row)", "restart 1 of 3 in ten minutes"])?;

    for restart in 2..=3 {
        remove(&testbed)?;
        let text = format!("restart {restart} of 3 in ten minutes");
        testbed.wait_until("it is noticed again", PATIENCE, |testbed| testbed.log(0).contains(&text))?;
        testbed.wait_until("it runs again", PATIENCE, is_back)?;
    }
    testbed.wait_until("it is told each time", PATIENCE, |testbed| testbed.log(0).matches(&lost).count() == 3)?;
    ensure!(testbed.log(0).matches("monitors in a row").count() == 1, "{}", testbed.log(0));

    remove(&testbed)?;
    testbed.wait_until("the fourth failure is one too many", PATIENCE, |testbed| {
        agents::here(testbed, 0) == "failed" && agents::here(testbed, 1) == "running"
    })?;
    ensure!(testbed.is_owned_by(&[1]) && exists(&testbed, 1, "/run/web.state")?, "{}", testbed.log(1));
    Ok(Completion::Completed)
}

fn start_failure() -> Outcome {
    if let Some(reason) = agents::hindrance(DUMMY) {
        return Ok(Completion::ignored_with(reason));
    }
    let mut testbed = agents::pair("")?;
    let word = "ocf:heartbeat:Dummy::state=/run/web/state";
    agents::prepare(&mut testbed, &format!("h1 10.77.0.100/24/eth0 {word}\n"), &[])?;
    // Where its directory is missing the agent cannot start.
    let repair = |testbed: &Testbed, which: usize| -> Result<()> {
        testbed.machine(which)?.run(|| fs::create_dir("/run/web"))?;
        Ok(())
    };
    repair(&testbed, 1)?;
    testbed.start(0)?;
    testbed.start(1)?;
    testbed.wait_until("h2 runs what h1 could not start", PATIENCE, |testbed| {
        agents::here(testbed, 0) == "failed" && agents::here(testbed, 1) == "running" && testbed.is_owned_by(&[1])
    })?;
    let giving_up = format!("Giving up resources due to failure of {word}");
    agents::logged_in_order(&testbed, 0, &[&format!("Return code 1 from {word} start"), &giving_up])?;
    let failure = testbed.status(0)?["groups"][0]["failure"].as_str().unwrap_or_default().to_owned();
    ensure!(failure.contains(word) && failure.contains("Return code 1"), "{failure}");

    // It is remembered: h2 cannot give it back.
    let order = |which: usize, words: &[&str]| -> Result<(Option<i32>, String)> {
        let output = testbed.command(which, words).output()?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).trim().to_owned()))
    };
    let refused = order(1, &["standby", "all"])?;
    ensure!(refused == (Some(1), "standby all: refused: no other node can take it now".into()), "{refused:?}");
    ensure!(agents::here(&testbed, 1) == "running", "nothing was stopped");

    repair(&testbed, 0)?;
    let unknown = order(0, &["cleanup", "10.77.0.101"])?;
    ensure!(unknown.0 == Some(1) && unknown.1.contains("there is no group [10.77.0.101]"), "{unknown:?}");
    let cleaned = order(0, &["cleanup", "10.77.0.100/24/eth0"])?;
    ensure!(cleaned.0 == Some(0), "{cleaned:?}");
    testbed.wait_until("it is forgotten", PATIENCE, |testbed| agents::runs(testbed, 1))?;
    agents::stand_by(&testbed, 1)?;
    ensure!(testbed.is_owned_by(&[0]));
    Ok(Completion::Completed)
}

/// Starts, and never stops.
const STICKY: &str = "case $1 in\n\
     start) touch sticky-up;;\n\
     stop) exit 1;;\n\
     monitor) [ -e sticky-up ] || exit 7;;\n\
     meta-data) echo '<resource-agent name=\"Dummy\"><parameters/></resource-agent>';;\n\
     esac\n\
     exit 0";

fn stop_failure() -> Outcome {
    if let Some(reason) = agents::hindrance(DUMMY) {
        return Ok(Completion::ignored_with(reason));
    }
    // Long enough that a busy machine is not taken for dead.
    let (keepalive, deadtime) = (Duration::from_millis(50), Duration::from_secs(10));
    let mut setup = Setup::new(program(), keepalive, deadtime, false);
    setup.ha_cf.push_str("stop_failure reboot\nstop_retries 1\n");
    let mut testbed = agents::pair_with(setup)?;
    agents::stand_in(&testbed, "Dummy", STICKY)?;
    agents::prepare(&mut testbed, "h1 ocf:heartbeat:Dummy 10.77.0.100/24/eth0\n", &[AGENT])?;
    agents::start(&mut testbed)?;
    let rebooted = testbed.directory(0).join("rebooted");
    let mut standby = testbed.command(0, &["standby", "all"]);
    // Nobody is there to answer it.
    let mut standby = standby.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    testbed.wait_until("h1 reboots", PATIENCE, |_| rebooted.exists())?;
    ensure!(agents::here(&testbed, 1) == "stopped" && !testbed.has_address(1), "it was given away\n{}", testbed.log(1));
    let stop = "Return code 1 from ocf:heartbeat:Dummy stop";
    let said =
        "Resource STOP failure. Reboot required! [ocf:heartbeat:Dummy] may still run here: this machine reboots now";
    agents::logged_in_order(&testbed, 0, &[stop, "Retrying failed stop operation", stop, said])?;
    let stops = agents::calls(&testbed, 0).iter().filter(|call| *call == "Dummy stop").count();
    ensure!(stops == 2, "{stops} stops");
    // What the stand-in did not.
    testbed.power_off(0)?;
    standby.wait()?;
    testbed.wait_until("h2 runs it", PATIENCE, |testbed| {
        agents::here(testbed, 1) == "running" && testbed.has_address(1)
    })?;
    agents::logged_in_order(&testbed, 1, &["node h1: is dead"])?;
    Ok(Completion::Completed)
}
