//! Our ipfail, which is built in, and the original's program: each loses its ping node, and the other says so.

use crate::Test;
use crate::changes::HOME;
use crate::scene::{Kind, Ours, Outcome, Plan, Real, Scene};

const HOST: &str = "10.77.0.200";

pub(crate) fn tests() -> Vec<Test> {
    let test = |word: &str, subject| Test::new(format!("ipfail::{word}_loses_its_ping_node"), move || loses(subject));
    vec![test("ours", Ours), test("the_real_one", Real)]
}

fn loses(subject: Kind) -> Outcome {
    let other = if subject == Ours { Real } else { Ours };
    let lines = format!("bcast eth1\ndeadping 3\nping {HOST}\nrespawn hacluster /usr/libexec/heartbeat/ipfail\n");
    let mut scene = Scene::new(Plan::new(&[subject, other]).with("bcast eth1\n", &lines))?;
    let _host = scene.plug_host(200)?;
    scene.start(0)?;
    scene.start(1)?;
    scene.settles("the pair is settled", HOME.0, HOME.1)?;
    let us = usize::from(subject == Real);
    // At its start the real one is told how many we reach.
    scene.logged(1 - us, &["Ping node count is balanced."])?;

    let mut netlink = scene.machine(0)?.netlink()?;
    let link = netlink.link("eth0")?.index;
    netlink.set_up(link, false)?;
    let moved = &["active active none", "active active all"];
    scene.settles("the other has it all", moved, "A@h2 B@h2")?;
    let told = "ipfail: Giving up because we were told that we have less ping nodes.";
    let tells = "ipfail: Telling other node that we have more visible ping nodes.";
    scene.logged(us, &[if subject == Ours { told } else { tells }])?;

    netlink.set_up(link, true)?;
    scene.settles("with the ping node the group is home again", HOME.0, HOME.1)?;
    // What is sent into a network that is down; and the original says so when it hears the ping node again.
    let unreachable = ["Network is unreachable", "does not carry", "libnet_write failed", "gratuitous arps"];
    let known = [&unreachable[..], &["Late heartbeat: Node 10.77.0.200"]].concat();
    scene.without_complaint(&known)
}
