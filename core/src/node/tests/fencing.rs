//! Silent nodes are reset first (OWNERSHIP 3 (b)); the rows of CLUSTER f are scenarios P10 to P15 of the simulator.

use super::{C2, GROUPS, Pair, config, config_signed, secs};
use crate::action::{Action, Refusal, Response};
use crate::ids::{Generation, MediumId, NodeId, OpId};
use crate::input::{Failure, Input, Outcome, Request};
use crate::wire::message::{Stonith, StonithResult};
use alloc::borrow::Cow;
use alloc::vec::Vec;

impl Pair {
    fn fencing(dialect: &str) -> Pair {
        let text = C2.replace("dialect classic\n", dialect);
        let mut pair = Pair::with(&alloc::format!("{text}auto_failback on\nstonith_host * null h1 h2\n"), GROUPS);
        pair.boot(0);
        pair.boot(1);
        pair.run(secs(6));
        for which in [0, 1] {
            pair.device_answers(which, Outcome::Done);
        }
        pair
    }

    /// What the device was asked, and has not answered in this test.
    fn questions(&self, which: usize) -> Vec<OpId> {
        let own = self.clients.iter().filter(|(by, _)| *by == which);
        own.filter_map(|(_, action)| if let Action::Inspect { op, .. } = action { Some(*op) } else { None }).collect()
    }

    fn device_answers(&mut self, which: usize, outcome: Outcome) {
        let asked = self.questions(which).pop().expect("it was asked");
        self.shot_ends(which, asked, outcome);
    }

    /// The shots begun and cancelled by a node, in order.
    fn shots(&self, which: usize) -> (Vec<OpId>, Vec<OpId>) {
        let own = || self.clients.iter().filter(|(by, _)| *by == which).map(|(_, action)| action);
        let begun = own().filter_map(|action| if let Action::Fence { op, .. } = action { Some(*op) } else { None });
        let ceased = own().filter_map(|action| if let Action::CeaseFire { op } = action { Some(*op) } else { None });
        (begun.collect(), ceased.collect())
    }

    fn shot_ends(&mut self, which: usize, op: OpId, outcome: Outcome) {
        self.step(which, Input::OpDone { op, outcome, said: crate::Transcript::default() });
        self.settle();
    }

    /// A word about the first node comes to the second, as if a third one had said it.
    fn told(&mut self, life: Option<Generation>) {
        let node = self.nodes[1].as_mut().unwrap();
        node.on_stonith(NodeId(0), &Stonith { node: Cow::Borrowed("h1"), result: StonithResult::Ok, life });
        let done: Vec<Action> = node.actions.0.drain(..).collect();
        self.clients.extend(done.into_iter().map(|action| (1, action)));
        self.step(1, Input::Wake);
    }
}

#[test]
fn both_books_shoot_before_they_take() {
    for dialect in ["", "dialect classic\n"] {
        let mut pair = Pair::fencing(dialect);
        assert_eq!(pair.holds(), ["local", "local"], "{dialect}");
        pair.crash(0);
        pair.run(secs(4));
        let (begun, _) = pair.shots(1);
        assert_eq!((begun.len(), pair.holds()[1]), (1, "local"), "{dialect}");
        pair.shot_ends(1, begun[0], Outcome::Failed(Failure::ExitCode(5)));
        pair.run(secs(4));
        assert_eq!((pair.shots(1).0.len(), pair.holds()[1]), (1, "local"), "{dialect}");
        pair.run(secs(2));
        let (begun, ceased) = pair.shots(1);
        assert_eq!((begun.len(), ceased.len(), pair.holds()[1]), (2, 0, "local"), "{dialect}");
        pair.shot_ends(1, begun[1], Outcome::Done);
        pair.run(secs(1));
        assert_eq!(pair.holds()[1], "all", "{dialect}");
        // Nobody shoots again, and who comes back is heard again.
        pair.run(secs(60));
        pair.boot(0);
        pair.run(secs(20));
        assert_eq!((pair.shots(1).0.len(), pair.holds()), (2, ["local", "local"]), "{dialect}");
    }
}

#[test]
fn the_end_of_a_cancelled_shot_proves_nothing() {
    let mut pair = Pair::fencing("");
    pair.cut = true;
    pair.run(secs(4));
    let begun = pair.shots(0).0;
    pair.cut = false;
    pair.run(secs(1));
    assert_eq!(pair.shots(0).1, begun, "it was heard again");
    // Silent anew, while the program of the first shot has not ended yet.
    pair.cut = true;
    pair.run(secs(10));
    assert_eq!(pair.shots(0).0.len(), 1, "one shot at a time");
    pair.shot_ends(0, begun[0], Outcome::Done);
    assert_eq!(pair.holds()[0], "local", "it was about an earlier silence");
    pair.run(secs(1));
    assert_eq!(pair.shots(0).0.len(), 2);
}

#[test]
fn a_proof_is_about_one_life() {
    let mut pair = Pair::fencing("");
    let life = Generation(101);
    pair.told(Some(life));
    pair.crash(0);
    pair.run(secs(4));
    assert_eq!(pair.holds()[1], "local", "what was said of a node that lived is not kept");
    pair.told(Some(Generation(100)));
    assert_eq!(pair.holds()[1], "local", "an earlier life");
    pair.told(None);
    assert_eq!(pair.holds()[1], "local", "a life that nobody knew");
    pair.told(Some(life));
    assert_eq!(pair.holds()[1], "all");
    assert_eq!(pair.shots(1).1.len(), 1, "its own shot is not needed any more");
}

/// Scenario S7 after a proof: what was proved of a node ends when it speaks, in whatever key.
#[test]
fn who_speaks_with_another_key_is_not_proved_down_any_more() {
    for dialect in ["", "dialect classic\n"] {
        let text =
            alloc::format!("{}auto_failback on\nstonith_host * null h1 h2\n", C2.replace("dialect classic\n", dialect));
        let mut pair = Pair::with(&text, GROUPS);
        pair.boot(1);
        pair.run(secs(9));
        let begun = pair.shots(1).0;
        // Its packets are kept from the other node: only the test hands over one.
        pair.configs[0] = config_signed("h1", &text, GROUPS, b"auth 1\n1 sha1 other\n");
        pair.cut = true;
        pair.boot(0);
        pair.run(secs(1));
        let mut strange = Pair::with(&text, GROUPS);
        strange.configs[0] = pair.configs[0].clone();
        strange.boot(0);
        strange.run(secs(2));
        let frame = strange.sent.iter().rfind(|(by, _)| *by == 0).unwrap().1.to_vec();
        // While the shot is under way: it is cancelled, and its end proves nothing.
        pair.step(1, Input::Frame { medium: MediumId(0), bytes: &frame });
        assert_eq!((begun.len(), pair.shots(1).1.last()), (1, begun.last()), "{dialect}");
        pair.shot_ends(1, begun[0], Outcome::Done);
        pair.run(secs(1));
        assert_ne!(pair.holds()[1], "all", "{dialect}");
        // Silent again, it is reset; before anything is taken it speaks once more.
        pair.nodes[0] = None;
        pair.configs[0] = config("h1", &text, GROUPS);
        pair.run(secs(5));
        let again = pair.shots(1).0;
        assert_eq!(again.len(), 2, "{dialect}");
        pair.start[1] = Outcome::Failed(Failure::ExitCode(1));
        pair.shot_ends(1, again[1], Outcome::Done);
        assert!(pair.nodes[1].as_ref().unwrap().nodes.get(NodeId(0)).unwrap().is_fenced(), "{dialect}");
        pair.step(1, Input::Frame { medium: MediumId(0), bytes: &frame });
        assert!(!pair.nodes[1].as_ref().unwrap().nodes.get(NodeId(0)).unwrap().is_fenced(), "{dialect}");
    }
}

#[test]
fn an_operator_confirms_only_what_is_silent() {
    let mut pair = Pair::fencing("");
    pair.request(1, Request::Confirm(NodeId(0)));
    pair.request(1, Request::Confirm(NodeId(1)));
    pair.request(1, Request::Confirm(NodeId(7)));
    let refused = Response::Refused;
    assert_eq!(pair.replies, [refused(Refusal::Alive), refused(Refusal::Alive), refused(Refusal::NoSuchNode)]);
    pair.crash(0);
    pair.run(secs(4));
    pair.request(1, Request::Confirm(NodeId(0)));
    assert_eq!((pair.replies.last(), pair.holds()[1]), (Some(&Response::Done), "all"));

    let mut pair = Pair::native("on");
    pair.request(1, Request::Confirm(NodeId(0)));
    assert_eq!(pair.replies, [refused(Refusal::NoProofWanted)]);
}

#[test]
fn a_device_is_asked_at_the_start_and_every_hour_whether_it_works() {
    let mut pair = Pair::fencing("");
    assert_eq!((pair.questions(0).len(), pair.questions(1).len()), (1, 1));
    assert!(pair.has_logged(0, "STONITH device null is operational: it could reset node h2"));
    pair.run(secs(3590));
    assert_eq!(pair.questions(0).len(), 1);
    pair.run(secs(20));
    assert_eq!(pair.questions(0).len(), 2);
    pair.log.clear();
    pair.device_answers(0, Outcome::Done);
    assert!(pair.log.is_empty(), "nothing new: {:#?}", pair.log);
    pair.run(secs(3610));
    pair.device_answers(0, Outcome::Failed(Failure::ExitCode(2)));
    assert!(pair.has_logged(0, "STONITH device null not operational! (Return code 2) Node h2 could not be reset"));
    let failures = |pair: &Pair| pair.nodes[0].as_ref().unwrap().status().fencing_failures().count();
    assert_eq!(failures(&pair), 1);
    pair.run(secs(3610));
    pair.device_answers(0, Outcome::Done);
    assert!(pair.has_logged(0, "STONITH device null is operational"));
    assert_eq!((failures(&pair), pair.holds()), (0, ["local", "local"]), "nothing is decided by it");
}

#[test]
fn a_shot_takes_the_device_from_whoever_only_asks() {
    let mut pair = Pair::fencing("");
    pair.run(secs(3610));
    let asked = pair.questions(1)[1];
    pair.crash(0);
    pair.run(secs(4));
    let (begun, ceased) = pair.shots(1);
    assert_eq!((begun.len(), ceased), (1, alloc::vec![asked]));
    pair.device_answers(1, Outcome::Failed(Failure::Signal(15)));
    assert!(!pair.has_logged(1, "not operational"));
    pair.shot_ends(1, begun[0], Outcome::Done);
    pair.run(secs(1));
    assert_eq!(pair.holds()[1], "all");
    pair.run(secs(3610));
    assert_eq!(pair.questions(1).len(), 3, "asked again in an hour");
    let (asked, before) = (pair.questions(1)[2], pair.shots(1).1.len());
    pair.step(1, Input::Operator(crate::input::Command::Stop));
    assert_eq!(pair.shots(1).1[before..], [asked], "no question outlives its daemon");
}
