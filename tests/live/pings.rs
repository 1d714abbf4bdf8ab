//! Ping nodes beside a pair: one dies and returns, members of a group fall silent one after the other.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use hb_shell::net::netlink::Address;
use hb_shell::testbed::Testbed;
use libtest_mimic::Completion;
use serde_json::Value;

use crate::Test;
use crate::daemons::{PATIENCE, setup};
use crate::scene::Outcome;

pub(crate) const TESTS: &[Test] = &[
    ("pings::a_ping_node_dies_and_returns_beside_a_pair", dies_and_returns),
    ("pings::a_ping_node_that_never_answers_delays_the_start_by_its_dead_time", never_there),
];

/// The client of the testbed answers under its own address and under those that a test gives it.
const MEMBERS: [&str; 2] = ["10.77.0.201", "10.77.0.202"];
const ADDRESS6: &str = "fd77::c8";

/// Gives the interface of the client an address, or takes it away: a ping node lives or dies.
fn set_alive(testbed: &Testbed, address: &str, alive: bool) -> Result<()> {
    let mut netlink = testbed.client().netlink()?;
    set_address(&mut netlink, address, alive)
}

fn set_address(netlink: &mut hb_shell::net::netlink::Netlink, address: &str, there: bool) -> Result<()> {
    let ip: IpAddr = address.parse()?;
    let prefix = if ip.is_ipv4() { 32 } else { 64 };
    let (link, broadcast, label, protocol, is_secondary) = (netlink.link("eth0")?.index, None, None, 0, false);
    let entry = Address { link, ip, prefix, broadcast, label, protocol, is_secondary };
    if there {
        netlink.add_address(&entry)?;
    } else {
        netlink.remove_address(&entry)?;
    }
    Ok(())
}

/// The status word of a node as `which` says it.
fn word(testbed: &Testbed, which: usize, name: &str) -> String {
    entry(testbed, which, name)["status"].as_str().unwrap_or_default().to_owned()
}

fn entry(testbed: &Testbed, which: usize, name: &str) -> Value {
    let status = testbed.status(which).unwrap_or_default();
    let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
    nodes.into_iter().find(|node| node["name"] == name).unwrap_or_default()
}

fn both_see(testbed: &Testbed, name: &str, state: &str) -> Result<()> {
    let seen = |testbed: &Testbed| [0, 1].iter().all(|which| word(testbed, *which, name) == state);
    testbed.wait_until(&format!("both see {name} {state}"), PATIENCE, seen)
}

fn dies_and_returns() -> Outcome {
    let mut setup = setup(false);
    setup.ha_cf +=
        "deadping 1\nping 10.77.0.200 10.77.0.201\nping_group outside 10.77.0.201 10.77.0.202\nping6 fd77::c8\n";
    let mut testbed = Testbed::new(setup)?;
    for member in MEMBERS.iter().chain([&ADDRESS6]) {
        set_alive(&testbed, member, true)?;
    }
    for which in 0..2 {
        set_address(&mut testbed.machine(which)?.netlink()?, &format!("fd77::{}", which + 1), true)?;
        testbed.start(which)?;
    }
    testbed.wait_until("the pair forms", PATIENCE, |testbed| testbed.rests(0))?;
    for name in ["10.77.0.200", "10.77.0.201", "outside", ADDRESS6] {
        both_see(&testbed, name, "ping")?;
    }

    set_alive(&testbed, MEMBERS[0], false)?;
    both_see(&testbed, "10.77.0.201", "dead")?;
    ensure!(word(&testbed, 0, "outside") == "ping", "the other member answers");
    let node = entry(&testbed, 0, "10.77.0.201");
    ensure!(node["type"] == "ping" && node["links"][0]["up"] == false, "{node}");
    set_alive(&testbed, MEMBERS[1], false)?;
    both_see(&testbed, "outside", "dead")?;
    set_alive(&testbed, ADDRESS6, false)?;
    both_see(&testbed, ADDRESS6, "dead")?;
    testbed.wait_for_log(0, &["node outside: is dead (", "Link outside:outside dead."], PATIENCE)?;
    ensure!(testbed.rests(0), "a ping node moves nothing");

    for member in MEMBERS.iter().chain([&ADDRESS6]) {
        set_alive(&testbed, member, true)?;
    }
    for name in ["10.77.0.200", "10.77.0.201", "outside", ADDRESS6] {
        both_see(&testbed, name, "ping")?;
    }
    for line in ["Status update for node outside: status ping", "Link outside:outside up."] {
        testbed.wait_until("it is logged twice", PATIENCE, |testbed| testbed.log(1).matches(line).count() == 2)?;
    }
    ensure!(!testbed.log(1).contains("10.77.0.200: is dead"), "{}", testbed.log(1));
    // Heartbeats go to members alone, and nothing else comes back.
    ensure!(testbed.status(0)?["dropped"].as_object().is_some_and(serde_json::Map::is_empty), "{}", testbed.status(0)?);
    Ok(Completion::Completed)
}

fn never_there() -> Outcome {
    let mut setup = setup(false);
    setup.ha_cf += "deadping 1\nping 10.77.0.250\n";
    let mut testbed = Testbed::new(setup)?;
    testbed.start(0)?;
    testbed.start(1)?;
    // The initial dead time is ten seconds.
    testbed.wait_until("the pair serves", Duration::from_secs(8), |testbed| testbed.rests(0))?;
    both_see(&testbed, "10.77.0.250", "dead")?;
    testbed.wait_for_log(0, &["node 10.77.0.250: is dead (never heard in "], PATIENCE)?;
    Ok(Completion::Completed)
}
