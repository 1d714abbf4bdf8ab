//! States that a campaign must have reached: a search that never gets somewhere finds nothing there.

use crate::check::{Check, Fact, Moment};
use crate::plan::Event;

use hb_core::{Cancellation, Decision, DropReason, Step, Why};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Everything that should happen sometimes.
pub const SOMETIMES: &[&str] = &[
    "a node takes over from a dead one",
    "a node takes over from one that left",
    "a node takes over from one that was reset",
    "a node starts alone",
    "a group fails back",
    "a standby completes",
    "a standby is cancelled: no reply",
    "a standby is cancelled: the other node died",
    "a standby is cancelled: the other node restarted",
    "a standby is cancelled: both asked",
    "a standby is cancelled: shutdown",
    "a standby is cancelled: this node overslept",
    "a standby is ignored",
    "both nodes own a group and one yields",
    "of several owners one judges and the others release",
    "a group is given up for want of a majority",
    "a group is given up to a node that is deaf",
    "a group goes from its owner to the successor it names",
    "an attempt is withdrawn",
    "a node returns after a partition",
    "a node restarts within its dead time",
    "a partition heals while a group starts",
    "a partition heals while a group stops",
    "a partition heals during a conversation",
    "a machine crashes while a group starts",
    "a machine crashes while a group stops",
    "a daemon is killed while it owns a group",
    "a daemon is told to stop while a group starts",
    "a daemon stops running while a node is suspect",
    "a daemon runs again after its dead time",
    "a node that overslept gives up what others took",
    "a lost message is recovered",
    "a message is given up: it left the history",
    "a gap is too wide to ask for",
    "a message of an earlier life is refused",
    "a damaged message is refused",
    "a heartbeat is late",
    "a link dies while its node lives",
    "a start fails",
    "a stop fails and is tried again",
    "nobody answers the request for the node list",
    "nobody answers starting",
    "files are read again while a group starts or stops",
    "files are read again during a conversation",
    "files are read again and change something",
];

/// Those of them that take a moment of bad luck: a campaign of [`RARE_FROM`] runs must have reached them, a smaller one may.
pub const RARE: &[&str] = &[
    "a standby is cancelled: the other node restarted",
    "a standby is cancelled: this node overslept",
    "a partition heals while a group stops",
    "a machine crashes while a group starts",
    "a machine crashes while a group stops",
    "a daemon is told to stop while a group starts",
    "a message of an earlier life is refused",
];
/// A big campaign.
pub const RARE_FROM: u64 = 5_000;

/// How often each was reached.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    counts: BTreeMap<&'static str, u64>,
    /// Groups that a node started because another was silent, had left or was reset.
    pub takeovers: u64,
    /// What the nodes are doing, to know in what state something happens.
    doing: BTreeMap<usize, Doing>,
}

#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, all combinations occur")]
struct Doing {
    starts: bool,
    stops: bool,
    talks: bool,
    suspects: bool,
}

/// A coverage that several hands hold.
pub type Shared = Rc<RefCell<Coverage>>;

impl Coverage {
    /// How often each of [`SOMETIMES`] was reached.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        SOMETIMES.iter().map(|name| (*name, self.counts.get(name).copied().unwrap_or(0)))
    }

    /// What a campaign of so many runs should have reached and did not.
    pub fn missing(&self, runs: u64) -> Vec<&'static str> {
        let expected = |name: &&str| runs >= RARE_FROM || !RARE.contains(name);
        self.counts().filter(|(_, count)| *count == 0).map(|(name, _)| name).filter(expected).collect()
    }

    /// Adds what another run reached.
    pub fn add(&mut self, other: &Coverage) {
        self.takeovers += other.takeovers;
        for (name, count) in &other.counts {
            *self.counts.entry(name).or_default() += count;
        }
    }

    fn reach(&mut self, name: &'static str) {
        debug_assert!(SOMETIMES.contains(&name), "{name} is on the list");
        *self.counts.entry(name).or_default() += 1;
    }

    fn reported(&mut self, host: usize, event: &hb_core::Event) {
        use hb_core::Event as E;
        let doing = self.doing.entry(host).or_default();
        match event {
            E::Acquiring { .. } => doing.starts = true,
            E::Acquired { .. } | E::GivingUpGroup { .. } => doing.starts = false,
            E::Releasing { .. } => doing.stops = true,
            E::Released { .. } | E::StopFailed { .. } => doing.stops = false,
            E::StandbyAsked { .. } => doing.talks = true,
            E::StandbyAcquired { .. } | E::StandbyTaken { .. } | E::StandbyCancelled { .. } => doing.talks = false,
            _ => {}
        }
        let name = match event {
            E::Decision { what: Decision::Acquire, why, .. } => match why {
                Why::PeerDead { .. } => {
                    self.takeovers += 1;
                    "a node takes over from a dead one"
                }
                Why::PeerGone { .. } => {
                    self.takeovers += 1;
                    "a node takes over from one that left"
                }
                Why::Fenced { .. } => {
                    self.takeovers += 1;
                    "a node takes over from one that was reset"
                }
                Why::PeerNeverHeard { .. } => "a node starts alone",
                Why::GivenBy { .. } => "a group goes from its owner to the successor it names",
                _ => return,
            },
            E::Decision { what: Decision::Release, why: Why::Failback { .. }, .. } => "a group fails back",
            E::Decision { what: Decision::Release, why: Why::Conflict { .. }, .. } => {
                "both nodes own a group and one yields"
            }
            E::Decision { what: Decision::Release, why, .. } if self.released(why) => return,
            E::Ownership { step: Step::Withdraws, .. } => "an attempt is withdrawn",
            E::Decision { what: Decision::Release, why: Why::Overslept { .. }, .. } => {
                "a node that overslept gives up what others took"
            }
            E::StandbyTaken { .. } => "a standby completes",
            E::StandbyCancelled { why } => match why {
                Cancellation::NoReply => "a standby is cancelled: no reply",
                Cancellation::PeerDied => "a standby is cancelled: the other node died",
                Cancellation::PeerRestarted => "a standby is cancelled: the other node restarted",
                Cancellation::Yielded => "a standby is cancelled: both asked",
                Cancellation::Stopping => "a standby is cancelled: shutdown",
                Cancellation::Overslept => "a standby is cancelled: this node overslept",
                _ => return,
            },
            E::StandbyIgnored { .. } => "a standby is ignored",
            E::ReturnAfterPartition { .. } => "a node returns after a partition",
            E::NothingMissing { .. } => "a lost message is recovered",
            E::GivenUp { .. } => "a message is given up: it left the history",
            E::StartedOver { .. } => "a gap is too wide to ask for",
            E::Dropped { reason: DropReason::Replay { .. }, .. } => "a message of an earlier life is refused",
            E::Dropped { reason: DropReason::Auth(_), .. } => "a damaged message is refused",
            E::LateHeartbeat { .. } => "a heartbeat is late",
            E::OpFailed { verb: "start", .. } => "a start fails",
            E::StopRetry { .. } => "a stop fails and is tried again",
            E::NoNodeList { .. } => "nobody answers the request for the node list",
            E::NoAnswerToStarting { .. } => "nobody answers starting",
            E::Reloaded { applied: 1.., .. } => "files are read again and change something",
            _ => return,
        };
        self.reach(name);
    }

    /// Whether a group was released by a rule of native ownership.
    fn released(&mut self, why: &Why) -> bool {
        let name = match why {
            Why::LostTo { .. } => "of several owners one judges and the others release",
            Why::Minority { .. } => "a group is given up for want of a majority",
            Why::Deaf { .. } => "a group is given up to a node that is deaf",
            _ => return false,
        };
        self.reach(name);
        true
    }

    /// What depends on more than the event itself.
    fn reported_there(&mut self, moment: &Moment<'_>, host: usize, event: &hb_core::Event) {
        let index = |name: &str| moment.plan.configs().position(|config| config.local_name() == name);
        match event {
            hb_core::Event::Restart { node, .. } => {
                let Some(peer) = index(node) else { return };
                let dead_time = moment.plan.hosts[peer].config.timing().deadtime();
                if moment.contact.lasts(moment.now, host, peer) > dead_time {
                    self.reach("a node restarts within its dead time");
                }
            }
            hb_core::Event::Link { node, up: false, .. } => {
                let heard = index(node).and_then(|peer| moment.contact.silence(moment.now, host, peer));
                let keepalive = moment.plan.hosts[host].config.timing().keepalive();
                if heard.is_some_and(|silence| silence < keepalive * 2) {
                    self.reach("a link dies while its node lives");
                }
            }
            _ => {}
        }
    }

    fn happened(&mut self, moment: &Moment<'_>, event: &Event) {
        let of = |coverage: &Coverage, host: usize| coverage.doing.get(&host).copied().unwrap_or_default();
        match event {
            Event::Heal(..) | Event::Open(..) => {
                let any = |test: fn(&Doing) -> bool| self.doing.values().any(test);
                let (starts, stops, talks) =
                    (any(|doing| doing.starts), any(|doing| doing.stops), any(|doing| doing.talks));
                for (reached, name) in [
                    (starts, "a partition heals while a group starts"),
                    (stops, "a partition heals while a group stops"),
                    (talks, "a partition heals during a conversation"),
                ] {
                    if reached {
                        self.reach(name);
                    }
                }
            }
            Event::Crash(host) => {
                let doing = self.doing.remove(host).unwrap_or_default();
                if doing.starts {
                    self.reach("a machine crashes while a group starts");
                }
                if doing.stops {
                    self.reach("a machine crashes while a group stops");
                }
            }
            Event::Kill(host) => {
                self.doing.remove(host);
                let mut groups = 0..moment.ground.group_count();
                if groups.any(|group| moment.ground.owners(group).any(|owner| owner == *host)) {
                    self.reach("a daemon is killed while it owns a group");
                }
            }
            Event::Reload(host) => {
                let Doing { starts, stops, talks, .. } = of(self, *host);
                if starts || stops {
                    self.reach("files are read again while a group starts or stops");
                }
                if talks {
                    self.reach("files are read again during a conversation");
                }
            }
            Event::Stop(host) if of(self, *host).starts => {
                self.reach("a daemon is told to stop while a group starts");
            }
            Event::Suspend(host) | Event::Stall(host) | Event::Freeze(host) => {
                self.doing.entry(*host).or_default().suspects = true;
                let peers = (0..moment.ground.host_count()).filter(|peer| peer != host);
                let is_suspect = peers.into_iter().any(|peer| {
                    let half = moment.plan.hosts[peer].config.timing().deadtime() / 2;
                    moment.contact.silence(moment.now, *host, peer).is_some_and(|silence| silence > half)
                });
                if is_suspect {
                    self.reach("a daemon stops running while a node is suspect");
                }
            }
            Event::Resume(host) => {
                let dead_time = moment.plan.hosts[*host].config.timing().deadtime();
                let peers = (0..moment.ground.host_count()).filter(|peer| peer != host);
                let was_buried = peers.into_iter().any(|peer| {
                    moment.contact.silence(moment.now, peer, *host).is_some_and(|silence| silence > dead_time)
                });
                if was_buried && std::mem::take(&mut self.doing.entry(*host).or_default().suspects) {
                    self.reach("a daemon runs again after its dead time");
                }
            }
            _ => {}
        }
    }
}

impl Check for Shared {
    fn name(&self) -> &'static str {
        "coverage"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>, _: &mut Vec<String>) {
        match fact {
            Fact::Reported(host, event) => {
                let mut coverage = self.borrow_mut();
                coverage.reported(*host, event);
                coverage.reported_there(moment, *host, event);
            }
            Fact::Happened(event) => self.borrow_mut().happened(moment, event),
            _ => {}
        }
    }
}
