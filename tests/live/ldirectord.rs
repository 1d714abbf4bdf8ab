//! A load balancer that moves: Debian's `ldirectord`, with a stand-in for `ipvsadm`.

use std::fs;

use anyhow::ensure;
use hb_shell::testbed::Testbed;
use libtest_mimic::Completion;

use crate::Test;
use crate::agents::{self, Needed, PATIENCE};
use crate::scene::Outcome;

pub(crate) const TESTS: &[Test] = &[("ldirectord::the_balancer_follows_its_address", follows)];

const NEEDED: &[Needed] = &[("/etc/ha.d/resource.d/ldirectord", "ldirectord"), ("/usr/sbin/ipvsadm", "ipvsadm")];

const ADDED: &str = "ipvsadm -A -t 10.77.0.100:80 -s rr";
const REMOVED: &str = "ipvsadm -D -t 10.77.0.100:80";

/// How often a node's kernel was told to balance, and to stop it.
fn told(testbed: &Testbed, which: usize) -> (usize, usize) {
    let calls = agents::calls(testbed, which);
    let count = |wanted: &str| calls.iter().filter(|call| *call == wanted).count();
    (count(ADDED), count(REMOVED))
}

fn follows() -> Outcome {
    if let Some(reason) = agents::hindrance(NEEDED) {
        return Ok(Completion::ignored_with(reason));
    }
    let mut testbed = agents::pair("")?;
    agents::stand_in(&testbed, "ipvsadm", "")?;
    // Beside both nodes, as the file of a pair is the same on both.
    let conf = testbed.directory(0).with_file_name("balance.cf");
    let text = format!(
        "checkinterval=1\nquiescent=no\nlogfile=\"{}\"\nvirtual=10.77.0.100:80\n\
         \treal=10.77.0.9:80 gate\n\tscheduler=rr\n\tprotocol=tcp\n\tservice=none\n\tchecktype=on\n",
        testbed.directory(0).with_file_name("balance.log").display()
    );
    fs::write(&conf, text)?;
    let line = format!("h1 10.77.0.100/24/eth0 ldirectord::{}\n", conf.display());
    agents::prepare(&mut testbed, &line, &["/usr/sbin/ipvsadm"])?;
    agents::start(&mut testbed)?;
    testbed.wait_until("h1 balances", PATIENCE, |testbed| told(testbed, 0) == (1, 0))?;
    ensure!(told(&testbed, 1) == (0, 0), "{:?}", agents::calls(&testbed, 1));
    let real = "ipvsadm -a -t 10.77.0.100:80 ";
    testbed.wait_until("with its real server", PATIENCE, |testbed| {
        agents::calls(testbed, 0).iter().any(|call| call.starts_with(real) && call.contains("-r 10.77.0.9:80 -g"))
    })?;

    agents::stand_by(&testbed, 0)?;
    // The stop is a signal, and the script does not wait for what it leads to.
    testbed.wait_until("h2 balances and h1 has cleaned up", PATIENCE, |testbed| {
        told(testbed, 0) == (1, 1) && told(testbed, 1) == (1, 0)
    })?;

    testbed.kill(1)?;
    testbed.wait_until("h1 balances again and h2 has cleaned up", PATIENCE, |testbed| {
        agents::here(testbed, 0) == "running" && told(testbed, 0) == (2, 1) && told(testbed, 1) == (1, 1)
    })?;
    ensure!(testbed.stop(0)? == Some(0));
    testbed.wait_until("nobody balances", PATIENCE, |testbed| told(testbed, 0) == (2, 2))?;
    testbed.wait_until("no director is left", PATIENCE, |testbed| {
        [0, 1].iter().all(|which| {
            let left = testbed.machine(*which).and_then(|machine| Ok(machine.processes()?));
            left.is_ok_and(|left| left.iter().all(|pid| !is_director(*pid)))
        })
    })?;
    Ok(Completion::Completed)
}

fn is_director(pid: nix::unistd::Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("ldirectord"))
}
