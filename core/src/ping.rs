//! Ping nodes: hosts outside the cluster that answer an ICMP echo, so that a node can tell whether its network works.
//! Read WIRE 10.6, 13 and CLUSTER e.1 first.
//!
//! A ping node is known to this node alone. Beside each heartbeat it is sent one signed message *as if from the ping
//! node itself*; the machine wraps it into an echo, and what comes back is taken in like any message. So the signature
//! protects it, and nothing else ever comes by such a medium.
//!
//! ```text
//! Init --answer--> Ping --silent for deadping--> Dead --answer--> Ping
//!   `-----------------silent for deadping-------->'
//! ```
//!
//! Invariants:
//! - each has a medium of its own and one link, both called as itself,
//! - it delays our start until it was heard or is dead, and decides nothing else. *Ours*: never heard, it is dead after
//!   `deadping`, where the original waits for `initdead` (scenario S11).

use crate::config::Config;
use crate::ids::MediumId;
use crate::mark::Aside;
use crate::membership::Liveness;
use crate::time::Instant;
use alloc::vec::Vec;

/// What we know of one ping node.
#[derive(Clone, Debug, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct PingNode {
    /// The medium by which it is asked.
    pub(crate) medium: MediumId,
    /// `Init`, `Ping` or `Dead`.
    pub(crate) liveness: Liveness,
    /// When it last answered.
    pub(crate) heard: Aside<Option<Instant>>,
}

/// All ping nodes, in configuration order.
#[derive(Clone, Debug, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct PingTable(Vec<PingNode>);

impl PingTable {
    pub(crate) fn new(config: &Config) -> PingTable {
        let media = (0..).map(MediumId).zip(config.media()).filter(|(_, medium)| medium.kind.is_ping());
        let fresh = |medium| PingNode { medium, liveness: Liveness::Init, heard: Aside(None) };
        PingTable(media.map(|(id, _)| fresh(id)).collect())
    }

    /// Whether these are the ping nodes of that configuration: what a recording restores must be.
    #[cfg(feature = "trace")]
    pub(crate) fn fits(&self, config: &Config) -> bool {
        self.iter().map(|node| node.medium).eq(PingTable::new(config).iter().map(|node| node.medium))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &PingNode> {
        self.0.iter()
    }

    pub(crate) fn get_mut(&mut self, medium: MediumId) -> Option<&mut PingNode> {
        self.0.iter_mut().find(|node| node.medium == medium)
    }

    /// Whether every ping node was heard or is dead (CLUSTER b.2).
    pub(crate) fn all_known(&self) -> bool {
        self.unheard().is_none()
    }

    /// The first ping node that was neither heard nor is dead.
    pub(crate) fn unheard(&self) -> Option<MediumId> {
        self.iter().find(|node| node.liveness == Liveness::Init).map(|node| node.medium)
    }
}
