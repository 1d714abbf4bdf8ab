//! Files read again while the pair serves.

use super::*;
use crate::config::Text;
use crate::reload::Reload;

const OLD: &str = "auth 1\n1 sha1 secret\n";
const BOTH: &str = "auth 1\n1 sha1 secret\n2 sha1 new\n";
const SWITCHED: &str = "auth 2\n1 sha1 secret\n2 sha1 new\n";
const NEW: &str = "auth 2\n2 sha1 new\n";

pub(super) fn files(which: usize, ha_cf: &str, haresources: &str, authkeys: &str) -> Input<'static> {
    let text = |name: &str, text: &str| Text { name: name.into(), bytes: text.into() };
    let (ha_cf, haresources) = (text("ha.cf", ha_cf), text("haresources", haresources));
    let reading = Config::read(&Sources {
        local_name: ["h1", "h2"][which],
        ha_cf: ha_cf.source(),
        haresources: Some(haresources.source()),
        authkeys: text("authkeys", authkeys).source(),
    });
    let config = reading.config.unwrap_or_else(|| panic!("{:?}", reading.diagnostics));
    Input::Reload(alloc::boxed::Box::new(Reload::new(config, ha_cf, Some(haresources))))
}

fn ha_cf(extra: &str) -> String {
    format!("{C2}auto_failback on\n{extra}")
}

impl Pair {
    fn rekey(&mut self, which: usize, authkeys: &str) {
        self.step(which, files(which, &ha_cf(""), GROUPS, authkeys));
    }

    fn drops(&self) -> u64 {
        self.nodes
            .iter()
            .flatten()
            .flat_map(|node| node.status().drops().map(|(_, count)| count).collect::<Vec<_>>())
            .sum()
    }
}

#[test]
fn three_reloads_change_the_key_and_no_packet_is_refused() {
    let mut pair = Pair::started("on");
    for authkeys in [BOTH, SWITCHED, NEW] {
        for which in 0..2 {
            // Packets of both sides are under way.
            pair.step(0, Input::Client { client: ClientId(9), request: Request::Standby(Which::Local) });
            pair.rekey(which, authkeys);
            pair.run(millis(700));
        }
    }
    pair.run(secs(5));
    assert_eq!(pair.drops(), 0, "{:#?}", pair.log);
    assert!(!pair.has_logged(0, "is dead") && !pair.has_logged(1, "is dead"));
    assert!(pair.has_logged(0, "auth: 1 becomes 2") && !pair.has_logged(0, "new"), "{:#?}", pair.log);
}

#[test]
fn what_was_lost_before_the_old_key_is_gone_is_repaired_after() {
    let mut pair = Pair::started("on");
    for authkeys in [BOTH, SWITCHED] {
        (0..2).for_each(|which| pair.rekey(which, authkeys));
    }
    // The last messages signed with the old key were lost by the other side; the history has them under the new one.
    pair.rekey(1, OLD);
    pair.run(millis(10));
    pair.cut = true;
    pair.run(millis(600));
    pair.cut = false;
    pair.rekey(1, NEW);
    pair.rekey(0, NEW);
    pair.run(secs(2));
    assert!(!pair.has_logged(0, "will never come"), "{:#?}", pair.log);
    assert!(pair.has_logged(0, "No pkts missing from h2"), "{:#?}", pair.log);
    assert_eq!(pair.drops(), 0, "{:#?}", pair.log);
}

#[test]
fn times_count_at_once_and_are_told_before_they_could_be_missed() {
    let mut pair = Pair::started("on");
    let slow = ha_cf("")
        .replace("250ms", "3")
        .replace("1500ms", "9")
        .replace("deadtime 3", "deadtime 12")
        .replace("initdead 8", "initdead 30");
    let input = files(0, &slow, GROUPS, OLD);
    pair.step(0, input);
    pair.run(secs(11));
    assert!(!pair.has_logged(1, "is dead"), "{:#?}", pair.log);
    pair.crash(0);
    pair.run(secs(8));
    assert!(!pair.has_logged(1, "is dead"), "{:#?}", pair.log);
    pair.run(secs(5));
    assert!(pair.has_logged(1, "node h1: is dead"), "{:#?}", pair.log);
}

#[test]
fn what_waits_for_a_restart_is_said_and_changes_nothing() {
    let mut pair = Pair::started("on");
    let before = pair.nodes[0].as_ref().unwrap().config().clone();
    let input = files(0, &ha_cf("bcast eth7\n"), "h1 10.77.0.100/24/eth0\nh1 10.77.0.102\n", OLD);
    pair.step(0, input);
    pair.run(secs(1));
    assert_eq!(*pair.nodes[0].as_ref().unwrap().config(), before);
    assert!(pair.has_logged(0, "Configuration reread: 0 changes applied, 3 wait for a restart"), "{:#?}", pair.log);
    assert!(pair.has_logged(0, "media: bcast eth7, port 694 is added; waits for a restart"), "{:#?}", pair.log);
    assert_eq!(pair.holds(), ["local", "local"]);
    pair.step(0, files(0, &ha_cf(""), GROUPS, OLD));
    assert!(pair.has_logged(0, "Configuration unchanged."), "{:#?}", pair.log);
}

#[test]
fn a_reload_before_the_first_step_and_after_the_last_does_no_harm() {
    let mut pair = Pair::new("on");
    pair.boot(0);
    pair.rekey(0, BOTH);
    pair.run(secs(9));
    pair.step(0, Input::Operator(Command::Stop));
    pair.run(secs(20));
    let slower = ha_cf("").replace("250ms", "500ms");
    pair.step(0, files(0, &slower, GROUPS, NEW));
    assert_eq!(pair.nodes[0].as_ref().unwrap().next_deadline(), None);
}

#[test]
fn auto_failback_turned_on_sends_home_what_a_death_brought() {
    let mut pair = Pair::started("off");
    pair.crash(0);
    pair.run(secs(4));
    pair.boot(0);
    pair.run(secs(10));
    assert_eq!(pair.holds(), ["none", "all"]);
    for which in 0..2 {
        pair.step(which, files(which, &ha_cf(""), GROUPS, OLD));
        pair.settle();
    }
    pair.run(secs(3));
    assert_eq!(pair.holds(), ["local", "local"], "{:#?}", pair.log);
    // What was moved on purpose stays where it is.
    pair.request(0, Request::Standby(Which::Local));
    pair.run(secs(3));
    pair.step(1, files(1, &ha_cf("hopfudge 2\n"), GROUPS, OLD));
    pair.run(secs(3));
    assert_eq!(pair.holds(), ["none", "all"], "{:#?}", pair.log);
}
