//! What a rule book sees: everything it may decide by, and nothing else.

use super::Doing;
use crate::config::Failback;
use crate::ids::{NodeId, Seq};
use crate::mark::Aside;
use crate::membership::Liveness;
use crate::time::Instant;
use crate::wire::message::Holding;
use alloc::vec::Vec;

/// One consistent look at the cluster.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) me: NodeId,
    pub(crate) phase: Phase,
    pub(crate) failback: Failback,
    pub(crate) peers: Vec<PeerView>,
    pub(crate) groups: Vec<GroupView>,
}

/// How far our own life allows resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Communication is not up: nothing is decided.
    Joining,
    /// Resources are managed.
    Active,
    /// We did not run for so long that others may have taken over.
    Doubting,
    /// All is to be given up.
    Stopping,
}

/// Another node.
#[derive(Clone, Debug)]
pub(crate) struct PeerView {
    pub(crate) node: NodeId,
    pub(crate) liveness: Liveness,
    /// It said `shutdone` in its present life.
    pub(crate) gone: bool,
    /// Nothing keeps us from taking what it held if it is dead: it was fenced where that is demanded, and is dead for long
    /// enough.
    pub(crate) proof: Proof,
    pub(crate) claim: Option<Claim>,
}

/// Whether a dead node's groups may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// They may.
    Given,
    /// They may a little later.
    Delayed,
    /// It must be reset first.
    Wanted,
    /// It lives and signs with another key: what is preferred there is left to it.
    Strange,
}

impl PeerView {
    /// Dead, or released everything: it holds nothing and will not start anything without joining again.
    pub(crate) fn is_out(&self) -> bool {
        self.gone || self.liveness == Liveness::Dead
    }

    /// Whether what it held may be taken.
    pub(crate) fn is_released(&self) -> bool {
        self.gone || self.liveness == Liveness::Dead && self.proof == Proof::Given
    }

    /// Whether it keeps us from what is preferred here.
    pub(crate) fn leaves_ours(&self) -> bool {
        self.is_released() || self.proof == Proof::Strange
    }
}

/// What a node last said that it holds (`resource`, WIRE 11), in its present life and since our `starting`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Claim {
    /// Seen from the claimant.
    pub(crate) hold: Holding,
    pub(crate) stable: bool,
    /// It said `info=standby` or `info=shutdown`: what it does not claim may still be stopping there.
    pub(crate) releasing: bool,
    /// The number of the message, since a late copy must not undo a newer claim.
    pub(crate) seq: Seq,
    /// When `hold` last changed, as far as we heard.
    pub(crate) since: Aside<Instant>,
}

/// A group and what the executor does with it here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupView {
    pub(crate) home: NodeId,
    pub(crate) doing: Doing,
}

impl View {
    /// Whether `group` is in the class `set`, seen from here.
    pub(crate) fn is_in(&self, group: GroupView, set: Holding) -> bool {
        if group.home == self.me { set.local } else { set.foreign }
    }

    /// The groups in `set`.
    pub(crate) fn groups_in(&self, set: Holding) -> impl Iterator<Item = &GroupView> {
        self.groups.iter().filter(move |group| self.is_in(**group, set))
    }

    /// Whether nothing is being started or stopped here.
    pub(crate) fn is_settled(&self) -> bool {
        self.groups.iter().all(|group| !group.doing.is_moving())
    }

    /// The only other node, where there is exactly one.
    pub(crate) fn single_peer(&self) -> Option<&PeerView> {
        match self.peers.as_slice() {
            [peer] => Some(peer),
            _ => None,
        }
    }
}
