//! What a node leaves with its guard, and what it tells the others when the node is dead.

use super::*;
use crate::ids::Seq;

impl Pair {
    /// The daemon of a node dies, and what it left with its guard is said.
    fn kill(&mut self, which: usize) {
        self.crash(which);
        let (_, farewell) = self.entrusted[which].clone().expect("a node that manages resources leaves word");
        self.wire.push_back((1 - which, farewell));
    }

    fn numbers(&self, which: usize) -> (Seq, Seq) {
        let (_, farewell) = self.entrusted[which].as_ref().unwrap();
        let left = super::super::traffic::accept(&self.configs[which], farewell).unwrap().header.seq.unwrap();
        (self.nodes[which].as_ref().unwrap().sender.newest(), left)
    }
}

#[test]
fn the_farewell_of_a_killed_node_is_a_planned_move() {
    for failback in ["on", "off"] {
        let mut pair = Pair::started(failback);
        let before = pair.now;
        pair.kill(0);
        pair.run(Duration::ZERO);
        assert_eq!((pair.holds()[1], pair.now), ("all", before), "{:#?}", pair.log);
        assert!(pair.has_logged(1, "Received shutdown notice from 'h1'."));
        // Its silence tells nothing new, and it comes back as any other.
        pair.run(secs(10));
        assert!(pair.has_logged(1, "node h1: is dead"));
        pair.boot(0);
        pair.run(secs(10));
        assert_eq!(
            pair.holds(),
            if failback == "on" { ["local", "local"] } else { ["none", "all"] },
            "{:#?}",
            pair.log
        );
    }
}

#[test]
fn the_farewell_of_an_earlier_life_tells_nobody_anything() {
    let mut pair = Pair::started("off");
    let old = pair.entrusted[0].clone().unwrap().1;
    pair.crash(0);
    pair.boot(0);
    pair.run(secs(4));
    pair.wire.push_back((1, old));
    pair.run(Duration::ZERO);
    assert!(!pair.has_logged(1, "Received shutdown notice"), "{:#?}", pair.log);
}

#[test]
fn the_farewell_spends_no_number_and_stays_ahead_however_much_is_said() {
    let mut pair = Pair::started("off");
    let mut least = u64::MAX;
    for _ in 0..200 {
        let (newest, left) = pair.numbers(0);
        least = least.min(left.since(newest));
        assert!((1..=40).contains(&left.since(newest)), "{newest:?} {left:?}");
        let now = pair.now;
        let node = pair.nodes[0].as_mut().unwrap();
        node.send(Body::ReqNodes, None);
        assert_eq!((node.sender.newest(), *node.now), (newest.next(), now));
        // Without a heartbeat: time stands still.
        for action in node.actions.0.drain(..) {
            if let Action::Entrust { until, reset, farewell } = action {
                pair.entrusted[0] = Some((Guarded { until, reset }, farewell[0].1.clone()));
            }
        }
    }
    assert_eq!(least, 25, "at most 15 numbers without another farewell");
}

#[test]
fn what_is_left_lasts_from_the_heartbeat_and_ends_before_peers_take_over() {
    let mut pair = Pair::started("off");
    pair.run(millis(125));
    let heard = pair.nodes[1].as_ref().unwrap().status().nodes().find(|node| node.name == "h1").unwrap().heard.unwrap();
    let (Guarded { until, reset }, _) = pair.entrusted[0].clone().unwrap();
    assert_eq!((until.since(heard), reset.since(heard)), (millis(2625), millis(2940)));
    // A message in between does not make it last longer.
    for _ in 0..16 {
        pair.nodes[0].as_mut().unwrap().send(Body::ReqNodes, None);
    }
    assert_eq!(pair.nodes[0].as_ref().unwrap().guarded_until(), Some(Guarded { until, reset }));
}

#[test]
fn a_reload_that_shortens_the_dead_time_leaves_word_at_once() {
    let mut pair = Pair::started("off");
    let long = pair.entrusted[0].clone().unwrap().0.until;
    let (ha_cf, now) = (format!("{C2}auto_failback off\n").replace("deadtime 3", "deadtime 2"), pair.now);
    pair.step(0, reload::files(0, &ha_cf, GROUPS, "auth 1\n1 sha1 secret\n"));
    let short = pair.entrusted[0].clone().unwrap().0.until;
    assert!(short < long);
    assert_eq!(short.since(now), millis(1750));
}

#[test]
fn without_resources_nothing_is_left_with_anybody() {
    let sources = Sources {
        local_name: "h1",
        ha_cf: SourceText { name: "ha.cf", bytes: C2.as_bytes() },
        haresources: None,
        authkeys: SourceText { name: "authkeys", bytes: b"auth 1\n1 sha1 secret\n" },
    };
    let mut pair = Pair::new("off");
    pair.configs[0] = Config::read(&sources).config.unwrap();
    pair.boot(0);
    pair.run(secs(20));
    assert!(pair.entrusted[0].is_none());
}

#[test]
fn while_nobody_knows_what_an_earlier_life_left_there_is_no_farewell() {
    let mut pair = Pair::new("off");
    // It runs already and cannot be stopped.
    pair.stop[0] = Outcome::Failed(Failure::ExitCode(1));
    pair.boot(0);
    assert!(pair.entrusted[0].is_none(), "not with the first heartbeat either");
    pair.boot(1);
    pair.run(secs(5));
    assert_eq!((pair.entrusted[0].is_none(), pair.entrusted[1].is_none()), (true, false));
    pair.stop[0] = Outcome::Done;
    for _ in 0..2000 {
        pair.run(millis(1));
        assert_eq!(pair.entrusted[0].is_none(), pair.nodes[0].as_ref().unwrap().executor.is_probing());
    }
    assert!(pair.entrusted[0].is_some());
}
