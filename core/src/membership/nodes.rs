//! The node table: what we know of every member.

use super::{Contact, Links};
use crate::config::hostcache::WEIGHT;
use crate::config::{Config, KnownNode};
use crate::delivery::{LastHeard, Receiver};
use crate::ids::{NodeId, NodeUuid};
use crate::mark::Of;
use crate::resource::Claim;
use crate::rng::{Lane, Lanes};
use crate::time::Instant;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// Names on the list of the deleted; the oldest leave it first.
const DELETED_MAX: usize = 100;

/// A node as its observer sees it (WIRE 10.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub enum Liveness {
    /// Configured and never heard.
    #[default]
    Init,
    /// Runs; its communication is not established. Also a node that says a status word we do not know.
    Up,
    /// Fully up.
    Active,
    /// Silent for its dead time.
    Dead,
    /// A ping node that answers; never a member.
    Ping,
}

impl Liveness {
    /// Whether the node is heard from.
    pub fn is_live(self) -> bool {
        matches!(self, Liveness::Up | Liveness::Active)
    }

    /// The original's word.
    pub const fn word(self) -> &'static str {
        match self {
            Liveness::Init => "init",
            Liveness::Up => "up",
            Liveness::Active => "active",
            Liveness::Dead => "dead",
            Liveness::Ping => "ping",
        }
    }
}

impl fmt::Display for Liveness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What is done to prove that a silent node runs nothing (OWNERSHIP 3 (b)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Fence {
    /// Nothing: nobody needs it.
    Unneeded,
    /// It is to be reset, not before then.
    Due(Instant),
    /// It runs nothing, in the life in which it fell silent.
    Proved(ProvedBy),
}

/// Who says that a silent node runs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum ProvedBy {
    /// Our device has reset it.
    Device,
    /// Our operator.
    Operator,
    /// That node, by its device or operator.
    Peer(NodeId),
}

/// What we know of one node. Our own entry has links (set up by looped-back packets) and nothing else.
#[derive(Clone, Debug, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Peer {
    /// Since when it is a member here: our start, or later.
    pub(crate) since: Instant,
    pub(crate) uuid: Option<NodeUuid>,
    /// What it counts where votes are counted, and where it stands: for clients, decides nothing here.
    pub(crate) weight: u32,
    pub(crate) site: String,
    pub(crate) liveness: Liveness,
    /// When its last `status` was accepted.
    pub(crate) heard: Option<Instant>,
    /// The dead time it announces; `None` until it was heard.
    pub(crate) dead_time: Option<Duration>,
    /// The native version it announces; `None` for a 3.0.6.
    pub(crate) native: Option<u32>,
    pub(crate) receiver: Receiver,
    #[cfg_attr(feature = "trace", serde(skip))]
    pub(crate) last_heard: LastHeard,
    pub(crate) links: Links,
    /// Who hears whom between us and it.
    pub(crate) contact: Contact,
    /// What is done to prove that it runs nothing while it is silent.
    pub(crate) fence: Fence,
    /// When it was declared dead last.
    pub(crate) died: Option<Instant>,
    /// When something came last that bears its name and is not signed with our keys, while it was never heard properly.
    pub(crate) strange: Option<Instant>,
    /// It said `shutdone` in its newest life: it holds nothing and will fall silent.
    pub(crate) gone: bool,
    /// It said `starting` in its newest life.
    pub(crate) asked: bool,
    /// What it last said that it holds, in its newest life.
    pub(crate) claim: Option<Claim>,
}

impl Peer {
    fn new(since: Instant, media: usize, lanes: &mut Lanes) -> Peer {
        Peer {
            since,
            uuid: None,
            weight: WEIGHT,
            site: String::new(),
            liveness: Liveness::Init,
            heard: None,
            dead_time: None,
            native: None,
            receiver: Receiver::new(lanes.below(Lane::AckTrigger, crate::delivery::ACK_EVERY)),
            last_heard: LastHeard::default(),
            links: Links::new(media),
            contact: Contact::begun(since),
            fence: Fence::Unneeded,
            died: None,
            strange: None,
            gone: false,
            asked: false,
            claim: None,
        }
    }

    /// Whether it is proved to run nothing.
    pub(crate) fn is_fenced(&self) -> bool {
        matches!(self.fence, Fence::Proved(_))
    }

    /// It lives, and nothing that it says can be believed (scenario S7).
    pub(crate) fn is_strange(&self) -> bool {
        self.liveness == Liveness::Init && self.strange.is_some()
    }

    /// When the node is dead if it stays silent: our `initdead` until our own start is complete, then the dead time it
    /// announced, ours if it never did (WIRE 10.3).
    pub(crate) fn dead_at(&self, config: &Config, initdead: Option<Duration>) -> Instant {
        let timing = config.timing();
        let limit = self.dead_time.unwrap_or(timing.deadtime());
        let limit = limit.max(initdead.unwrap_or_default());
        self.heard.or(self.strange).unwrap_or(self.since).plus(limit)
    }
}

/// All members, by the place that the configuration gives them.
#[derive(Clone, Debug, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct NodeTable {
    me: NodeId,
    /// The place of a removed node is empty.
    places: Vec<Of<Option<Peer>>>,
    /// Who was removed and is not to come back by itself, the oldest first.
    deleted: Vec<KnownNode>,
}

impl NodeTable {
    pub(crate) fn new(config: &Config, uuid: NodeUuid, now: Instant, lanes: &mut Lanes) -> NodeTable {
        let me = config.local();
        let mut table = NodeTable { me, places: Vec::new(), deleted: Vec::new() };
        for (node, _) in config.present() {
            table.add(node, config.media().len(), now, lanes);
        }
        if let Some(own) = table.get_mut(me) {
            own.uuid = Some(uuid);
        }
        table
    }

    /// Whether this is the table of a node with this configuration: what a recording restores must be.
    #[cfg(feature = "trace")]
    pub(crate) fn fits(&self, config: &Config) -> bool {
        let media = config.media().len();
        let is_place = |place: &Of<Option<Peer>>, removed: bool| match &place.value {
            Some(peer) => !removed && peer.links.iter().count() == media,
            None => removed,
        };
        self.me == config.local()
            && self.places.len() == config.nodes().len()
            && self.places.iter().zip(config.nodes()).all(|(place, node)| is_place(place, node.removed))
    }

    /// A new member, of which nothing is known yet.
    pub(crate) fn add(&mut self, node: NodeId, media: usize, now: Instant, lanes: &mut Lanes) {
        while self.places.len() <= node.index() {
            let next = u16::try_from(self.places.len()).unwrap_or(u16::MAX);
            self.places.push(Of { node: NodeId(next), value: None });
        }
        if let Some(place) = self.places.get_mut(node.index()) {
            place.value = Some(Peer::new(now, media, lanes));
        }
    }

    /// A member no more; what was known of it under `name` goes to the list of the deleted.
    pub(crate) fn remove(&mut self, node: NodeId, name: &str) {
        if let Some(peer) = self.places.get_mut(node.index()).and_then(|place| place.value.take()) {
            let Peer { uuid, weight, site, .. } = peer;
            self.delete(KnownNode { name: name.into(), uuid, weight, site });
        }
    }

    /// A name is not to come back by itself.
    pub(crate) fn delete(&mut self, node: KnownNode) {
        if !self.is_deleted(&node.name) {
            self.deleted.push(node);
            let surplus = self.deleted.len().saturating_sub(DELETED_MAX);
            self.deleted.drain(..surplus);
        }
    }

    /// A name may come back.
    pub(crate) fn pardon(&mut self, name: &str) {
        self.deleted.retain(|node| !node.name.eq_ignore_ascii_case(name));
    }

    pub(crate) fn is_deleted(&self, name: &str) -> bool {
        self.deleted.iter().any(|node| node.name.eq_ignore_ascii_case(name))
    }

    /// Who was removed, the oldest first.
    pub(crate) fn deleted(&self) -> &[KnownNode] {
        &self.deleted
    }

    pub(crate) fn get(&self, node: NodeId) -> Option<&Peer> {
        self.places.get(node.index())?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, node: NodeId) -> Option<&mut Peer> {
        self.places.get_mut(node.index())?.value.as_mut()
    }

    /// Whose newest numbered packet these bytes are a copy of.
    pub(crate) fn copy_of(&self, bytes: &[u8]) -> Option<NodeId> {
        self.iter().find(|(_, peer)| peer.last_heard.is(bytes)).map(|(node, _)| node)
    }

    /// The keys are others now.
    pub(crate) fn forget_copies(&mut self) {
        for peer in self.places.iter_mut().filter_map(|place| place.value.as_mut()) {
            peer.last_heard.forget();
        }
    }

    /// All members, ourselves included.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.places.iter().filter_map(|place| Some((place.node, place.value.as_ref()?)))
    }

    /// All nodes but ourselves.
    pub(crate) fn others(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.iter().filter(|(id, _)| *id != self.me)
    }

    /// Whether every other node was heard or is dead (CLUSTER b.2); or, if `late`, heard with a signature that is not ours.
    pub(crate) fn all_known(&self, late: bool) -> bool {
        self.others().all(|(_, peer)| peer.liveness != Liveness::Init || late && peer.is_strange())
    }

    /// The live nodes to ask for the node list, in the order in which they are asked.
    pub(crate) fn whom_to_ask(&self, tries: u32) -> Option<NodeId> {
        let live: Vec<NodeId> = self.others().filter(|(_, peer)| peer.liveness.is_live()).map(|(id, _)| id).collect();
        let turn = usize::try_from(tries).unwrap_or(0).checked_rem(live.len())?;
        live.get(turn).copied()
    }
}
