//! Configurations that are wrong, or differ between the nodes: what is said where, and who runs what then.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, ensure};
use hb_shell::testbed::Testbed;
use libtest_mimic::Completion;

use crate::Test;
use crate::agents::{self, PATIENCE, sturdy};
use crate::scene::Outcome;

pub(crate) const TESTS: &[Test] = &[
    ("configurations::what_no_node_can_serve_is_refused_with_its_place", refused),
    ("configurations::a_group_with_other_members_moves_to_nobody", other_members),
    ("configurations::a_group_that_one_node_lists_runs_there", changed_on_one),
    ("configurations::who_signs_with_another_key_loses_and_gains_nothing", other_key),
];

/// What `check` and the daemon say of files that they refuse.
fn refuses(testbed: &Testbed, phrases: &[&str]) -> Result<()> {
    for verb in ["check", "run"] {
        let mut command = testbed.command(0, &[verb]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = testbed.machine(0)?.spawn(command)?.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(6), "{verb}: {output:?}");
        for phrase in phrases {
            ensure!(said.contains(phrase), "{verb}: no `{phrase}` in\n{said}");
        }
    }
    Ok(())
}

fn refused() -> Outcome {
    let testbed = Testbed::new(sturdy())?;
    let (haresources, ha_cf) = (testbed.directory(0).join("haresources"), testbed.directory(0).join("ha.cf"));
    for (text, phrases) in [
        ("h1 10.77.0.100/24/eth0\nh2 10.77.0.100/24/eth0\n", ["E0304", "haresources:2:4"]),
        ("h1 10.77.0.100/24/eth7\n", ["E0503", "haresources:1:4"]),
    ] {
        fs::write(&haresources, text)?;
        refuses(&testbed, &phrases)?;
    }
    fs::write(&haresources, "h1 10.77.0.100/24/eth0\n")?;
    let good = fs::read_to_string(&ha_cf)?;
    let home = testbed.directory(0).display().to_string();
    for (line, phrases) in [
        ("stonith_host * no_such_plugin h1 h2\n".to_owned(), ["E0511", "no_such_plugin"]),
        (
            "stonith_host * fence_no_such ip=10.0.0.9\n".to_owned(),
            ["E0511", "the fence agent fence_no_such is not installed"],
        ),
        (format!("stonith null {home}/none\n"), ["E0512", "the parameters of the null device cannot be read"]),
        ("stonith_host h3 null h1 h2\n".to_owned(), ["E0217", "h3"]),
        ("stonith_host *\n".to_owned(), ["E0104", "stonith_host"]),
    ] {
        if line.contains(" null ") && !std::path::Path::new("/usr/sbin/stonith").exists() {
            println!("the Debian package cluster-glue is not installed: not tried: {}", line.trim());
            continue;
        }
        fs::write(&ha_cf, good.clone() + &line)?;
        refuses(&testbed, &phrases)?;
    }
    // A device for the other node alone is a warning.
    fs::write(&ha_cf, good + "stonith_host h2 external/none h1 h2\n")?;
    let output = testbed.command(0, &["check"]).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(said.contains("warning[W0216]"), "{said}");
    Ok(Completion::Completed)
}

fn other_members() -> Outcome {
    let mut testbed = Testbed::new(sturdy())?;
    fs::write(testbed.directory(1).join("haresources"), "h1 10.77.0.100/24/eth0 10.77.0.101/24/eth0\n")?;
    agents::start(&mut testbed)?;
    for (which, peer) in [(0, "h2"), (1, "h1")] {
        let phrase = format!("haresources: node {peer} defines 10.77.0.100/24/eth0 otherwise: only nodes that agree");
        agents::logged_in_order(&testbed, which, &[&phrase])?;
    }
    let output = testbed.command(0, &["standby", "all"]).output()?;
    ensure!(output.stdout == b"standby all: refused: no other node can take it now\n", "{output:?}");
    ensure!(agents::runs(&testbed, 0) && testbed.is_owned_by(&[0]), "{}", testbed.log(0));
    Ok(Completion::Completed)
}

fn changed_on_one() -> Outcome {
    let mut testbed = Testbed::new(sturdy())?;
    agents::start(&mut testbed)?;
    let haresources = testbed.directory(1).join("haresources");
    fs::write(haresources, "h1 10.77.0.100/24/eth0\nh2 10.77.0.101/24/eth0\n")?;
    ensure!(testbed.stop(1)? == Some(0));
    testbed.start(1)?;
    let phrase = "haresources: node h2 lists 10.77.0.101/24/eth0, which this node does not: it will not run here";
    agents::logged_in_order(&testbed, 0, &[phrase])?;
    agents::logged_in_order(
        &testbed,
        1,
        &["haresources: node h1 does not list 10.77.0.101/24/eth0: it will not run it"],
    )?;
    testbed.wait_until("each runs what it may", PATIENCE, |testbed| {
        let status = testbed.status(1).unwrap_or_default();
        status["groups"][1]["here"] == "running" && agents::runs(testbed, 0) && testbed.is_owned_by(&[0])
    })?;
    let output = testbed.command(1, &["standby", "all"]).output()?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(testbed.status(1)?["groups"][1]["here"] == "running", "it would run nowhere");
    Ok(Completion::Completed)
}

fn other_key() -> Outcome {
    let mut testbed = Testbed::new(sturdy())?;
    // Mode and owner stay.
    fs::write(testbed.directory(1).join("authkeys"), "auth 1\n1 sha1 another-key\n")?;
    testbed.start(0)?;
    testbed.start(1)?;
    for (which, peer) in [(0, "h2"), (1, "h1")] {
        let phrase = format!("what comes from node {peer} is not signed with a key of ours: it lives");
        agents::logged_in_order(&testbed, which, &[&phrase])?;
    }
    testbed.wait_until("h1 serves what is its own", PATIENCE, |testbed| testbed.has_address(0))?;
    std::thread::sleep(Duration::from_secs(3));
    ensure!(testbed.is_owned_by(&[0]), "h2 took what is preferred on a node that lives\n{}", testbed.log(1));
    let why = testbed.status(1)?["groups"][0]["why"].as_str().unwrap_or_default().to_owned();
    println!("h2 says: {why}");
    let dropped = testbed.status(1)?["dropped"].to_string();
    ensure!(dropped.contains("auth"), "{dropped}");
    Ok(Completion::Completed)
}
