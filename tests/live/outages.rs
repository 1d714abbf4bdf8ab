//! Cables that are pulled, and what a prober measures of it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use hb_shell::net::echo::Probe;
use libtest_mimic::Completion;

use crate::Test;
use crate::scene::{Outcome, PATIENCE, Scene, eventually};

pub(crate) const TESTS: &[Test] = &[
    ("outages::a_silent_cut_is_measured_from_cut_to_heal", || silent_cut("10.77.0.1")),
    ("outages::a_silent_cut_is_measured_with_ipv6_too", || silent_cut("fd77::1")),
    ("outages::a_pulled_cable_takes_the_carrier_along", pulled),
    ("outages::a_prober_without_route_measures_one_long_gap", unreachable),
];

const INTERVAL: Duration = Duration::from_millis(1);

fn silent_cut(target: &str) -> Outcome {
    let mut scene = Scene::new()?;
    let probe = Probe::start(&scene.client, target.parse::<IpAddr>()?, INTERVAL)?;
    ensure!(probe.wait_for_answer(PATIENCE));
    let before = Instant::now();

    scene.lab.set_joined(scene.cable_of_h1, false)?;
    let cut = Instant::now();
    ensure!(!probe.wait_for_answer(Duration::from_millis(200)), "nothing comes through");
    ensure!(scene.h1.netlink()?.link("eth0")?.has_carrier, "and the machine sees nothing of it");
    let heal = Instant::now();
    scene.lab.set_joined(scene.cable_of_h1, true)?;
    ensure!(probe.wait_for_answer(PATIENCE));

    let after = Instant::now();
    let measured = probe.stop().longest_gap_between(before, after);
    // A prober that is held up when the cable is cut begins the gap later; it was not held up all the time.
    ensure!(measured > (heal - cut) / 2, "{measured:?} of {:?}", heal - cut);
    ensure!(measured <= after - before, "{measured:?} of {:?}", after - before);
    Ok(Completion::Completed)
}

fn pulled() -> Outcome {
    let mut scene = Scene::new()?;
    let mut netlink = scene.h1.netlink()?;
    eventually("the cable is in", || Ok(netlink.link("eth0")?.has_carrier))?;
    scene.lab.set_signal(scene.cable_of_h1, false)?;
    eventually("the carrier goes", || Ok(!netlink.link("eth0")?.has_carrier))?;
    scene.lab.set_signal(scene.cable_of_h1, true)?;
    eventually("the carrier comes", || Ok(netlink.link("eth0")?.has_carrier))?;
    Ok(Completion::Completed)
}

fn unreachable() -> Outcome {
    let scene = Scene::new()?;
    let probe = Probe::start(&scene.client, "192.0.2.7".parse()?, INTERVAL)?;
    ensure!(!probe.wait_for_answer(Duration::from_millis(50)));
    let answers = probe.stop();
    let gaps = answers.gaps();
    ensure!(gaps.len() == 1 && !gaps[0].healed && answers.echoes.len() > 1, "{gaps:?}");
    Ok(Completion::Completed)
}
