//! The read-only view of a node: what status output, metrics and checkers may see.

use super::Node;
use crate::drop_reason::DropKind;
use crate::ids::{Generation, GroupId, NodeId, NodeUuid, Seq};
use crate::input::{Carrier, Failure};
use crate::membership::{Lifecycle, Liveness};
use crate::resource::{Blame, Doing, Why};
use crate::time::Instant;
use core::time::Duration;

/// A view of a node between two steps.
#[derive(Clone, Copy, Debug)]
pub struct Status<'a>(&'a Node);

/// What this node knows of one configured node.
#[derive(Clone, Debug)]
pub struct NodeStatus<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it is this node.
    pub is_local: bool,
    /// `init`, `up`, `active` or `dead`; of this node, what it announces.
    pub status: &'static str,
    /// Whether it released everything and said goodbye.
    pub gone: bool,
    /// Its identity, once heard.
    pub uuid: Option<NodeUuid>,
    /// The generation it was last heard in; zero if never.
    pub generation: Generation,
    /// When its last heartbeat came.
    pub heard: Option<Instant>,
    /// The dead time it announced.
    pub dead_time: Option<Duration>,
    /// The native version it announces; of this node, what it speaks.
    pub native: Option<u32>,
    /// How many ping nodes and groups it says that it reaches; `None` where ipfail is not switched on, or not known.
    pub pings: Option<u32>,
    /// What it counts where votes are counted (`hb_setweight`).
    pub weight: u32,
    /// Where it stands (`hb_setsite`).
    pub site: &'a str,
    /// The highest number among its messages that we took in; `None` before the first of this life.
    pub newest: Option<Seq>,
    /// How many of its messages are missing.
    pub missing: usize,
}

/// What this node knows of one ping node.
#[derive(Clone, Debug)]
pub struct PingNodeStatus<'a> {
    /// Its name, which is also that of its medium and of its one link.
    pub name: &'a str,
    /// `init`, `ping` or `dead`.
    pub status: &'static str,
    /// When it last answered.
    pub heard: Option<Instant>,
}

/// How much a node keeps; each number has a bound that no peer and no client can lift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queues {
    /// Deadlines that are set.
    pub timers: usize,
    /// Sent messages kept for retransmission.
    pub history: usize,
    /// Numbers that are missing, of all nodes.
    pub missing: usize,
    /// Addresses being announced.
    pub announcements: usize,
}

/// One link: a node over a medium.
#[derive(Clone, Debug)]
pub struct LinkStatus<'a> {
    /// The medium's name.
    pub medium: &'a str,
    /// Whether it is up.
    pub up: bool,
    /// When anything was last accepted over it.
    pub heard: Option<Instant>,
}

/// A medium as the machine sees it.
#[derive(Clone, Debug)]
pub struct MediumStatus<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it carries what is sent.
    pub carrier: Carrier,
}

/// Where a group is, as far as this node knows, and why.
#[derive(Clone, Debug)]
pub struct GroupStatus<'a> {
    /// The group's key.
    pub key: &'a str,
    /// The preferred node.
    pub home: &'a str,
    /// The node that holds it, this one included; `None` if nobody is known to.
    pub owner: Option<&'a str>,
    /// Since when.
    pub since: Option<Instant>,
    /// What is done with it here.
    pub doing: Doing,
    /// Why it failed or is stuck here, if it is.
    pub blame: Option<&'a Blame>,
    /// The last decision about it, or what is waited for.
    pub why: Why,
}

impl<'a> Status<'a> {
    pub(super) fn new(node: &'a Node) -> Status<'a> {
        Status(node)
    }

    /// This node's name.
    pub fn local_name(self) -> &'a str {
        self.0.config.local_name()
    }

    /// Whether this node manages resources now: its start is complete and it is not leaving.
    pub fn is_active(self) -> bool {
        self.0.life == Lifecycle::Active
    }

    /// Whether nothing is being started, stopped or moved, as 3.0.6 counts it for `rscstatus`.
    pub fn is_stable(self) -> bool {
        if self.0.ledger.rules {
            self.0.is_at_rest()
        } else {
            crate::resource::classic::is_stable(&self.0.view(), &self.0.book)
        }
    }

    /// The classes of groups this node holds: `none`, `local`, `foreign` or `all`.
    pub fn holding(self) -> &'static str {
        self.0.book.hold.as_str()
    }

    /// The time of the last step.
    pub fn now(self) -> Instant {
        *self.0.now
    }

    /// The version of the native dialect that the cluster speaks, `None` for classic, and the node that allows no more.
    pub fn dialect(self) -> (Option<u32>, Option<&'a str>) {
        let dialect = self.0.dialect();
        let name = dialect.kept_by.and_then(|node| self.0.config.node(node)).map(|node| node.name.as_str());
        (dialect.native, name)
    }

    /// Whether so much is unacknowledged that clients have to wait (WIRE 9.5).
    pub fn is_clogged(self) -> bool {
        self.0.is_clogged()
    }

    /// Whom the fencing device could not reset when it was last asked, and why.
    pub fn fencing_failures(self) -> impl Iterator<Item = (&'a str, &'a Failure)> {
        let name = move |node| self.0.config.node(node).map_or("", |node| node.name.as_str());
        self.0.inspection.failures().map(move |(node, failure)| (name(node), failure))
    }

    /// When this node started.
    pub fn started(self) -> Instant {
        self.0.started
    }

    /// All members, in the order of ha.cf and then of arrival.
    pub fn nodes(self) -> impl Iterator<Item = NodeStatus<'a>> + use<'a> {
        let node = self.0;
        let local = node.config.local();
        node.nodes.iter().map(move |(id, peer)| {
            let is_local = id == local;
            NodeStatus {
                name: node.config.node(id).map_or("", |node| &node.name),
                is_local,
                status: if is_local { node.life.status_word() } else { peer.liveness.word() },
                gone: peer.gone,
                uuid: peer.uuid,
                generation: if is_local { node.boot.generation } else { peer.receiver.generation() },
                heard: peer.heard,
                dead_time: if is_local { Some(node.config.timing().deadtime()) } else { peer.dead_time },
                native: if is_local {
                    node.config.speaks_native().then_some(super::dialect::NATIVE)
                } else {
                    peer.native
                },
                pings: if is_local {
                    node.pings_reached()
                } else {
                    peer.contact.told.as_ref().and_then(|told| told.pings)
                },
                weight: peer.weight,
                site: &peer.site,
                newest: peer.receiver.newest(),
                missing: peer.receiver.missing(),
            }
        })
    }

    /// All ping nodes and ping groups, in the order of ha.cf.
    pub fn pings(self) -> impl Iterator<Item = PingNodeStatus<'a>> + use<'a> {
        let node = self.0;
        node.pings.iter().map(|ping| PingNodeStatus {
            name: node.config.media().get(ping.medium.index()).map_or("", |medium| &medium.name),
            status: ping.liveness.word(),
            heard: *ping.heard,
        })
    }

    /// The links of the node with that name.
    pub fn links(self, name: &str) -> impl Iterator<Item = LinkStatus<'a>> + use<'a> {
        let node = self.0;
        let peer = node.config.node_named(name).and_then(|id| node.nodes.get(id));
        let links = peer.into_iter().flat_map(|peer| peer.links.iter());
        let media = links.zip(node.config.media()).filter(|(_, medium)| !medium.kind.is_ping());
        media.map(|((_, link), medium)| LinkStatus { medium: &medium.name, up: link.up, heard: *link.heard })
    }

    /// All media, in the order of ha.cf.
    pub fn media(self) -> impl Iterator<Item = MediumStatus<'a>> + use<'a> {
        let media = self.0.config.media().iter().zip(&self.0.carriers);
        media.map(|(medium, carrier)| MediumStatus { name: &medium.name, carrier: *carrier })
    }

    /// All groups, in the order of haresources.
    pub fn groups(self) -> impl Iterator<Item = GroupStatus<'a>> + use<'a> {
        let node = self.0;
        (0..).map(GroupId).zip(node.config.groups()).map(move |(id, group)| {
            if node.ledger.rules {
                return node.group_status(id);
            }
            let local = group.home == node.config.local();
            let (held, holder) = node.class_holder(local);
            let evidence = node.evidence.of(local);
            GroupStatus {
                key: &group.key,
                home: node.config.node(group.home).map_or("", |home| &home.name),
                owner: if held { Some(node.config.local_name()) } else { holder.map(|(name, _)| name) },
                since: if held { evidence.map(|(_, since)| *since) } else { holder.map(|(_, since)| since) },
                doing: node.executor.doing(id),
                blame: node.executor.blame(id),
                why: match evidence {
                    Some((why, _)) if held => why.clone(),
                    _ => node.why_not_here(local, holder.map(|(name, _)| name)),
                },
            }
        })
    }

    /// What the node does with the group of that key, if it has one.
    pub fn doing(self, key: &str) -> Option<Doing> {
        let group = self.0.config.groups().iter().position(|group| group.key == key)?;
        Some(self.0.executor.doing(GroupId(u16::try_from(group).ok()?)))
    }

    /// Whether every group has an owner as far as the node knows: what [`groups`](Self::groups) says, without its reasons,
    /// which cost a look at the whole cluster each.
    pub fn is_everything_owned(self) -> bool {
        let node = self.0;
        (0..).map(GroupId).zip(node.config.groups()).all(|(id, group)| {
            if node.ledger.rules {
                let (held, holder) = node.group_holder(id);
                return held.is_some() || holder.is_some();
            }
            let (held, holder) = node.class_holder(group.home == node.config.local());
            held || holder.is_some()
        })
    }

    /// How much the node keeps at present.
    pub fn queues(self) -> Queues {
        Queues {
            timers: self.0.deadlines.len(),
            history: self.0.sender.kept(),
            missing: self.0.nodes.others().map(|(_, peer)| peer.receiver.missing()).sum(),
            announcements: self.0.executor.announcing(),
        }
    }

    /// How many frames were refused, by kind.
    pub fn drops(self) -> impl Iterator<Item = (DropKind, u64)> + use<'a> {
        self.0.drops.iter().map(|(kind, drops)| (*kind, drops.count))
    }

    /// When a group last began or ended to be started or stopped here.
    pub fn group_since(self, group: GroupId) -> Instant {
        self.0.executor.since(group)
    }
}

impl Node {
    /// Since when this node has the group, and which other one has it since when; in the native book.
    fn group_holder(&self, id: GroupId) -> (Option<Instant>, Option<(NodeId, Instant)>) {
        let entry = self.ledger.entries().get(id.index());
        let held = entry.and_then(|entry| entry.memory.own).and_then(|own| own.held);
        let others = self.nodes.others().filter(|(_, peer)| peer.liveness.is_live());
        let holder = others.filter_map(|(node, _)| Some((node, entry?.claim(node)?)));
        let holder = holder.filter(|(_, claim)| claim.owns()).min_by_key(|(_, claim)| claim.held);
        (held, holder.map(|(node, claim)| (node, claim.held.unwrap_or(claim.noticed))))
    }

    /// Where a group is, in the native book.
    fn group_status(&self, id: GroupId) -> GroupStatus<'_> {
        let name = |node: NodeId| self.config.node(node).map_or("", |node| node.name.as_str());
        let (held, holder) = self.group_holder(id);
        let holder = holder.map(|(node, since)| (name(node), since));
        let config = self.config.groups().get(id.index());
        GroupStatus {
            key: config.map_or("", |group| &group.key),
            home: config.map_or("", |group| name(group.home)),
            owner: if held.is_some() { Some(self.config.local_name()) } else { holder.map(|(name, _)| name) },
            since: held.or(holder.map(|(_, since)| since)),
            doing: self.executor.doing(id),
            blame: self.executor.blame(id),
            why: match (held, self.evidence.of_group(id)) {
                (Some(_), Some((why, _))) => why.clone(),
                (Some(_), None) => Why::Preferred,
                (None, _) => self.why_not_owned(id.index()),
            },
        }
    }

    /// Whether this node holds the class, and if not, who does.
    fn class_holder(&self, local: bool) -> (bool, Option<(&str, Instant)>) {
        let held = if local { self.book.hold.local } else { self.book.hold.foreign };
        (held, (!held).then(|| self.holder_of(local)).flatten())
    }

    /// The other node that says it holds the class, and since when it says so.
    fn holder_of(&self, local: bool) -> Option<(&str, Instant)> {
        self.nodes.others().find_map(|(id, peer)| {
            let claim = peer.claim.filter(|_| peer.liveness.is_live())?;
            let holds = if local { claim.hold.foreign } else { claim.hold.local };
            let name = self.config.node(id).map(|node| node.name.as_str())?;
            holds.then_some((name, *claim.since))
        })
    }

    /// Why a class is not held here.
    fn why_not_here(&self, local: bool, holder: Option<&str>) -> Why {
        match self.life {
            Lifecycle::Booting | Lifecycle::Joining(_) => {
                let unheard = self.nodes.others().find(|(_, peer)| peer.liveness == Liveness::Init);
                let unheard = unheard.map(|(id, _)| self.name(id));
                let unheard = unheard.or_else(|| self.pings.unheard().map(|medium| self.medium_name(medium)));
                return unheard.map_or(Why::Joining, |node| Why::Unheard { node });
            }
            Lifecycle::Stopping | Lifecycle::Lingering | Lifecycle::Ended => return Why::Stopping,
            Lifecycle::Active => {}
        }
        if self.book.conversation.is_some() {
            return Why::Moving;
        }
        if let Some(node) = holder {
            return Why::HeldBy { node: node.into() };
        }
        let live = self.nodes.others().find(|(_, peer)| peer.liveness.is_live() && !peer.gone);
        match live {
            Some((id, peer)) if peer.claim.is_none() => Why::Unanswered { node: self.name(id) },
            Some((id, _)) if !local => Why::LeftToPreferred { node: self.name(id) },
            _ => Why::Moving,
        }
    }
}
