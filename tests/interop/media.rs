//! Each medium carries a pair, and two at once survive the loss of one.

use anyhow::ensure;

use crate::Test;
use crate::changes::HOME;
use crate::scene::{Ours, Outcome, Plan, Real, Scene};

/// Lines of ha.cf.
const MEDIA: &[(&str, &str)] = &[
    ("unicast", "ucast eth1 10.78.0.1\nucast eth1 10.78.0.2\n"),
    ("multicast", "mcast eth1 225.0.0.7 694 1 0\n"),
    ("broadcast_and_unicast", "bcast eth1\nucast eth2 10.79.0.1\nucast eth2 10.79.0.2\n"),
    ("multicast_and_broadcast_on_another_port", "udpport 6940\nmcast eth1 225.0.0.7 694 1 0\nbcast eth2\n"),
];

pub(crate) fn tests() -> Vec<Test> {
    let test = |(name, lines): &(&str, &'static str)| {
        let lines = *lines;
        Test::new(format!("media::{name}"), move || carries(lines))
    };
    MEDIA.iter().map(test).chain([Test::new("media::serial_line", serial_line)]).collect()
}

/// A null-modem cable is all there is, and carries a planned move as well.
fn serial_line() -> Outcome {
    let mut plan = Plan::new(&[Ours, Real]).with("bcast eth1\n", "baud 115200\nserial TTY\n");
    plan.cable = true;
    let scene = Scene::started(plan)?;
    scene.settles("the pair is settled", HOME.0, HOME.1)?;
    scene.standby(0, "local")?;
    scene.settles("the real one has both", &["active active none", "active active all"], "A@h2 B@h2")?;
    scene.takeover(0, "local")?;
    scene.settles("each has its own again", HOME.0, HOME.1)?;
    scene.without_complaint(&[])
}

fn carries(lines: &str) -> Outcome {
    let mut plan = Plan::new(&[Ours, Real]).with("bcast eth1\n", lines);
    plan.wires = if lines.contains("eth2") { 2 } else { 1 };
    let wires = plan.wires;
    let scene = Scene::started(plan)?;
    scene.settles("the pair is settled", HOME.0, HOME.1)?;
    for wire in 1..=wires {
        scene.logged(0, &[&format!("Link h2:eth{wire} up.")])?;
        scene.logged(1, &[&format!("Link h1:eth{wire} up.")])?;
    }
    if wires == 1 {
        return scene.without_complaint(&[]);
    }
    for cut in 1..=wires {
        scene.wires[cut - 1].lose(|_| true);
        scene.logged(0, &[&format!("Link h2:eth{cut} dead.")])?;
        scene.logged(1, &[&format!("Link h1:eth{cut} dead.")])?;
        ensure!(scene.placement() == HOME.1, "{scene:?}");
        scene.wires[cut - 1].lose_nothing();
        let back = |which: usize, line: &str| scene.wait(line, |scene| scene.log(which).matches(line).count() == 2);
        back(0, &format!("Link h2:eth{cut} up."))?;
        back(1, &format!("Link h1:eth{cut} up."))?;
    }
    scene.settles("nothing moved", HOME.0, HOME.1)?;
    ensure!((0..2).all(|which| !scene.log(which).contains(": is dead")), "{scene:?}");
    scene.without_complaint(&[])
}
