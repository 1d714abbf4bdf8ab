//! Ping nodes compared, in both books (CLUSTER e.2).

use super::*;
use crate::wire::Fields;

/// Two ping nodes, as media 1 and 2.
const PINGS: &str = "ping 10.0.0.254 10.0.0.253\ndeadping 2\n";
const IPFAIL: &str = "respawn hacluster /usr/lib/heartbeat/ipfail\n";
const FIRST: MediumId = MediumId(1);
const SECOND: MediumId = MediumId(2);

fn native(failback: &str, lines: &str) -> Pair {
    let ha_cf = format!("{}auto_failback {failback}\n{PINGS}{lines}", C2.replace("dialect classic\n", ""));
    up(Pair::with(&ha_cf, GROUPS))
}

fn classic(failback: &str, lines: &str) -> Pair {
    up(Pair::with(&format!("{C2}auto_failback {failback}\n{PINGS}{lines}"), GROUPS))
}

fn up(mut pair: Pair) -> Pair {
    pair.boot(0);
    pair.boot(1);
    pair.run(secs(6));
    assert_eq!(pair.holds(), ["local", "local"], "{:#?}", pair.log);
    pair
}

impl Pair {
    fn lose(&mut self, which: usize, ping: MediumId) {
        self.mute.insert((which, ping));
    }

    fn find(&mut self, which: usize, ping: MediumId) {
        self.mute.remove(&(which, ping));
    }

    /// What a node tells of all nodes' counts.
    fn counts(&self, which: usize) -> Vec<Option<u32>> {
        self.nodes[which].as_ref().unwrap().status().nodes().map(|node| node.pings).collect()
    }

    /// The types of what a node said as a client called ipfail, with the numbers.
    fn letters(&self, which: usize) -> Vec<String> {
        let keys = &self.configs[which];
        let mut letters = Vec::new();
        for (_, frame) in self.sent.iter().filter(|(by, _)| *by == which) {
            let fields: Fields<'_> = keys.keyring().verify(frame).unwrap().into_fields();
            let text = |name: &str| fields.text(name).map(|text| String::from_utf8_lossy(text).into_owned());
            if text("from_id").as_deref() == Some("ipfail") {
                let numbers = [text("st"), text("num_ping"), text("dest")].into_iter().flatten();
                letters.push([text("t").unwrap()].into_iter().chain(numbers).collect::<Vec<_>>().join(" "));
            }
        }
        letters
    }
}

#[test]
fn the_program_is_not_run_and_nobody_waits_for_it() {
    for mut pair in [native("off", IPFAIL), classic("off", IPFAIL)] {
        assert!(!pair.clients.iter().any(|(_, action)| matches!(action, Action::StartProgram { .. })));
        assert!(pair.has_logged(0, "\"/usr/lib/heartbeat/ipfail\" is not run: ipfail is built in"));
        pair.step(0, Input::Operator(Command::Stop));
        pair.run(secs(2));
        assert_eq!(pair.exits, 1);
    }
}

#[test]
fn a_node_that_reaches_fewer_hands_its_groups_over_after_two_keepalives() {
    let mut pair = native("off", IPFAIL);
    assert_eq!(pair.counts(1), [Some(2), Some(2)]);
    pair.lose(0, FIRST);
    pair.run(millis(1_700));
    assert_eq!(pair.counts(1), [Some(2), Some(2)]);
    pair.run(millis(400));
    assert_eq!((pair.counts(0), pair.counts(1)), (alloc::vec![Some(1), Some(2)], alloc::vec![Some(1), Some(2)]));
    assert_eq!(pair.holds(), ["local", "local"], "not before the counts have stood for a while");
    pair.run(millis(500));
    assert_eq!(pair.holds(), ["none", "all"], "{:#?}", pair.log);
    assert!(
        pair.has_logged(0, "release 10.77.0.100/24/eth0: this node reaches 1 of its ping nodes, node h2 reaches 2")
    );
    pair.find(0, FIRST);
    pair.run(secs(5));
    assert_eq!(pair.holds(), ["none", "all"], "it stays");
}

#[test]
fn a_loss_of_both_within_two_keepalives_moves_nothing() {
    let mut pair = native("on", IPFAIL);
    pair.lose(0, FIRST);
    pair.run(millis(400));
    pair.lose(1, FIRST);
    pair.run(secs(5));
    assert_eq!(pair.counts(0), [Some(1), Some(1)]);
    assert_eq!((pair.holds(), pair.stops.len()), (["local", "local"], 0), "{:#?}", pair.log);
}

#[test]
fn what_is_found_again_in_time_moves_nothing() {
    let mut pair = native("on", IPFAIL);
    pair.lose(0, FIRST);
    pair.run(millis(2_200));
    assert_eq!(pair.counts(0)[0], Some(1));
    pair.find(0, FIRST);
    pair.run(secs(5));
    assert_eq!((pair.holds(), pair.stops.len()), (["local", "local"], 0), "{:#?}", pair.log);
}

#[test]
fn with_failback_groups_go_home_when_the_counts_are_equal() {
    let mut pair = native("on", IPFAIL);
    pair.lose(0, FIRST);
    pair.run(secs(4));
    assert_eq!(pair.holds(), ["none", "all"]);
    pair.find(0, FIRST);
    pair.run(millis(400));
    assert_eq!(pair.holds(), ["none", "all"]);
    pair.run(millis(500));
    assert_eq!(pair.holds(), ["local", "local"], "{:#?}", pair.log);
}

#[test]
fn operators_cannot_give_a_group_to_whom_it_would_leave_at_once() {
    let mut pair = native("off", IPFAIL);
    pair.lose(0, FIRST);
    pair.run(secs(4));
    pair.request(0, Request::Takeover(Which::Local));
    pair.request(1, Request::Standby(Which::All));
    let unable = Refusal::Unable(crate::wire::message::Unable::Isolated);
    assert_eq!(pair.replies, [Response::Refused(unable), Response::Refused(Refusal::NoTaker)]);
    pair.step(1, Input::Operator(Command::Stop));
    pair.run(secs(2));
    assert_eq!(pair.holds(), ["all", "none"], "who leaves is compared with nobody: {:#?}", pair.log);
}

#[test]
fn who_does_not_run_it_is_told_of_once_and_not_compared() {
    let mut pair = Pair::with(&format!("{}auto_failback off\n{PINGS}", C2.replace("dialect classic\n", "")), GROUPS);
    let ha_cf = format!("{}auto_failback off\n{PINGS}{IPFAIL}", C2.replace("dialect classic\n", ""));
    pair.configs[0] = config("h1", &ha_cf, GROUPS);
    let mut pair = up(pair);
    pair.lose(0, FIRST);
    pair.run(secs(10));
    assert_eq!(pair.holds(), ["local", "local"]);
    let told = pair.log.iter().filter(|(_, line)| line.contains("node h2 does not run ipfail"));
    assert_eq!(told.count(), 1, "{:#?}", pair.log);
    assert!(!pair.has_logged(1, "does not run ipfail"), "it does not run it either");
}

#[test]
fn with_failback_legacy_it_is_off() {
    let mut pair = native("legacy", IPFAIL);
    pair.lose(0, FIRST);
    pair.run(secs(10));
    assert_eq!((pair.holds(), pair.counts(0)), (["local", "local"], alloc::vec![None, None]));
}

#[test]
fn a_node_that_reaches_none_does_not_take_over_from_a_silent_one() {
    let mut pair = native("off", IPFAIL);
    for which in 0..2 {
        pair.lose(which, FIRST);
        pair.lose(which, SECOND);
    }
    pair.run(secs(4));
    assert_eq!(pair.holds(), ["local", "local"], "both have lost everything");
    pair.crash(0);
    pair.run(secs(10));
    assert_eq!(pair.holds()[1], "local", "{:#?}", pair.log);
    let why = |pair: &Pair| pair.nodes[1].as_ref().unwrap().status().groups().next().unwrap().why.to_string();
    assert!(why(&pair).starts_with("waiting: this node reaches none of its ping nodes"), "{}", why(&pair));
    pair.find(1, SECOND);
    pair.run(millis(2_900));
    assert_eq!(pair.holds()[1], "local", "the silent one may have gone by it: {:#?}", pair.log);
    pair.run(millis(500));
    assert_eq!(pair.holds()[1], "all", "{:#?}", pair.log);
}

// --- beside the original

#[test]
fn two_of_a_classic_cluster_talk_as_the_originals_do() {
    let mut pair = classic("off", IPFAIL);
    let join = "hbapi-clstat join";
    assert_eq!(pair.letters(0).first().map(String::as_str), Some(join));
    pair.sent.clear();
    pair.lose(0, FIRST);
    pair.run(millis(2_200));
    assert_eq!(pair.letters(0), ["num_ping_nodes 1 h2"]);
    assert_eq!(pair.letters(1), ["you_are_dead h1"]);
    assert_eq!(pair.holds(), ["local", "local"]);
    pair.run(millis(500));
    assert_eq!(pair.holds(), ["none", "all"], "{:#?}", pair.log);
    for line in ["ipfail: Giving up because we were told that we have less ping nodes.", "h1 wants to go standby [all]"]
    {
        assert!(pair.has_logged(0, line), "{line}");
    }
    assert!(pair.has_logged(1, "ipfail: Telling other node that we have more visible ping nodes."));
    pair.find(0, FIRST);
    pair.run(secs(3));
    assert_eq!(pair.holds(), ["none", "all"]);
    assert!(pair.has_logged(1, "ipfail: Ping node count is balanced."));
}

#[test]
fn in_a_classic_cluster_groups_go_home_when_the_counts_are_equal() {
    let mut pair = classic("on", IPFAIL);
    pair.lose(0, FIRST);
    pair.run(secs(4));
    assert_eq!(pair.holds(), ["none", "all"], "{:#?}", pair.log);
    pair.find(0, FIRST);
    pair.run(secs(2));
    assert_eq!(pair.holds(), ["local", "local"], "{:#?}", pair.log);
    assert!(pair.has_logged(1, "ipfail: Giving up foreign resources (auto_failback)."));
}

#[test]
fn in_a_classic_cluster_a_loss_of_both_is_aborted() {
    let mut pair = classic("off", IPFAIL);
    pair.lose(0, FIRST);
    pair.run(millis(300));
    pair.lose(1, FIRST);
    pair.run(secs(5));
    assert_eq!(pair.holds(), ["local", "local"], "{:#?}", pair.log);
    assert!(pair.has_logged(0, "ipfail: Aborted delayed giveup"), "{:#?}", pair.log);
}

#[test]
fn a_partner_that_does_not_answer_moves_nothing() {
    let mut pair = Pair::with(&format!("{C2}auto_failback off\n{PINGS}"), GROUPS);
    pair.configs[0] = config("h1", &format!("{C2}auto_failback off\n{PINGS}{IPFAIL}"), GROUPS);
    let mut pair = up(pair);
    pair.lose(0, FIRST);
    pair.lose(0, SECOND);
    pair.run(secs(10));
    assert_eq!((pair.holds(), pair.letters(1).len()), (["local", "local"], 0));
}
