//! Two real daemons on two machines: they crash, stop, move, lose a link, come back.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hb_shell::net::echo::Probe;
use hb_shell::net::netlink::Address;
use hb_shell::testbed::{Net, Setup, Testbed, VIRTUAL_ADDRESS};
use libtest_mimic::Completion;
use serde_json::json;

use crate::Test;
use crate::scene::Outcome;

pub(crate) const TESTS: &[Test] = &[
    ("daemons::a_pair_forms_and_the_preferred_node_serves", forms),
    ("daemons::a_crash_is_survived_and_the_group_returns_home", crash),
    ("daemons::without_failback_the_group_stays", sticky),
    ("daemons::a_stop_hands_over_and_leaves_no_address", stop),
    ("daemons::standby_and_takeover_are_answered_when_done", standby),
    ("daemons::losing_one_of_two_links_moves_nothing", one_link),
    ("daemons::a_restart_within_the_dead_time_moves_nothing", restart),
    ("daemons::an_address_left_by_a_killed_daemon_is_removed_at_its_start", left_behind),
    ("daemons::scripts_run_in_order_around_the_address", scripts),
    ("daemons::unicast_and_multicast_carry_a_pair_too", other_media),
    ("daemons::ipv6_unicast_and_multicast_carry_a_pair_at_once", ipv6_media),
    ("daemons::media_outlive_the_interfaces_they_use", new_interface),
    ("daemons::noise_on_the_port_changes_nothing", noise),
    ("daemons::what_cannot_start_says_why_in_one_line", bad_starts),
    ("daemons::the_letters_of_the_original_work", letters),
];

/// Only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const KEEPALIVE: Duration = Duration::from_millis(50);
/// Long enough that a busy machine is not taken for dead.
const DEADTIME: Duration = Duration::from_secs(2);

pub(crate) fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_heartbeat-under-test").into()
}

pub(crate) fn setup(failback: bool) -> Setup {
    Setup::new(program(), KEEPALIVE, DEADTIME, failback)
}

/// Both daemons run and everything is at rest with the address on the first.
pub(crate) fn settled(setup: Setup) -> Result<Testbed> {
    let mut testbed = Testbed::new(setup)?;
    testbed.start(0)?;
    testbed.start(1)?;
    testbed.wait_until("the pair is settled", PATIENCE, |testbed| testbed.rests(0))?;
    Ok(testbed)
}

/// The dead time is announced longer in a daemon's first seconds, so a crash must wait for the shorter one.
pub(crate) fn wait_for_short_deadtime(testbed: &Testbed, of: usize) -> Result<()> {
    testbed.wait_until("the start's grace is over", PATIENCE, |testbed| {
        let status = testbed.status(1 - of).unwrap_or_default();
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        nodes.get(of).is_some_and(|node| node["deadtime_ms"] == json!(u64::try_from(DEADTIME.as_millis()).unwrap_or(0)))
    })
}

fn forms() -> Outcome {
    let testbed = settled(setup(true))?;
    let status = testbed.status(1)?;
    let group = &status["groups"][0];
    ensure!(group["owner"] == "h1" && group["key"] == "10.77.0.100/24/eth0" && group["here"] == "stopped", "{group}");
    ensure!(status["holding"] == "local" && status["policy"] == "at-least-one", "{status}");
    let links = &status["nodes"][0]["links"][0];
    ensure!(links["medium"] == "eth1" && links["up"] == true, "{links}");
    let phrases = ["Local status now set to: 'active'", "Link h1:eth1 up.", "Heartbeat generation: "];
    testbed.wait_for_log(1, &phrases, PATIENCE)?;
    let table = testbed.command(1, &["status"]).output()?;
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    ensure!(table.contains("h1 says that it holds them"), "{table}");
    Ok(Completion::Completed)
}

fn crash() -> Outcome {
    let mut testbed = settled(setup(true))?;
    wait_for_short_deadtime(&testbed, 0)?;
    let probe = Probe::start(testbed.client(), VIRTUAL_ADDRESS, Duration::from_millis(1))?;
    testbed.power_off(0)?;
    testbed.wait_until("h2 serves", PATIENCE, |testbed| testbed.has_address(1))?;
    ensure!(probe.wait_for_answer(PATIENCE), "the client sees the new owner");
    probe.stop();
    // The log is written beside the loop.
    testbed.wait_until("the log says so", PATIENCE, |testbed| testbed.log(1).contains("node h1: is dead"))?;
    let why = testbed.status(1)?["groups"][0]["why"].as_str().unwrap_or_default().to_owned();
    ensure!(why.contains("node h1 is dead: silent for"), "{why}");

    testbed.power_on(0, &[])?;
    testbed.start(0)?;
    testbed.wait_until("h1 serves again", PATIENCE, |testbed| testbed.rests(0))?;
    testbed.wait_for_log(1, &["Heartbeat restart on node h1"], PATIENCE)?;
    Ok(Completion::Completed)
}

fn sticky() -> Outcome {
    let mut testbed = settled(setup(false))?;
    testbed.power_off(0)?;
    testbed.wait_until("h2 serves", PATIENCE, |testbed| testbed.has_address(1))?;
    testbed.power_on(0, &[])?;
    testbed.start(0)?;
    testbed.wait_until("h1 is back and h2 still serves", PATIENCE, |testbed| testbed.rests(1))?;
    Ok(Completion::Completed)
}

fn stop() -> Outcome {
    let mut testbed = settled(setup(true))?;
    let code = testbed.stop(0)?;
    ensure!(code == Some(0), "exit code {code:?}");
    testbed.wait_until("only h2 has the address", PATIENCE, |testbed| testbed.is_owned_by(&[1]))?;
    testbed.wait_for_log(1, &["Received shutdown notice from 'h1'."], PATIENCE)?;
    ensure!(!testbed.log(1).contains("h1: is dead"), "{}", testbed.log(1));
    ensure!(!testbed.directory(0).join("run/heartbeat.pid").exists(), "the pid file is gone");
    ensure!(!testbed.directory(0).join("run/control").exists(), "the control socket is gone");
    ensure!(testbed.stop(1)? == Some(0));
    ensure!(testbed.is_owned_by(&[]), "no address is left behind");
    Ok(Completion::Completed)
}

fn standby() -> Outcome {
    let testbed = settled(setup(false))?;
    let order = |which: usize, arguments: &[&str]| -> Result<(Option<i32>, String)> {
        let output = testbed.command(which, arguments).output()?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
    };
    ensure!(order(0, &["standby", "local"])? == (Some(0), "standby local: done\n".into()));
    // Answered when done: no waiting here.
    ensure!(testbed.is_owned_by(&[1]), "{}", testbed.log(0));
    ensure!(order(0, &["takeover", "local"])?.0 == Some(0));
    ensure!(testbed.is_owned_by(&[0]));
    ensure!(order(0, &["standby", "some"])?.0 == Some(2), "a bad word is a usage error");
    Ok(Completion::Completed)
}

fn one_link() -> Outcome {
    let mut setup = setup(false);
    setup.ha_cf += "bcast eth0\n";
    let mut testbed = settled(setup)?;
    testbed.set_joined(0, Net::Heartbeat, false)?;
    let link_dead = |testbed: &Testbed| [0, 1].iter().all(|which| testbed.log(*which).contains(":eth1 dead."));
    testbed.wait_until("both see the link die", PATIENCE, link_dead)?;
    ensure!(testbed.rests(0), "{}", testbed.log(1));
    testbed.set_joined(0, Net::Heartbeat, true)?;
    let link_up = |testbed: &Testbed| testbed.log(1).matches("Link h1:eth1 up.").count() == 2;
    testbed.wait_until("the link comes back", PATIENCE, link_up)?;
    ensure!(testbed.rests(0) && !testbed.log(1).contains("is dead ("));
    Ok(Completion::Completed)
}

fn restart() -> Outcome {
    let mut testbed = settled(setup(false))?;
    testbed.kill_all(1)?;
    testbed.start(1)?;
    testbed.wait_until("h2 is back", PATIENCE, |testbed| testbed.rests(0))?;
    testbed.wait_for_log(0, &["Heartbeat restart on node h2"], PATIENCE)?;
    ensure!(!testbed.log(0).contains("h2: is dead"), "{}", testbed.log(0));
    Ok(Completion::Completed)
}

fn left_behind() -> Outcome {
    let mut testbed = settled(setup(false))?;
    testbed.kill_all(0)?;
    ensure!(testbed.has_address(0), "without its guard a killed daemon leaves its address");
    testbed.wait_until("h2 takes over", PATIENCE, |testbed| testbed.has_address(1))?;
    testbed.start(0)?;
    testbed.wait_until("one owner is left", PATIENCE, |testbed| testbed.rests(1))?;
    testbed.wait_for_log(0, &["was left on eth0 by an earlier heartbeat: removed"], PATIENCE)?;
    Ok(Completion::Completed)
}

fn scripts() -> Outcome {
    let mut setup = setup(false);
    setup.haresources = "h1 First::a::b 10.77.0.100/24/eth0 Last\n".into();
    let testbed = Testbed::new(setup)?;
    for which in 0..2 {
        let directory = testbed.directory(which).join("resource.d");
        std::fs::create_dir_all(&directory)?;
        for name in ["First", "Last"] {
            let state = directory.join(name.to_lowercase());
            let calls = directory.join("calls");
            let text = format!(
                "#!/bin/sh\nfor last; do :; done\necho \"{name} $* $HA_CURHOST $(awk '{{print $41}}' /proc/self/stat)\" >> {calls}\n\
                 case $last in\nstart) touch {state};;\nstop) rm -f {state};;\nstatus) [ -e {state} ] && echo running || echo stopped;;\nesac\n",
                calls = calls.display(),
                state = state.display()
            );
            std::fs::write(directory.join(name), text)?;
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(directory.join(name), mode)?;
        }
    }
    let mut testbed = testbed;
    testbed.start(0)?;
    testbed.start(1)?;
    testbed.wait_until("h1 runs the group", PATIENCE, |testbed| {
        testbed.rests(0) && testbed.status(0).is_ok_and(|status| status["groups"][0]["here"] == "running")
    })?;
    ensure!(testbed.stop(0)? == Some(0));
    let calls =
        std::fs::read_to_string(testbed.directory(0).join("resource.d/calls")).context("scripts were called")?;
    // All scripts are asked at once, when the node starts and before the group does, so that either may be first.
    let mut calls: Vec<&str> = calls.lines().collect();
    calls.chunks_mut(2).take(2).for_each(<[&str]>::sort_unstable);
    let expected = [
        "First a b status h1 0",
        "Last status h1 0",
        "First a b status h1 0",
        "Last status h1 0",
        "First a b start h1 0",
        "Last start h1 0",
        "Last stop h1 0",
        "First a b stop h1 0",
    ];
    ensure!(calls == expected, "{calls:#?}");
    testbed.wait_until("h2 runs the group", PATIENCE, |testbed| {
        testbed.status(1).is_ok_and(|status| status["groups"][0]["here"] == "running")
    })?;
    Ok(Completion::Completed)
}

fn other_media() -> Outcome {
    for media in ["ucast eth1 10.78.0.1\nucast eth1 10.78.0.2\n", "mcast eth1 225.0.0.7 6940 1 0\n"] {
        let mut setup = setup(false);
        setup.ha_cf = setup.ha_cf.replace("bcast eth1\n", media);
        let testbed = settled(setup)?;
        ensure!(testbed.active_nodes(0) == 2, "{media}");
    }
    Ok(Completion::Completed)
}

fn ipv6_media() -> Outcome {
    let mut setup = setup(false);
    // Both use the same port; each on a network of its own, so that each link can be told from the other.
    let media = "ucast6 eth1 fe80::1%eth1\nucast6 eth1 fe80::2\nmcast6 eth0 ff02::7 694 1 0\n";
    setup.ha_cf = setup.ha_cf.replace("bcast eth1\n", media);
    let mut testbed = Testbed::new(setup)?;
    for which in 0..2 {
        let mut netlink = testbed.machine(which)?.netlink()?;
        for interface in ["eth0", "eth1"] {
            let link = netlink.link(interface)?.index;
            let ip = format!("fe80::{}", which + 1).parse()?;
            let (broadcast, label, protocol, is_secondary) = (None, None, 0, false);
            netlink.add_address(&Address { link, ip, prefix: 64, broadcast, label, protocol, is_secondary })?;
        }
    }
    testbed.start(0)?;
    testbed.start(1)?;
    testbed.wait_until("the pair forms", PATIENCE, |testbed| testbed.rests(0))?;
    for which in [0, 1] {
        let peer = ["h2", "h1"][which];
        let both = |testbed: &Testbed| {
            ["eth0", "eth1"].iter().all(|link| testbed.log(which).contains(&format!("Link {peer}:{link} up.")))
        };
        testbed.wait_until("both links are up", PATIENCE, both)?;
        ensure!(testbed.status(which)?["strays"] == 0);
    }

    // One alone carries the pair, whichever it is.
    testbed.set_joined(0, Net::Heartbeat, false)?;
    testbed.wait_until("ucast6 is lost", PATIENCE, |testbed| testbed.log(1).contains("Link h1:eth1 dead."))?;
    testbed.set_joined(0, Net::Heartbeat, true)?;
    testbed
        .wait_until("ucast6 is back", PATIENCE, |testbed| testbed.log(1).matches("Link h1:eth1 up.").count() == 2)?;
    testbed.set_joined(0, Net::Service, false)?;
    testbed.wait_until("mcast6 is lost", PATIENCE, |testbed| testbed.log(1).contains("Link h1:eth0 dead."))?;
    ensure!(testbed.rests(0) && !testbed.log(1).contains("is dead ("), "{}", testbed.log(1));
    Ok(Completion::Completed)
}

fn new_interface() -> Outcome {
    let mut setup = setup(false);
    // All kinds on the interface that goes; the service network is the spare that keeps the pair together.
    let media = "ucast eth1 10.78.0.1\nucast eth1 10.78.0.2\nmcast eth1 225.0.0.7 6940 1 0\nbcast eth0\n";
    setup.ha_cf = setup.ha_cf.replace("bcast eth1\n", media);
    let mut testbed = settled(setup)?;
    let media_of = |testbed: &Testbed, works: bool| {
        let status = testbed.status(0).unwrap_or_default();
        let media = status["media"].as_array().map_or(&[][..], Vec::as_slice);
        media.iter().filter(|medium| medium["name"] == "eth1").all(|medium| medium["carrier"] == works)
    };
    let links = |testbed: &Testbed, which: usize, up: bool| {
        let status = testbed.status(which).unwrap_or_default();
        let links = status["nodes"][1 - which]["links"].as_array().map_or(&[][..], Vec::as_slice);
        let mut heard = links.iter().filter(|link| link["medium"] == "eth1");
        // Of two ucast lines only the one towards the peer is its link.
        if up { heard.filter(|link| link["up"] == true).count() == 2 } else { heard.all(|link| link["up"] == false) }
    };
    for round in 1..=2 {
        testbed.wait_until("all links work", PATIENCE, |testbed| links(testbed, 0, true) && links(testbed, 1, true))?;
        testbed.unplug(0, Net::Heartbeat)?;
        testbed.wait_until("the media fail", PATIENCE, |testbed| media_of(testbed, false))?;
        testbed
            .wait_until("the links die", PATIENCE, |testbed| links(testbed, 0, false) && links(testbed, 1, false))?;
        testbed.wait_until("each is logged once", PATIENCE, |testbed| {
            testbed.log(0).matches("Link h2:eth1 dead.").count() == 2 * round
        })?;
        testbed.plug(0, Net::Heartbeat)?;
        testbed.wait_until("the media work", PATIENCE, |testbed| media_of(testbed, true))?;
    }
    testbed.wait_until("the links are back", PATIENCE, |testbed| links(testbed, 0, true) && links(testbed, 1, true))?;
    ensure!(testbed.rests(0) && !testbed.log(1).contains("is dead ("), "{}", testbed.log(1));
    Ok(Completion::Completed)
}

fn noise() -> Outcome {
    let testbed = settled(setup(false))?;
    testbed.machine(1)?.run(|| -> Result<()> {
        let socket = std::net::UdpSocket::bind("10.78.0.2:0")?;
        socket.set_broadcast(true)?;
        for _ in 0..50 {
            socket.send_to(b"###\nnonsense", "10.78.0.255:694")?;
            socket.send_to(b"###\n11:(0)t=status,%%%\n10:1 deadbeef,", "10.78.0.255:694")?;
        }
        Ok(())
    })?;
    testbed.wait_until("the noise is counted", PATIENCE, |testbed| {
        let dropped = testbed.status(0).unwrap_or_default()["dropped"].clone();
        dropped["wire"] == json!(50) && dropped["auth"] == json!(50)
    })?;
    ensure!(testbed.rests(0));
    testbed.wait_for_log(0, &["[from 10.78.0.2:", "bad packet"], PATIENCE)?;
    let log = testbed.log(0);
    ensure!(log.matches("bad packet").count() == 1, "{log}");
    Ok(Completion::Completed)
}

/// Runs `heartbeat run` on the first machine and expects it to fail with this code and phrase.
fn refuses(testbed: &Testbed, code: i32, phrase: &str) -> Result<()> {
    let mut command = testbed.command(0, &["run"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = testbed.machine(0)?.spawn(command)?.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(code), "{:?} instead of {code}: {text}", output.status);
    ensure!(text.contains(phrase), "no `{phrase}` in\n{text}");
    ensure!(!testbed.directory(0).join("state/hb_generation").exists(), "half-started: a generation was written");
    Ok(())
}

fn bad_starts() -> Outcome {
    let testbed = Testbed::new(setup(false))?;
    let file = |name: &str| testbed.directory(0).join(name);
    let good = std::fs::read_to_string(file("ha.cf"))?;

    std::fs::write(file("ha.cf"), good.replace("bcast eth1", "bcast eth7"))?;
    refuses(&testbed, 6, "eth7")?;
    std::fs::write(file("ha.cf"), format!("{good}frobnicate on\n"))?;
    refuses(&testbed, 6, "Illegal directive [frobnicate]")?;
    std::fs::write(file("ha.cf"), format!("{good}crm respawn\n"))?;
    refuses(&testbed, 6, "crm")?;
    std::fs::write(file("ha.cf"), &good)?;

    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(file("authkeys"), readable)?;
    refuses(&testbed, 6, "Bad permissions on keyfile")?;
    let secret = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(file("authkeys"), secret)?;

    let busy = testbed.machine(0)?.run(|| std::net::UdpSocket::bind("0.0.0.0:694"))?;
    refuses(&testbed, 4, "UDP port 694 is in use")?;
    drop(busy);

    let mut netlink = testbed.machine(0)?.netlink()?;
    let link = netlink.link("eth0")?.index;
    let foreign = hb_shell::net::netlink::Address {
        link,
        ip: VIRTUAL_ADDRESS,
        prefix: 24,
        broadcast: None,
        label: None,
        protocol: 0,
        is_secondary: false,
    };
    netlink.add_address(&foreign)?;
    refuses(&testbed, 6, "10.77.0.100 is already on interface eth0, and not by us")?;
    ensure!(testbed.has_address(0), "what is not ours is not touched");

    std::fs::remove_file(file("authkeys"))?;
    refuses(&testbed, 6, "Cannot open keyfile")?;
    Ok(Completion::Completed)
}

fn letters() -> Outcome {
    let mut testbed = Testbed::new(setup(false))?;
    let run = |testbed: &Testbed, arguments: &[&str]| -> Result<(Option<i32>, String)> {
        let mut command: Command = testbed.command(0, arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = testbed.machine(0)?.spawn(command)?.wait_with_output()?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
    };
    ensure!(run(&testbed, &["-s"])? == (Some(3), "heartbeat is stopped. No process\n".into()));
    ensure!(run(&testbed, &["-k"])? == (Some(0), "INFO: Heartbeat already stopped.\n".into()));
    ensure!(run(&testbed, &["-V"])?.0 == Some(0));

    // To the background: success means that it runs.
    let (code, output) = run(&testbed, &["-l"])?;
    ensure!(code == Some(0), "{output}");
    let (code, text) = run(&testbed, &["-s"])?;
    let pid = std::fs::read_to_string(testbed.directory(0).join("run/heartbeat.pid"))?;
    ensure!(
        code == Some(0) && text == format!("heartbeat OK [pid {} et al] is running on h1 [h1]...\n", pid.trim()),
        "{text}"
    );
    ensure!(run(&testbed, &["-l"])?.0 == Some(0), "already running is no error");
    ensure!(run(&testbed, &["-k"])?.0 == Some(0));
    ensure!(run(&testbed, &["-s"])?.0 == Some(3));

    // Killed: the pid file is stale, and the next start does not mind.
    testbed.start(0)?;
    testbed.wait_until("it answers", PATIENCE, |testbed| testbed.status(0).is_ok())?;
    testbed.kill_all(0)?;
    ensure!(run(&testbed, &["-s"])?.0 == Some(1), "a stale pid file");
    testbed.start(0)?;
    testbed.wait_until("it answers again", PATIENCE, |testbed| testbed.status(0).is_ok())?;
    ensure!(testbed.stop(0)? == Some(0));
    Ok(Completion::Completed)
}
