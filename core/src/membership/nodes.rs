//! The node table: what we know of every configured node.

use super::Links;
use crate::config::Config;
use crate::delivery::Receiver;
use crate::ids::{NodeId, NodeUuid};
use crate::mark::Of;
use crate::resource::Claim;
use crate::rng::{Lane, Lanes};
use crate::time::Instant;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

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
        }
    }
}

impl fmt::Display for Liveness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What we know of one node. Our own entry has links (set up by looped-back packets) and nothing else.
#[derive(Clone, Debug, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Peer {
    pub(crate) uuid: Option<NodeUuid>,
    pub(crate) liveness: Liveness,
    /// When its last `status` was accepted.
    pub(crate) heard: Option<Instant>,
    /// The dead time it announces; `None` until it was heard.
    pub(crate) dead_time: Option<Duration>,
    /// The native version it announces; `None` for a 3.0.6.
    pub(crate) native: Option<u32>,
    pub(crate) receiver: Receiver,
    pub(crate) links: Links,
    /// It said `shutdone` in its newest life: it holds nothing and will fall silent.
    pub(crate) gone: bool,
    /// It said `starting` in its newest life.
    pub(crate) asked: bool,
    /// What it last said that it holds, in its newest life.
    pub(crate) claim: Option<Claim>,
}

impl Peer {
    /// When the node is dead if it stays silent: our `initdead` until our own start is complete, then the dead time it
    /// announced, ours if it never did (WIRE 10.3). `start` is when we started.
    pub(crate) fn dead_at(&self, config: &Config, started: Instant, start_complete: bool) -> Instant {
        let timing = config.timing();
        let limit = self.dead_time.unwrap_or(timing.deadtime());
        let limit = if start_complete { limit } else { timing.initdead().max(limit) };
        self.heard.unwrap_or(started).plus(limit)
    }
}

/// All configured nodes, in configuration order.
#[derive(Clone, Debug, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct NodeTable {
    me: NodeId,
    peers: Vec<Of<Peer>>,
}

impl NodeTable {
    pub(crate) fn new(config: &Config, uuid: NodeUuid, lanes: &mut Lanes) -> NodeTable {
        let me = config.local();
        let media = config.media().len();
        let peers = (0..).map(NodeId).zip(config.nodes()).map(|(node, _)| {
            let value = Peer {
                uuid: (node == me).then_some(uuid),
                liveness: Liveness::Init,
                heard: None,
                dead_time: None,
                native: None,
                receiver: Receiver::new(lanes.below(Lane::AckTrigger, crate::delivery::ACK_EVERY)),
                links: Links::new(media),
                gone: false,
                asked: false,
                claim: None,
            };
            Of { node, value }
        });
        NodeTable { me, peers: peers.collect() }
    }

    /// Whether this is the table of node `me` of so many, each with so many links: what a recording restores must be.
    #[cfg(feature = "trace")]
    pub(crate) fn has_shape(&self, me: NodeId, nodes: usize, media: usize) -> bool {
        self.me == me && self.peers.len() == nodes && self.peers.iter().all(|peer| peer.links.iter().count() == media)
    }

    pub(crate) fn get(&self, node: NodeId) -> Option<&Peer> {
        self.peers.get(node.index()).map(|peer| &peer.value)
    }

    pub(crate) fn get_mut(&mut self, node: NodeId) -> Option<&mut Peer> {
        self.peers.get_mut(node.index()).map(|peer| &mut peer.value)
    }

    /// All nodes, ourselves included.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.peers.iter().map(|peer| (peer.node, &peer.value))
    }

    /// All nodes but ourselves.
    pub(crate) fn others(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.iter().filter(|(id, _)| *id != self.me)
    }

    /// Whether every other node was heard or is dead (CLUSTER b.2).
    pub(crate) fn all_known(&self) -> bool {
        self.others().all(|(_, peer)| peer.liveness != Liveness::Init)
    }

    /// The live nodes to ask for the node list, in the order in which they are asked.
    pub(crate) fn whom_to_ask(&self, tries: u32) -> Option<NodeId> {
        let live: Vec<NodeId> = self.others().filter(|(_, peer)| peer.liveness.is_live()).map(|(id, _)| id).collect();
        let turn = usize::try_from(tries).unwrap_or(0).checked_rem(live.len())?;
        live.get(turn).copied()
    }
}
