//! What the native rule sees: everything it may decide by, and nothing else (OWNERSHIP 1 and 2).

use super::Because;
use crate::config::Failback;
use crate::ids::NodeId;
use crate::mark::Of;
use crate::membership::NodeSet;
use crate::resource::{Doing, Phase};
use crate::time::Instant;
use crate::wire::message::{Attempt, Claimed, Unable};
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::time::Duration;

/// One consistent look at the cluster.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) me: NodeId,
    /// Our place in the order in which ties are broken.
    pub(crate) rank: u16,
    pub(crate) now: Instant,
    pub(crate) phase: Phase,
    pub(crate) peers: Vec<PeerView>,
    pub(crate) times: Times,
    /// To whom we offer groups as an operator wants.
    pub(crate) offering: NodeSet,
    pub(crate) reach: Reach,
}

/// The spans of OWNERSHIP 5.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) keepalive: Duration,
    /// D: after such a silence of ours others may count us dead.
    pub(crate) deadtime: Duration,
    /// `D_self`: what others may take is released when our voice has not reached them for so long.
    pub(crate) self_deadline: Duration,
    /// So much later than its death that is taken which a silent node may run.
    pub(crate) takeover_delay: Duration,
}

/// How well a node is connected to those it serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Reach {
    /// How many ping nodes and groups answer it; `None` if it does not tell, then it is compared with nobody.
    pub(crate) pings: Option<u32>,
    /// Since when it is so many.
    pub(crate) since: Instant,
    /// Since when it is any, after it was none; known of ourselves only.
    pub(crate) again: Option<Instant>,
}

impl Reach {
    /// It has ping nodes and reaches none: it is likely to be the one that is cut off.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.pings == Some(0)
    }

    /// Both tell, and it reaches fewer.
    pub(crate) fn is_below(&self, other: &Reach) -> bool {
        self.pings.zip(other.pings).is_some_and(|(ours, theirs)| ours < theirs)
    }
}

/// What another node is to us (OWNERSHIP 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Live,
    Gone,
    Dead,
    Unsure,
}

/// Another node.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, all combinations occur")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerView {
    pub(crate) node: NodeId,
    pub(crate) rank: u16,
    pub(crate) standing: Standing,
    /// Its claims are as new as its newest heartbeat says.
    pub(crate) is_fresh: bool,
    /// It hears our present life: its reassuring words count.
    pub(crate) names_us: bool,
    /// Whom it hears ...
    pub(crate) hears: NodeSet,
    /// ... and who is dead or gone to it.
    pub(crate) counts_out: NodeSet,
    /// When we sent the newest heartbeat that it knows of.
    pub(crate) echo: Option<Instant>,
    /// Since when it is heard without a death between.
    pub(crate) since: Instant,
    /// A heartbeat of it, received after a gap, showed that it does not hear us.
    pub(crate) is_deaf: bool,
    /// It offers us a group, and we offer it one.
    pub(crate) offers_back: bool,
    /// It was fenced, in the life it is silent in.
    pub(crate) is_fenced: bool,
    /// When it was declared dead last.
    pub(crate) died: Option<Instant>,
    /// It lives, and nothing that it says is signed with a key of ours.
    pub(crate) is_strange: bool,
    pub(crate) reach: Reach,
}

impl PeerView {
    pub(crate) fn is_live(&self) -> bool {
        self.standing == Standing::Live
    }

    /// Its reassuring words count: stopped, failed, not listed, consent (OWNERSHIP 1).
    pub(crate) fn reassures(&self) -> bool {
        self.is_live() && self.is_fresh && self.names_us
    }

    /// How far our voice has reached it, for all that is known.
    pub(crate) fn reach(&self) -> Instant {
        self.echo.unwrap_or(self.since).max(self.since)
    }
}

/// What proof a start needs that nobody else runs the group (OWNERSHIP 3 (3)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub struct Exclusion {
    /// (c): a majority of the configured nodes.
    pub quorum: bool,
    /// (b): who is silent was fenced.
    pub fencing: bool,
    /// (f): who is silent for its dead time does not run it. *At least one* owner, perhaps two.
    pub silence: bool,
}

/// One group, and all that is known of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupView<'a> {
    /// The node that is to run it when it can, as far as we know.
    pub(crate) home: Option<NodeId>,
    /// A digest of our definition, if our haresources lists it.
    pub(crate) definition: Option<u64>,
    pub(crate) doing: Doing,
    pub(crate) exclusion: Exclusion,
    pub(crate) failback: Failback,
    pub(crate) memory: &'a Memory,
    /// What the others claim, by place.
    pub(crate) claims: &'a [Of<Option<Claim>>],
}

impl GroupView<'_> {
    pub(crate) fn claim(&self, node: NodeId) -> Option<&Claim> {
        self.claims.get(node.index())?.value.as_ref()
    }

    /// Our attempt, if it has acted and is not being undone.
    pub(crate) fn owned(&self) -> Option<&Own> {
        self.memory.own.as_ref().filter(|own| own.held.is_some())
    }

    /// Our attempt, while it only asks.
    pub(crate) fn asking(&self) -> Option<&Own> {
        self.memory.own.as_ref().filter(|own| own.held.is_none())
    }
}

/// What another node said of a group, in its present life.
#[derive(Clone, Debug, Default, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Claim {
    pub(crate) state: Claimed,
    pub(crate) unable: Option<Unable>,
    pub(crate) attempt: Option<Attempt>,
    /// Since when it holds the group, by our clock.
    pub(crate) held: Option<Instant>,
    /// Since when we know its state.
    pub(crate) changed: Instant,
    /// When we first heard that it holds it.
    pub(crate) noticed: Instant,
    pub(crate) definition: Option<u64>,
    pub(crate) consent: Option<Epoch>,
    pub(crate) successor: Option<NodeId>,
    pub(crate) wanted: bool,
    pub(crate) kept: bool,
    pub(crate) beats: Vec<Epoch>,
}

impl Claim {
    /// It has begun to start the group and not to stop it.
    pub(crate) fn owns(&self) -> bool {
        matches!(self.state, Claimed::Starting | Claimed::Running)
    }

    /// Nothing of the group runs there, and it wants no start.
    pub(crate) fn is_clean(&self) -> bool {
        matches!(self.state, Claimed::Stopped | Claimed::Failed)
    }
}

/// An attempt, and whose it is. Its order is by counter, life and the rank of its node (OWNERSHIP 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Epoch {
    pub(crate) node: NodeId,
    pub(crate) attempt: Attempt,
}

impl Hash for Epoch {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Of { node: self.node, value: self.attempt }.hash(state);
    }
}

/// What we remember of one group.
#[derive(Clone, Debug, Default, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Memory {
    /// The attempt by which we run the group or want to.
    pub(crate) own: Option<Own>,
    /// Whose attempt we consent to.
    pub(crate) consent: Option<Epoch>,
    /// To whom we hand it over.
    pub(crate) handover: Option<Handover>,
    /// We give way until then, after an attempt in vain.
    pub(crate) yields: Option<Instant>,
    /// When we said that we are able again after we were not.
    pub(crate) able_again: Option<Instant>,
    /// What was said last of why we are not able.
    pub(crate) said_unable: Option<Unable>,
    /// It is where an operator put it.
    pub(crate) kept: bool,
    /// It was given to us, and that is not told as done yet.
    pub(crate) given: bool,
    /// We ask its owner to hand it over, since.
    pub(crate) wanted: Option<Instant>,
    /// Two nodes own it.
    pub(crate) contested: bool,
    /// The attempts that we have won over.
    pub(crate) beats: Vec<Epoch>,
    /// The highest counter of any attempt known.
    pub(crate) counter: u64,
}

/// An attempt of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Own {
    pub(crate) attempt: Attempt,
    /// When it was published.
    pub(crate) asked: Instant,
    /// Since when we hold the group: when it was acted upon.
    pub(crate) held: Option<Instant>,
}

/// A group on its way to another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Handover {
    pub(crate) to: NodeId,
    pub(crate) because: Because,
    /// When it was offered. Nothing is stopped before the successor asks for it: a node that just died takes nothing.
    pub(crate) offered: Instant,
    /// When nothing of it ran here any more.
    pub(crate) released: Option<Instant>,
}

impl Handover {
    /// Whether the group is to stay where it goes, until its preferred node begins another life (CLUSTER c.6).
    pub(crate) fn is_kept(&self) -> bool {
        matches!(self.because, Because::Operator(_) | Because::Wanted(_))
    }
}

impl View {
    pub(crate) fn peer(&self, node: NodeId) -> Option<&PeerView> {
        self.peers.iter().find(|peer| peer.node == node)
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = &PeerView> {
        self.peers.iter().filter(|peer| peer.is_live())
    }

    /// The live peers with what they claim of a group; those that have claimed nothing yet are left out.
    pub(crate) fn claimants<'a>(
        &'a self,
        group: &'a GroupView<'_>,
    ) -> impl Iterator<Item = (&'a PeerView, &'a Claim)> + Clone {
        let live = self.peers.iter().filter(|peer| peer.is_live());
        live.filter_map(|peer| Some((peer, group.claim(peer.node)?)))
    }

    pub(crate) fn rank_of(&self, node: NodeId) -> u16 {
        if node == self.me { self.rank } else { self.peer(node).map_or(u16::MAX, |peer| peer.rank) }
    }

    /// Whether `a` is the higher epoch (OWNERSHIP 3: the higher goes on).
    pub(crate) fn is_later(&self, a: Epoch, b: Epoch) -> bool {
        (a.attempt, self.rank_of(a.node)) > (b.attempt, self.rank_of(b.node))
    }

    /// How many of the configured nodes, ourselves included, are a majority.
    pub(crate) fn majority(&self) -> usize {
        self.peers.len().saturating_add(1).checked_div(2).unwrap_or_default().saturating_add(1)
    }

    /// Until when a majority is known to have heard us recently enough (OWNERSHIP 4, *minority*); `None` if it never did.
    pub(crate) fn majority_until(&self) -> Option<Instant> {
        let others = self.majority().saturating_sub(1);
        let mut echoes: Vec<Instant> = self.peers.iter().filter_map(|peer| peer.echo).collect();
        echoes.sort_unstable_by(|a, b| b.cmp(a));
        let oldest_needed = match others.checked_sub(1) {
            None => self.now,
            Some(last) => *echoes.get(last)?,
        };
        Some(oldest_needed.plus(self.times.self_deadline))
    }
}
