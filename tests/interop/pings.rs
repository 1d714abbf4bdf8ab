//! Both see a ping node alike: there, silent, there again.

use crate::Test;
use crate::changes::HOME;
use crate::scene::{Ours, Outcome, Plan, Real, Scene};

const HOST: &str = "10.77.0.200";

pub(crate) fn tests() -> Vec<Test> {
    vec![Test::new("pings::a_ping_node_dies_and_returns", dies_and_returns)]
}

fn dies_and_returns() -> Outcome {
    let plan = Plan::new(&[Ours, Real]).with("bcast eth1\n", &format!("bcast eth1\ndeadping 3\nping {HOST}\n"));
    let mut scene = Scene::new(plan)?;
    let host = scene.plug_host(200)?;
    scene.start(0)?;
    scene.start(1)?;
    scene.settles("the pair is settled", HOME.0, HOME.1)?;
    let both_say = |word: &str| {
        scene.wait(&format!("both say that the ping node is `{word}`"), |scene| {
            [0, 1].iter().all(|which| scene.says_of_ping(*which, HOST) == word)
        })
    };
    both_say("ping")?;
    let mut netlink = host.netlink()?;
    let link = netlink.link("eth0")?.index;
    netlink.set_up(link, false)?;
    both_say("dead")?;
    netlink.set_up(link, true)?;
    both_say("ping")?;
    scene.settles("nothing moved", HOME.0, HOME.1)?;
    // The original says so when it hears it again.
    scene.without_complaint(&["Late heartbeat: Node 10.77.0.200"])
}
