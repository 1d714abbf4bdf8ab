//! Two nodes joined by a perfect cable: the whole path of packets and timers, without a machine.
//!
//! What depends on delay, loss and machines is asked in the simulator.

use super::*;
use crate::action::{Cancellation, Refusal, Response};
use crate::config::{SourceText, Sources};
use crate::ids::{ClientId, MediumId, NodeId};
use crate::input::{Failure, Outcome, Request, Which};
use crate::wire::Body;
use crate::wire::message::{AskResources, Holding, Resource, StandbyStep};
use alloc::collections::{BTreeSet, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;

mod clients;
mod dialects;
mod fencing;
mod guarded;
mod hostile;
mod ipfail;
mod members;
mod moves;
mod pings;
mod reload;
mod sleep;
mod traffic;

pub(super) fn config(local: &str, ha_cf: &str, haresources: &str) -> Config {
    config_signed(local, ha_cf, haresources, b"auth 1\n1 sha1 secret\n")
}

fn config_signed(local: &str, ha_cf: &str, haresources: &str, authkeys: &[u8]) -> Config {
    let sources = Sources {
        local_name: local,
        ha_cf: SourceText { name: "ha.cf", bytes: ha_cf.as_bytes() },
        haresources: Some(SourceText { name: "haresources", bytes: haresources.as_bytes() }),
        authkeys: SourceText { name: "authkeys", bytes: authkeys },
    };
    let reading = Config::read(&sources);
    reading.config.unwrap_or_else(|| panic!("{:?}", reading.diagnostics))
}

const C2: &str = "node h1 h2\ndialect classic\nbcast eth1\nkeepalive 250ms\nwarntime 1500ms\ndeadtime 3\ninitdead 8\nlogfacility none\n";
const GROUPS: &str = "h1 10.77.0.100/24/eth0\nh2 10.77.0.101/24/eth0\n";

/// A cluster of one or two nodes.
struct Pair {
    now: Instant,
    configs: [Config; 2],
    nodes: [Option<Node>; 2],
    generation: u64,
    /// Frames under way: who gets them.
    wire: VecDeque<(usize, crate::action::Frame)>,
    cut: bool,
    /// What nodes sent while nothing was cut.
    sent: Vec<(usize, crate::action::Frame)>,
    log: Vec<(usize, String)>,
    replies: Vec<Response>,
    exits: usize,
    /// Outcome of every start on a node.
    start: [Outcome; 2],
    /// Outcome of every stop on a node; what fails to stop runs on.
    stop: [Outcome; 2],
    starts: Vec<(usize, String)>,
    stops: Vec<(usize, String)>,
    /// What concerns clients of the API and programs.
    clients: Vec<(usize, Action)>,
    /// Who announced an address.
    arps: Vec<usize>,
    /// A node that is not run; what comes for it waits.
    asleep: Option<usize>,
    waiting: Vec<crate::action::Frame>,
    /// Ping nodes that do not answer a node, by medium.
    mute: BTreeSet<(usize, MediumId)>,
    /// What each node left with its guard last.
    entrusted: [Option<(Guarded, crate::action::Frame)>; 2],
}

impl Pair {
    fn new(failback: &str) -> Pair {
        Pair::with(&format!("{C2}auto_failback {failback}\n"), GROUPS)
    }

    fn with(ha_cf: &str, groups: &str) -> Pair {
        Pair {
            now: Instant::from_nanos(1_000_000_000),
            configs: ["h1", "h2"].map(|name| config(name, ha_cf, groups)),
            nodes: [None, None],
            generation: 100,
            wire: VecDeque::new(),
            cut: false,
            sent: Vec::new(),
            log: Vec::new(),
            replies: Vec::new(),
            exits: 0,
            start: [Outcome::Done, Outcome::Done],
            stop: [Outcome::Done, Outcome::Done],
            starts: Vec::new(),
            stops: Vec::new(),
            clients: Vec::new(),
            arps: Vec::new(),
            asleep: None,
            waiting: Vec::new(),
            mute: BTreeSet::new(),
            entrusted: [None, None],
        }
    }

    fn started(failback: &str) -> Pair {
        let mut pair = Pair::new(failback);
        pair.boot(0);
        pair.boot(1);
        pair.run(Duration::from_secs(6));
        pair
    }

    /// The same, in the dialect that both would choose.
    fn native(failback: &str) -> Pair {
        let mut pair =
            Pair::with(&format!("{}auto_failback {failback}\n", C2.replace("dialect classic\n", "")), GROUPS);
        pair.boot(0);
        pair.boot(1);
        pair.run(Duration::from_secs(6));
        pair
    }

    fn boot(&mut self, which: usize) {
        self.generation += 1;
        let boot = Boot {
            now: self.now,
            wall_clock: UnixTime(1_700_000_000),
            generation: Generation(self.generation),
            uuid: NodeUuid([[1; 16], [2; 16]][which]),
            seed: [[3; 32], [4; 32]][which],
            hostcache: crate::config::Hostcache::default(),
            longest_deadtime: Duration::ZERO,
            cut_short: Vec::new(),
        };
        self.nodes[which] = Some(Node::new(self.configs[which].clone(), boot));
        self.step(which, Input::Wake);
    }

    fn crash(&mut self, which: usize) {
        self.nodes[which] = None;
    }

    fn step(&mut self, which: usize, input: Input<'_>) {
        let Some(node) = &mut self.nodes[which] else { return };
        let mut done = Vec::new();
        let mut echoes = Vec::new();
        let is_ping = |medium: MediumId| self.configs[which].media()[medium.index()].kind.is_ping();
        for action in node.handle(self.now, input) {
            match action {
                Action::Send { medium, frame, .. } if is_ping(medium) => echoes.push((medium, frame)),
                Action::Send { frame, .. } if !self.cut => {
                    self.sent.push((which, frame.clone()));
                    self.wire.push_back((1 - which, frame));
                }
                Action::RunResource { op, run } => {
                    let word = run.resource.to_string();
                    match run.verb {
                        crate::action::Verb::Start => self.starts.push((which, word)),
                        crate::action::Verb::Stop => self.stops.push((which, word)),
                        crate::action::Verb::Status | crate::action::Verb::Monitor => {}
                    }
                    let outcome = match run.verb {
                        crate::action::Verb::Start => self.start[which].clone(),
                        crate::action::Verb::Stop => self.stop[which].clone(),
                        crate::action::Verb::Status | crate::action::Verb::Monitor
                            if self.stop[which] != Outcome::Done =>
                        {
                            Outcome::Running
                        }
                        crate::action::Verb::Status | crate::action::Verb::Monitor => Outcome::NotRunning,
                    };
                    done.push((op, outcome));
                }
                Action::Report(event) => self.log.push((which, event.to_string())),
                Action::Reply { response, .. } => self.replies.push(response),
                Action::Exit(_) => self.exits += 1,
                Action::FireArp { .. } => self.arps.push(which),
                Action::Entrust { until, reset, farewell } => {
                    let farewell = farewell.first().map(|(_, frame)| frame.clone());
                    self.entrusted[which] = farewell.map(|farewell| (Guarded { until, reset }, farewell));
                }
                Action::Send { .. } | Action::ArmTimer { .. } => {}
                action => self.clients.push((which, action)),
            }
        }
        for (medium, frame) in echoes {
            if !self.mute.contains(&(which, medium)) {
                self.step(which, Input::Frame { medium, bytes: &frame });
            }
        }
        for (op, outcome) in done {
            self.step(which, Input::OpDone { op, outcome, said: crate::Transcript::default() });
        }
    }

    fn settle(&mut self) {
        while let Some((to, frame)) = self.wire.pop_front() {
            if self.asleep == Some(to) {
                self.waiting.push(frame);
                continue;
            }
            self.step(to, Input::Frame { medium: MediumId(0), bytes: &frame });
        }
    }

    /// Lets time pass.
    fn run(&mut self, span: Duration) {
        let end = self.now.plus(span);
        self.settle();
        loop {
            let awake = self.nodes.iter().enumerate().filter(|(which, _)| self.asleep != Some(*which));
            let deadlines = awake.filter_map(|(_, node)| node.as_ref()?.next_deadline());
            let Some(next) = deadlines.min().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            for which in (0..2).filter(|which| self.asleep != Some(*which)).collect::<Vec<_>>() {
                self.step(which, Input::Wake);
                self.settle();
            }
        }
        self.now = end;
    }

    /// A node is not run for a while; then it gets what waits, and is woken.
    fn sleep(&mut self, which: usize, span: Duration) {
        self.asleep = Some(which);
        self.run(span);
        self.asleep = None;
        for frame in core::mem::take(&mut self.waiting) {
            self.step(which, Input::Frame { medium: MediumId(0), bytes: &frame });
        }
        self.step(which, Input::Wake);
        self.settle();
    }

    fn request(&mut self, which: usize, request: Request) {
        self.step(which, Input::Client { client: ClientId(1), request });
        self.settle();
    }

    /// What each node holds.
    fn holds(&self) -> [&'static str; 2] {
        [0, 1].map(|which| self.nodes[which].as_ref().map_or("-", |node| node.status().holding()))
    }

    fn has_logged(&self, which: usize, phrase: &str) -> bool {
        self.log.iter().any(|(node, line)| *node == which && line.contains(phrase))
    }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn two_nodes_started_together_take_their_own_groups_at_once() {
    let mut pair = Pair::new("on");
    pair.boot(0);
    pair.boot(1);
    pair.run(millis(300));
    assert_eq!(pair.holds(), ["local", "local"], "{:#?}", pair.log);
    assert!(pair.nodes.iter().flatten().all(|node| node.status().is_stable()));
}

#[test]
fn a_node_alone_takes_everything_at_initdead_and_is_stable_at_once() {
    let mut pair = Pair::new("on");
    pair.boot(0);
    pair.run(millis(7999));
    assert_eq!(pair.holds()[0], "none");
    pair.run(millis(1));
    assert_eq!(pair.holds()[0], "all");
    assert!(pair.nodes[0].as_ref().unwrap().status().is_stable());
}

#[test]
fn a_crash_is_taken_over_exactly_at_the_announced_dead_time_and_given_back() {
    let mut pair = Pair::started("on");
    // The last heartbeat was sent at most one keepalive ago; find its time.
    let heard = pair.nodes[1].as_ref().unwrap().status().nodes().find(|node| node.name == "h1").unwrap().heard.unwrap();
    pair.crash(0);
    let until = heard.plus(secs(3)).since(pair.now);
    pair.run(until.checked_sub(Duration::from_nanos(1)).unwrap());
    assert_eq!(pair.holds()[1], "local");
    pair.run(Duration::from_nanos(1));
    assert_eq!(pair.holds()[1], "all");
    pair.boot(0);
    pair.run(secs(2));
    assert_eq!(pair.holds(), ["local", "local"], "{:#?}", pair.log);
    assert_eq!(pair.stops, [(1, "10.77.0.100/24/eth0".to_string())]);
}

#[test]
fn without_failback_groups_stay() {
    let mut pair = Pair::started("off");
    pair.crash(0);
    pair.run(secs(4));
    pair.boot(0);
    pair.run(secs(10));
    assert_eq!(pair.holds(), ["none", "all"], "{:#?}", pair.log);
}

#[test]
fn a_restart_within_the_dead_time_moves_nothing() {
    let mut pair = Pair::started("off");
    pair.crash(0);
    pair.run(secs(1));
    pair.boot(0);
    pair.run(secs(3));
    assert_eq!(pair.holds(), ["local", "local"], "{:#?}", pair.log);
    assert!(pair.stops.is_empty());
}

#[test]
fn a_graceful_stop_hands_over_without_waiting() {
    let mut pair = Pair::started("on");
    pair.step(0, Input::Operator(Command::Stop));
    pair.settle();
    assert_eq!(pair.holds(), ["none", "all"], "{:#?}", pair.log);
    pair.run(secs(1));
    assert_eq!(pair.exits, 1);
    assert!(pair.has_logged(1, "Received shutdown notice from 'h1'."));
}

#[test]
fn both_stopped_together_end_with_nothing_anywhere() {
    let mut pair = Pair::started("on");
    pair.step(0, Input::Operator(Command::Stop));
    pair.step(1, Input::Operator(Command::Stop));
    pair.run(secs(2));
    assert_eq!((pair.holds(), pair.exits), (["none", "none"], 2));
    assert_eq!(pair.stops.len(), 2);
}

#[test]
fn a_stop_before_communication_is_up_starts_nothing() {
    let mut pair = Pair::new("on");
    pair.boot(0);
    pair.run(secs(2));
    pair.step(0, Input::Operator(Command::Stop));
    pair.run(secs(1));
    assert_eq!((pair.exits, pair.starts.len()), (1, 0));
}

#[test]
fn standby_and_takeover_move_each_set_and_answer_when_it_is_done() {
    let mut pair = Pair::started("off");
    let steps = [
        (0, Request::Standby(Which::Local), ["none", "all"]),
        (0, Request::Takeover(Which::Local), ["local", "local"]),
        (0, Request::Standby(Which::All), ["none", "all"]),
        (0, Request::Takeover(Which::Foreign), ["foreign", "foreign"]),
        (0, Request::Takeover(Which::Failback), ["local", "local"]),
        (1, Request::Takeover(Which::All), ["none", "all"]),
        (1, Request::Standby(Which::Failback), ["local", "local"]),
    ];
    for (number, (node, request, expected)) in steps.into_iter().enumerate() {
        pair.request(node, request);
        pair.run(millis(500));
        assert_eq!(pair.holds(), expected, "{request:?} {:#?}", pair.log);
        assert_eq!((pair.replies.len(), pair.replies.last()), (number + 1, Some(&Response::Done)));
    }
}

#[test]
fn of_two_standbys_at_once_the_first_node_in_the_file_goes_on() {
    let mut pair = Pair::started("off");
    pair.step(0, Input::Client { client: ClientId(1), request: Request::Standby(Which::All) });
    pair.step(1, Input::Client { client: ClientId(2), request: Request::Standby(Which::All) });
    pair.run(secs(1));
    assert_eq!(pair.holds(), ["none", "all"], "{:#?}", pair.log);
    assert_eq!(pair.replies, [Response::Cancelled(Cancellation::Yielded), Response::Done]);
}

#[test]
fn standby_without_a_live_peer_is_refused_and_moves_nothing() {
    let mut pair = Pair::started("off");
    pair.crash(1);
    pair.run(secs(4));
    pair.request(0, Request::Standby(Which::All));
    assert_eq!(pair.replies, [Response::Refused(Refusal::NoPeer)]);
    assert_eq!(pair.holds()[0], "all");
}

#[test]
fn a_standby_whose_peer_dies_is_cancelled_and_everything_comes_back() {
    let mut pair = Pair::started("off");
    pair.crash(1);
    pair.request(0, Request::Standby(Which::All));
    pair.run(secs(4));
    assert_eq!(pair.replies, [Response::Cancelled(Cancellation::PeerDied)]);
    assert_eq!(pair.holds()[0], "all", "{:#?}", pair.log);
}

#[test]
fn after_a_partition_the_preferred_nodes_keep_their_groups_and_nothing_else_moves() {
    let mut pair = Pair::started("on");
    pair.cut = true;
    pair.run(secs(12));
    assert_eq!(pair.holds(), ["all", "all"]);
    pair.cut = false;
    pair.stops.clear();
    pair.run(secs(1));
    assert_eq!(pair.holds(), ["local", "local"], "{:#?}", pair.log);
    assert!(pair.has_logged(0, "Cluster node h2 returning after partition."));
    let foreign = [(0, "10.77.0.101/24/eth0".to_string()), (1, "10.77.0.100/24/eth0".to_string())];
    assert!(pair.stops.len() == 2 && foreign.iter().all(|stop| pair.stops.contains(stop)), "{:?}", pair.stops);
}

#[test]
fn started_apart_and_connected_later_each_group_has_one_owner_within_a_keepalive() {
    let mut pair = Pair::new("off");
    pair.cut = true;
    pair.boot(0);
    pair.boot(1);
    pair.run(secs(23));
    assert_eq!(pair.holds(), ["all", "all"]);
    pair.cut = false;
    pair.run(millis(600));
    assert_eq!(pair.holds(), ["local", "local"], "{:#?}", pair.log);
}

#[test]
fn a_failed_start_stops_the_group_and_says_so() {
    let mut pair = Pair::new("on");
    pair.start[0] = Outcome::Failed(Failure::Machine("no such interface".into()));
    pair.boot(0);
    pair.boot(1);
    pair.run(secs(1));
    let status = pair.nodes[0].as_ref().unwrap().status();
    assert_eq!(status.groups().next().unwrap().doing, crate::Doing::Failed);
    assert!(pair.has_logged(0, "Giving up resources due to failure of 10.77.0.100/24/eth0"));
}

#[test]
fn one_node_alone_in_the_file_serves_at_once() {
    let mut pair = Pair::with("node h1 h2\nbcast eth1\nlogfacility none\n", "");
    pair.configs[0] = config("h1", "node h1\nbcast eth1\nlogfacility none\n", "h1 10.77.0.100/24/eth0\n");
    pair.boot(0);
    assert_eq!(pair.holds()[0], "local");
}

#[test]
fn a_peer_that_does_not_know_us_does_not_hang_us_and_gets_nothing_taken_away() {
    let mut pair = Pair::new("on");
    pair.configs[0] = config("h1", "node h1\nbcast eth1\nlogfacility none\n", "h1 10.77.0.100/24/eth0\n");
    pair.boot(0);
    pair.boot(1);
    pair.run(secs(20));
    assert_eq!(pair.holds(), ["local", "none"], "{:#?}", pair.log);
    assert!(pair.nodes[1].as_ref().unwrap().status().is_active());
    assert!(pair.has_logged(0, "bad node [h2]"));
    assert!(pair.has_logged(1, "node h1 does not say what it holds"));
}

#[test]
fn who_speaks_of_resources_for_the_first_time_may_have_had_our_addresses() {
    let mut pair = Pair::started("off");
    pair.run(secs(10));
    pair.arps.clear();
    pair.nodes[0].as_mut().unwrap().forget_claim(NodeId(1));
    pair.nodes[1].as_mut().unwrap().book.said = None;
    pair.run(secs(1));
    assert!(pair.arps.contains(&0) && !pair.arps.contains(&1), "{:?}", pair.arps);
}

/// Found by hbsim swarm (seed 508869): clients looked for the address on the other node for ever.
#[test]
fn a_claim_that_comes_after_it_was_given_up_says_where_clients_may_look_still() {
    let mut pair = Pair::started("off");
    pair.run(secs(10));
    let node = pair.nodes[1].as_mut().unwrap();
    let holding = Holding::ALL;
    node.send(Body::Resource(Resource { holding, full: true, stable: Some(true), info: None }), None);
    let late: Vec<Action> = node.actions.0.drain(..).collect();
    pair.request(1, Request::Standby(Which::All));
    assert_eq!(pair.holds(), ["all", "none"]);
    pair.arps.clear();
    for action in late {
        if let Action::Send { frame, .. } = action {
            pair.step(0, Input::Frame { medium: MediumId(0), bytes: &frame });
        }
    }
    assert_eq!(pair.arps, [0; 4], "as request and reply for both addresses, and nothing of h2");
    assert_eq!(pair.holds(), ["all", "none"]);
}

/// Found by hbsim swarm (seed 56003): the group was on neither node for an hour.
#[test]
fn a_done_that_overtakes_the_release_and_the_request_is_understood_when_they_come() {
    let mut pair = Pair::started("off");
    // Its packets stay under way.
    pair.step(0, Input::Client { client: ClientId(1), request: Request::Standby(Which::Local) });
    // An answer to an earlier request, in time for this one.
    let node = pair.nodes[1].as_mut().unwrap();
    node.send(Body::AskResources(AskResources { holding: Holding::LOCAL, step: StandbyStep::Other }), None);
    let stale: Vec<Action> = node.actions.0.drain(..).collect();
    for action in stale {
        if let Action::Send { frame, .. } = action {
            pair.step(0, Input::Frame { medium: MediumId(0), bytes: &frame });
        }
    }
    assert!(pair.wire.len() >= 3 && pair.stops.len() == 1, "request, release and done are under way");
    for (to, frame) in core::mem::take(&mut pair.wire).into_iter().rev() {
        pair.step(to, Input::Frame { medium: MediumId(0), bytes: &frame });
    }
    pair.run(secs(1));
    assert_eq!(pair.holds(), ["none", "all"]);
}

#[test]
fn the_dialect_is_what_every_live_node_speaks() {
    let mut pair = Pair::native("off");
    assert_eq!(pair.nodes[0].as_ref().unwrap().status().dialect(), (Some(1), None));
    pair.nodes[0].as_mut().unwrap().nodes.get_mut(NodeId(1)).unwrap().native = None;
    assert_eq!(pair.nodes[0].as_ref().unwrap().status().dialect(), (None, Some("h2")));
    pair.crash(1);
    pair.run(secs(4));
    assert_eq!(pair.nodes[0].as_ref().unwrap().status().dialect(), (Some(1), None), "the dead keep nobody back");
}

#[test]
fn a_peer_cannot_demand_to_be_believed_for_ever() {
    let mut pair = Pair::started("off");
    let longer = C2.replace("deadtime 3", "deadtime 3000").replace("initdead 8", "initdead 3000");
    pair.crash(1);
    pair.configs[1] = config("h2", &format!("{longer}auto_failback off\n"), GROUPS);
    pair.boot(1);
    pair.run(secs(8));
    assert!(pair.has_logged(0, "node h2 demands a dead time of 3002000 ms; 42000 ms count here"));
    pair.crash(1);
    pair.run(secs(43));
    assert_eq!(pair.holds()[0], "all");
}

#[test]
fn a_wake_with_nothing_due_changes_nothing() {
    let mut pair = Pair::started("on");
    let node = pair.nodes[0].as_mut().unwrap();
    // The time of the last step is state; everything else must not move.
    let now = node.now;
    let before = node.digest();
    assert_eq!(node.handle(*now, Input::Wake).count(), 0);
    assert_eq!(node.digest(), before);
}

#[test]
fn equal_histories_have_equal_digests_and_a_clone_goes_the_same_way() {
    let [mut a, mut b] = [Pair::started("on"), Pair::started("on")];
    let digest = |pair: &Pair| [0, 1].map(|which| pair.nodes[which].as_ref().unwrap().digest());
    assert_eq!(digest(&a), digest(&b));
    b.nodes = a.nodes.clone();
    a.run(secs(5));
    b.run(secs(5));
    assert_eq!(digest(&a), digest(&b));
}
