//! Any sequence of inputs, from garbage to well-signed lies of a peer, given to a node whose laws are watched.

use arbitrary::{Arbitrary, Result, Unstructured};
use core::time::Duration;
use hb_core::auth::Framing;
use hb_core::config::{Config, SourceText, Sources};
use hb_core::ids::{ClientId, Generation, GroupId, MediumId, NodeUuid, OpId, Seq};
use hb_core::time::{Instant, UnixTime};
use hb_core::wire::message::{
    Ack, AskResources, Body, Header, Holding, Message, Nak, RepNodes, Resource, Rexmit, StandbyStep, Status, StatusWord,
};
use hb_core::{
    Action, Boot, Carrier, Command, Doing, Failure, Input, LoadAverage, Node, Outcome, Request, Verb, Which,
};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Steps of one run; more find nothing new and take long.
const STEPS_MAX: usize = 400;

const HA_CF: &[u8] = b"node alpha beta\nbcast eth0 eth1\nkeepalive 250ms\ndeadtime 2\ninitdead 4\nauto_failback on\n\
    logfacility none\n";
const HARESOURCES: &[u8] = b"alpha 10.0.0.1/24/eth0 Web::a\nbeta 10.0.0.2/24/eth0\n";

/// A node that is driven by bytes: each names the next input.
///
/// # Panics
/// If the node panics, or breaks a law: only `ArmTimer` ends a step and it tells the truth, no deadline is left in the
/// past by a wake, operations are answered once, a group is never started and stopped at the same time, and a clone
/// given the same inputs has the same digest.
pub fn node_inputs(bytes: &[u8]) {
    let mut run = Run::new();
    let mut choices = Unstructured::new(bytes);
    for _ in 0..STEPS_MAX {
        if choices.is_empty() || run.step(&mut choices).is_err() {
            return;
        }
    }
}

struct Run {
    config: Config,
    node: Node,
    twin: Node,
    now: Instant,
    /// Operations under way, and what they do.
    operations: BTreeMap<OpId, (u16, Verb)>,
    ended: bool,
    peer_seq: u64,
    peer_generation: u64,
}

impl Run {
    fn new() -> Run {
        let reading = Config::read(&Sources {
            local_name: "alpha",
            ha_cf: SourceText { name: "ha.cf", bytes: HA_CF },
            haresources: Some(SourceText { name: "haresources", bytes: HARESOURCES }),
            authkeys: SourceText { name: "authkeys", bytes: b"auth 1\n1 sha1 key\n" },
        });
        let config = reading.config.expect("the configuration of the target is right");
        let now = Instant::from_nanos(1_000_000_000);
        let boot = Boot {
            now,
            wall_clock: UnixTime(1_700_000_000),
            generation: Generation(10),
            uuid: NodeUuid([1; 16]),
            seed: [7; 32],
            hostcache: hb_core::config::Hostcache::default(),
            longest_deadtime: Duration::ZERO,
            cut_short: Vec::new(),
        };
        let node = Node::new(config.clone(), boot);
        let twin = node.clone();
        Run { config, node, twin, now, operations: BTreeMap::new(), ended: false, peer_seq: 0, peer_generation: 20 }
    }

    fn step(&mut self, choices: &mut Unstructured<'_>) -> Result<()> {
        match choices.int_in_range(0_u8..=15)? {
            0 => {
                let medium = MediumId(choices.int_in_range(0..=3)?);
                let bytes = Vec::<u8>::arbitrary(choices)?;
                self.give(&Input::Frame { medium, bytes: &bytes });
            }
            1..=6 => {
                let frame = self.peer_says(choices)?;
                let medium = MediumId(choices.int_in_range(0..=1)?);
                self.give(&Input::Frame { medium, bytes: &frame });
            }
            7..=9 => {
                self.now = match choices.int_in_range(0_u8..=2)? {
                    0 => self.node.next_deadline().unwrap_or(self.now).max(self.now),
                    1 => self.now.plus(Duration::from_millis(choices.int_in_range(0..=400)?)),
                    _ => self.now.plus(Duration::from_millis(choices.int_in_range(0..=30_000)?)),
                };
                self.give(&Input::Wake);
                let next = self.node.next_deadline();
                assert!(next.is_none_or(|next| next > self.now), "a wake leaves no deadline in the past: {next:?}");
            }
            10 | 11 => {
                let known = self.operations.keys().next().copied().filter(|_| choices.ratio(9, 10).unwrap_or(true));
                let op = known.unwrap_or(OpId(choices.int_in_range(0..=50)?));
                self.operations.remove(&op);
                let outcome = outcome(choices)?;
                self.give(&Input::OpDone { op, outcome, said: hb_core::Transcript::default() });
            }
            12 | 13 => {
                let which = *choices.choose(&[Which::All, Which::Local, Which::Foreign, Which::Failback])?;
                let request = match choices.int_in_range(0_u8..=2)? {
                    0 => Request::Standby(which),
                    1 => Request::Takeover(which),
                    _ => Request::Cleanup(GroupId(choices.int_in_range(0..=3)?)),
                };
                self.give(&Input::Client { client: ClientId(choices.int_in_range(0..=3)?), request });
            }
            14 => match choices.int_in_range(0_u8..=3)? {
                0 => self.give(&Input::WallClock(UnixTime(u64::arbitrary(choices)?))),
                1 => self.give(&Input::Load(LoadAverage::new("0.1 0.2 0.3 1/2 3").unwrap_or_default())),
                _ => {
                    let medium = MediumId(choices.int_in_range(0..=2)?);
                    let carrier = if bool::arbitrary(choices)? { Carrier::Up } else { Carrier::Down };
                    self.give(&Input::Carrier { medium, carrier });
                }
            },
            _ => {
                // Rarely, since nothing interesting follows.
                if choices.ratio(1, 100)? {
                    self.give(&Input::Operator(Command::Stop));
                }
            }
        }
        Ok(())
    }

    fn give(&mut self, input: &Input<'_>) {
        let actions: Vec<Action> = self.node.handle(self.now, input.clone()).collect();
        let twins: Vec<Action> = self.twin.handle(self.now, input.clone()).collect();
        assert_eq!(actions, twins, "a clone does the same");
        assert_eq!(self.node.digest(), self.twin.digest(), "and is the same");
        let last = actions.len().saturating_sub(1);
        for (position, action) in actions.iter().enumerate() {
            match action {
                Action::ArmTimer { deadline } => {
                    assert_eq!(position, last, "the timer is armed last");
                    assert_eq!(self.node.next_deadline().unwrap_or(Instant::FAR_FUTURE), *deadline);
                }
                Action::RunResource { op, run } => {
                    let moves = |verb| matches!(verb, Verb::Start | Verb::Stop);
                    let busy = |(group, verb): &(u16, Verb)| *group == run.group.0 && moves(*verb);
                    let is_busy = moves(run.verb) && self.operations.values().any(busy);
                    assert!(!is_busy, "in a group one thing moves at a time");
                    assert!(
                        self.operations.insert(*op, (run.group.0, run.verb)).is_none(),
                        "an operation's name is new"
                    );
                }
                Action::Exit(_) => {
                    assert!(!self.ended, "a node ends once");
                    self.ended = true;
                    let running = self.node.status().groups().filter(|group| group.doing != Doing::Stopped);
                    let left: Vec<_> =
                        running.filter(|group| group.doing != Doing::Failed).map(|group| group.key).collect();
                    assert!(left.is_empty(), "a node that ends has released everything: {left:?}");
                }
                Action::Send { medium, .. } => assert!(medium.index() < self.config.media().len()),
                _ => {}
            }
        }
    }

    /// A packet that is authentic, and otherwise whatever the bytes want.
    fn peer_says(&mut self, choices: &mut Unstructured<'_>) -> Result<Vec<u8>> {
        if choices.ratio(1, 20)? {
            self.peer_generation = choices.int_in_range(0..=u64::from(u8::MAX))?;
            self.peer_seq = 0;
        }
        self.peer_seq = match choices.int_in_range(0_u8..=9)? {
            0 => choices.int_in_range(0..=2000)?,
            1 => u64::arbitrary(choices)?,
            2 => self.peer_seq,
            _ => self.peer_seq.saturating_add(1),
        };
        let body = body(choices)?;
        let directed = bool::arbitrary(choices)?;
        let mut header = Header::new(*choices.choose(&["beta", "beta", "beta", "alpha", "gamma"])?, UnixTime(1));
        header.src_uuid = Some(NodeUuid([2; 16]));
        header.seq = (!body.is_unsequenced()).then_some(Seq(self.peer_seq));
        header.generation = Some(Generation(self.peer_generation));
        if directed {
            header.dest = Some(Cow::Borrowed("alpha"));
            header.dest_uuid = Some(NodeUuid([1; 16]));
        }
        let message = Message { header, body };
        let sealed = self.config.keyring().seal(message.to_fields(), Framing::Datagram, self.config.sealing());
        Ok(sealed.expect("all words here may be sent").to_vec())
    }
}

fn body(choices: &mut Unstructured<'_>) -> Result<Body<'static>> {
    let holding = Holding { local: bool::arbitrary(choices)?, foreign: bool::arbitrary(choices)? };
    Ok(match choices.int_in_range(0_u8..=15)? {
        0..=3 => Body::Status(Status {
            word: StatusWord::of(Cow::Borrowed(*choices.choose(&["init", "up", "active", "dead", "odd"])?)),
            deadtime: Option::<u16>::arbitrary(choices)?.map(|millis| Duration::from_millis(u64::from(millis))),
            protocol: Some(1),
            native: None,
            hears: None,
        }),
        4 => Body::Starting,
        5..=7 => Body::Resource(Resource {
            holding,
            full: choices.ratio(4, 5)?,
            stable: Option::<bool>::arbitrary(choices)?,
            info: choices.choose(&[None, Some("standby"), Some("shutdown"), Some("mach_down")])?.map(Cow::Borrowed),
        }),
        8 => Body::AskResources(AskResources {
            holding,
            step: *choices.choose(&[StandbyStep::Me, StandbyStep::Other, StandbyStep::Done])?,
        }),
        9 => Body::Takeover(holding),
        10 => Body::Shutdone,
        11 => Body::ReqNodes,
        12 => Body::RepNodes(RepNodes { nodes: vec![Cow::Borrowed("beta")], deleted: Vec::new() }),
        13 => Body::Rexmit(Rexmit { first: Seq(u64::arbitrary(choices)?), last: Seq(u64::arbitrary(choices)?) }),
        14 => Body::Ack(Ack { seq: Seq(u64::arbitrary(choices)?) }),
        _ => Body::Nak(Nak { first: Seq(choices.int_in_range(0..=2000)?), info: Cow::Borrowed("seqno too low") }),
    })
}

fn outcome(choices: &mut Unstructured<'_>) -> Result<Outcome> {
    Ok(match choices.int_in_range(0_u8..=7)? {
        0 => Outcome::Running,
        1 => Outcome::NotRunning,
        2 => Outcome::Failed(Failure::ExitCode(1)),
        3 => Outcome::Failed(Failure::TimedOut(300)),
        _ => Outcome::Done,
    })
}

#[cfg(test)]
mod tests {
    use crate::samples::{corpus, random};

    #[test]
    fn node_inputs_survives_its_corpus() {
        for (_, bytes) in corpus("node_inputs") {
            super::node_inputs(&bytes);
        }
    }

    #[test]
    fn node_inputs_survives_random_bytes() {
        for seed in 0..300 {
            super::node_inputs(&random(seed, 4000));
        }
    }
}
