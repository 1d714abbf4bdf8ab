//! Ours beside a real Heartbeat 3.0.6: one joins, both become active, one dies, the other serves.

use std::time::Duration;

use anyhow::{Result, ensure};
use hb_shell::testbed::{Setup, Testbed};
use hb_tests::real::{self, RealNode};
use libtest_mimic::Completion;

use crate::Test;
use crate::daemons::{PATIENCE, program};
use crate::scene::Outcome;

pub(crate) const TESTS: &[Test] = &[
    ("mixed::ours_takes_over_from_a_real_heartbeat_that_is_killed", real_is_killed),
    ("mixed::a_real_heartbeat_takes_over_from_ours_that_stops", ours_stops),
];

/// The real one waits ten seconds at its start and some more.
const REAL_PATIENCE: Duration = Duration::from_mins(1);

const HA_CF: &str = "keepalive 250ms\ndeadtime 3\ninitdead 8\nauto_failback on\nbcast eth1\n";

/// A pair whose second machine runs the real program, with a group at home on each; `None` where it cannot run.
fn pair(real_home: bool) -> Result<(Testbed, RealNode)> {
    let home = if real_home { "h2" } else { "h1" };
    let setup = Setup {
        program: program(),
        ha_cf: HA_CF.to_owned(),
        haresources: format!("{home} IPaddr2::10.77.0.100/24/eth0\n"),
        realtime: false,
        options: Vec::new(),
    };
    let mut testbed = Testbed::new(setup)?;
    let real_cf = format!("node h1 h2\n{HA_CF}");
    let keys = std::fs::read_to_string(testbed.directory(0).join("authkeys"))?;
    let directory = testbed.directory(1).join("real");
    let mut real = RealNode::new(&directory, &real_cf, &format!("{home} IPaddr2::10.77.0.100/24/eth0\n"), &keys)?;
    testbed.power_off(1)?;
    testbed.power_on(1, &real.mounts())?;
    testbed.start(0)?;
    real.start(testbed.machine(1)?)?;
    Ok((testbed, real))
}

/// Waits, and adds what the real one logged if it is in vain.
fn wait(testbed: &Testbed, real: &RealNode, what: &str, condition: impl FnMut(&Testbed) -> bool) -> Result<()> {
    let waited = testbed.wait_until(what, REAL_PATIENCE, condition);
    waited.map_err(|error| anyhow::anyhow!("{error:#}\n--- the real one\n{}", real.log()))
}

fn real_is_killed() -> Outcome {
    if let Some(reason) = real::missing() {
        return Ok(Completion::ignored_with(reason));
    }
    let (mut testbed, mut real) = pair(true)?;
    wait(&testbed, &real, "both are active and the real one serves", |testbed| {
        testbed.active_nodes(0) == 2 && testbed.is_owned_by(&[1]) && testbed.is_stable(0)
    })?;
    let seen = RealNode::tool(testbed.machine(1)?, "/usr/bin/cl_status", &["nodestatus", "h1"])?;
    ensure!(seen.trim() == "active", "the real one sees {seen}");
    let generation_lines = real.log().matches("attempted replay").count();
    ensure!(generation_lines == 0, "{}", real.log());

    testbed.power_off(1)?;
    real.reap()?;
    testbed.wait_until("ours serves", PATIENCE, |testbed| testbed.is_owned_by(&[0]))?;
    let why = testbed.status(0)?["groups"][0]["why"].as_str().unwrap_or_default().to_owned();
    ensure!(why.starts_with("node h2 is dead"), "{why}");
    Ok(Completion::Completed)
}

fn ours_stops() -> Outcome {
    if let Some(reason) = real::missing() {
        return Ok(Completion::ignored_with(reason));
    }
    let (mut testbed, mut real) = pair(false)?;
    wait(&testbed, &real, "both are active and ours serves", |testbed| {
        testbed.active_nodes(0) == 2 && testbed.is_owned_by(&[0])
    })?;
    wait(&testbed, &real, "the real one is settled", |testbed| {
        let Ok(machine) = testbed.machine(1) else { return false };
        RealNode::tool(machine, "/usr/bin/cl_status", &["rscstatus"]).is_ok_and(|text| text.trim() == "local")
    })?;
    ensure!(testbed.stop(0)? == Some(0));
    wait(&testbed, &real, "the real one serves", |testbed| testbed.is_owned_by(&[1]))?;
    ensure!(real.log().contains("Received shutdown notice from 'h1'."), "{}", real.log());

    // And back: auto_failback is on, its holder decides.
    testbed.start(0)?;
    wait(&testbed, &real, "ours serves again", |testbed| testbed.is_owned_by(&[0]) && testbed.is_stable(0))?;
    testbed.power_off(1)?;
    real.reap()?;
    Ok(Completion::Completed)
}
