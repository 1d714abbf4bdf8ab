//! What a situation leaves out, and what it does not.

use crate::Verb;
use crate::auth::Framing;
use crate::config::Config;
use crate::ids::{ClientId, Generation, MediumId, NodeUuid, OpId, Seq};
use crate::input::{Input, Outcome, Request, Which};
use crate::node::{Boot, Node, tests::config};
use crate::time::{Instant, UnixTime};
use crate::wire::message::{AskResources, Body, Header, Holding, Message, Resource, StandbyStep, Status, StatusWord};
use crate::{Action, LoadAverage};
use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::time::Duration;
use proptest::prelude::*;

const HA_CF: &str = "node h1 h2\nbcast eth1\nkeepalive 1\ndeadtime 3\ninitdead 6\nauto_failback on\nlogfacility none\n";

/// Where the counting begins.
#[derive(Clone, Copy, Debug)]
struct Origin {
    nanos: u64,
    wall_clock: u64,
    generation: u64,
    peer_generation: u64,
    /// The peer's first number. Which numbers are acknowledged depends on the last digit, so that must be kept.
    peer_seq: u64,
}

const PLAIN: Origin =
    Origin { nanos: 1_000_000_000, wall_clock: 1_700_000_000, generation: 5, peer_generation: 7, peer_seq: 11 };

/// One node and a peer that says what it is told to.
struct Driven {
    node: Node,
    config: Config,
    now: Instant,
    origin: Origin,
    peer_life: u64,
    peer_seq: u64,
    operations: Vec<OpId>,
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Pass(u16),
    /// The peer's next message; or one that so many messages were lost before; or an old one.
    Hear(Says, i8),
    Restart,
    Finish,
    Ask(Which),
}

#[derive(Clone, Copy, Debug)]
enum Says {
    Up,
    Active,
    Starting,
    Holds(bool, bool),
    Standby(StandbyStep),
    Shutdone,
}

impl Driven {
    fn new(origin: Origin) -> Driven {
        let config = config("h1", HA_CF, "h1 10.0.0.1/24/eth0\n");
        let now = Instant::from_nanos(origin.nanos);
        let boot = Boot {
            now,
            wall_clock: UnixTime(origin.wall_clock),
            generation: Generation(origin.generation),
            uuid: NodeUuid([1; 16]),
            seed: [3; 32],
            hostcache: crate::config::Hostcache::default(),
            longest_deadtime: Duration::ZERO,
            cut_short: Vec::new(),
        };
        let node = Node::new(config.clone(), boot);
        let (peer_life, peer_seq) = (origin.peer_generation, origin.peer_seq);
        let mut driven = Driven { node, config, now, origin, peer_life, peer_seq, operations: Vec::new() };
        driven.give(Input::Wake);
        driven
    }

    fn give(&mut self, input: Input<'_>) {
        let mut asked = Vec::new();
        for action in self.node.handle(self.now, input) {
            match action {
                Action::RunResource { op, run } if run.verb == Verb::Status => asked.push(op),
                Action::RunResource { op, .. } => self.operations.push(op),
                _ => {}
            }
        }
        for op in asked {
            self.give(Input::OpDone { op, outcome: Outcome::NotRunning, said: crate::Transcript::default() });
        }
    }

    fn situation(&self) -> u64 {
        self.node.situation(self.now, self.node.newest_number().next())
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now.plus(span);
        while let Some(deadline) = self.node.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.give(Input::Wake);
        }
        self.now = end;
    }

    fn hear(&mut self, says: Says, seq: u64) {
        let (dt, hold) = (Duration::from_secs(3), |local, foreign| Holding { local, foreign });
        let status = |word| Status {
            word: StatusWord::of(Cow::Borrowed(word)),
            deadtime: Some(dt),
            protocol: Some(1),
            native: None,
            hears: None,
        };
        let body = match says {
            Says::Up => Body::Status(status("up")),
            Says::Active => Body::Status(status("active")),
            Says::Starting => Body::Starting,
            Says::Holds(local, foreign) => {
                Body::Resource(Resource { holding: hold(local, foreign), full: true, stable: Some(true), info: None })
            }
            Says::Standby(step) => Body::AskResources(AskResources { holding: hold(false, true), step }),
            Says::Shutdone => Body::Shutdone,
        };
        let mut header = Header::new("h2", UnixTime(self.origin.wall_clock));
        header.src_uuid = Some(NodeUuid([2; 16]));
        header.seq = Some(Seq(seq));
        header.generation = Some(Generation(self.peer_life));
        let fields = Message { header, body };
        let sealed = self.config.keyring().seal(fields.to_fields(), Framing::Datagram, self.config.sealing());
        self.give(Input::Frame { medium: MediumId(0), bytes: &sealed.unwrap() });
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Pass(millis) => self.pass(Duration::from_millis(u64::from(*millis))),
            Step::Hear(says, skip) => {
                let seq = self.peer_seq.saturating_add_signed(i64::from(*skip)).max(self.origin.peer_seq);
                self.peer_seq = self.peer_seq.max(seq + 1);
                self.hear(*says, seq);
            }
            Step::Restart => self.peer_life += 1,
            Step::Finish => {
                if let Some(op) = self.operations.pop() {
                    self.give(Input::OpDone { op, outcome: Outcome::Done, said: crate::Transcript::default() });
                }
            }
            Step::Ask(which) => {
                self.give(Input::Client { client: ClientId(1), request: Request::Standby(*which) });
            }
        }
    }
}

fn says() -> impl Strategy<Value = Says> {
    prop_oneof![
        1 => Just(Says::Up),
        6 => Just(Says::Active),
        2 => Just(Says::Starting),
        3 => (any::<bool>(), any::<bool>()).prop_map(|(local, foreign)| Says::Holds(local, foreign)),
        1 => prop_oneof![Just(StandbyStep::Me), Just(StandbyStep::Other), Just(StandbyStep::Done)]
            .prop_map(Says::Standby),
        1 => Just(Says::Shutdone),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u16..1500).prop_map(Step::Pass),
        6 => (says(), prop_oneof![4 => Just(0_i8), 1 => -4_i8..4]).prop_map(|(says, skip)| Step::Hear(says, skip)),
        1 => Just(Step::Restart),
        2 => Just(Step::Finish),
        1 => Just(Step::Ask(Which::All)),
    ]
}

fn origin() -> impl Strategy<Value = Origin> {
    (1_u64..1 << 60, 1_u64..1 << 40, 1_u64..1 << 40, 1_u64..1 << 40, 1_u64..1 << 30).prop_map(
        |(nanos, wall_clock, generation, peer_generation, tens)| Origin {
            nanos,
            wall_clock,
            generation,
            peer_generation,
            peer_seq: tens * 10 + PLAIN.peer_seq % 10,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// All of time, both lives and all of the peer's numbers moved: the same story leads through the same situations.
    #[test]
    fn a_situation_does_not_know_where_counting_began(
        steps in prop::collection::vec(step(), 1..60),
        origin in origin(),
    ) {
        let (mut plain, mut moved) = (Driven::new(PLAIN), Driven::new(origin));
        prop_assert_ne!(plain.node.digest(), moved.node.digest());
        for step in &steps {
            plain.step(step);
            moved.step(step);
            prop_assert_eq!(plain.situation(), moved.situation(), "after {:?}", step);
        }
    }
}

/// A node with an active peer that holds nothing, at rest for longer than anything is remembered.
fn settled() -> Driven {
    let mut driven = Driven::new(PLAIN);
    // Nobody answers its question for the node list.
    for _ in 0..8 {
        quiet_second(&mut driven);
    }
    driven.step(&Step::Hear(Says::Holds(false, false), 0));
    driven.step(&Step::Finish);
    for _ in 0..20 {
        quiet_second(&mut driven);
    }
    assert!(driven.node.status().is_stable());
    driven
}

fn quiet_second(driven: &mut Driven) {
    driven.step(&Step::Hear(Says::Active, 0));
    driven.pass(Duration::from_secs(1));
}

#[test]
fn a_quiet_node_returns_to_its_situation_with_every_tenth_number() {
    let mut driven = settled();
    let mut round = || {
        quiet_second(&mut driven);
        driven.situation()
    };
    let first: Vec<u64> = core::iter::repeat_with(&mut round).take(10).collect();
    let second: Vec<u64> = core::iter::repeat_with(&mut round).take(10).collect();
    assert_eq!(first, second);
}

#[test]
fn a_lost_and_recovered_message_leaves_no_trace() {
    let (mut whole, mut lossy) = (settled(), settled());
    for driven in [&mut whole, &mut lossy] {
        driven.step(&Step::Hear(Says::Active, 0));
    }
    whole.hear(Says::Active, whole.peer_seq);
    whole.hear(Says::Active, whole.peer_seq + 1);
    lossy.hear(Says::Active, lossy.peer_seq + 1);
    assert_ne!(whole.situation(), lossy.situation(), "one is missing");
    lossy.hear(Says::Active, lossy.peer_seq);
    assert_eq!(whole.situation(), lossy.situation());
    assert_ne!(whole.node.digest(), lossy.node.digest(), "luck was drawn from");
}

#[test]
fn what_decides_nothing_does_not_enter() {
    let mut driven = settled();
    let before = (driven.situation(), driven.node.digest());
    driven.give(Input::Load(LoadAverage::new("0.5 0.4 0.3 1/2 3").unwrap()));
    driven.give(Input::WallClock(UnixTime(77)));
    driven.give(Input::Frame { medium: MediumId(0), bytes: b"noise" });
    assert_eq!(driven.situation(), before.0);
    assert_ne!(driven.node.digest(), before.1);
}

#[test]
fn what_decides_something_enters() {
    let mut situations = alloc::vec![settled().situation()];
    for change in [
        Step::Pass(1),
        Step::Hear(Says::Active, 0),
        Step::Hear(Says::Up, 0),
        Step::Hear(Says::Active, 1),
        Step::Hear(Says::Holds(false, true), 0),
        Step::Hear(Says::Shutdone, 0),
        Step::Ask(Which::All),
    ] {
        let mut driven = settled();
        driven.step(&change);
        assert!(!situations.contains(&driven.situation()), "{change:?}");
        situations.push(driven.situation());
    }
    let driven = settled();
    let newest = driven.node.newest_number();
    assert_ne!(driven.node.situation(driven.now, newest), driven.situation(), "what may be asked for");
}
