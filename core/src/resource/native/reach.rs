//! Which node is connected best to those it serves: ipfail built in. Read CLUSTER e.2 first.
//!
//! Every node on which ipfail is switched on tells in its heartbeats how many of its ping nodes and groups answer. The rule
//! compares these counts, group by group, among the nodes that could run the group; who does not tell is compared with nobody.
//!
//! - *Outdone* is who reaches fewer than another of them: it starts the group only if none of those does, and is given nothing.
//! - An owner that is outdone hands the group over when the two counts have stood for two keepalives. Every change begins
//!   them anew: a ping node that dies for all dies for each of them at another moment.
//! - Going home waits for the same, so that a group does not follow a count that flaps.
//! - *Cut off* is who reaches none at all. Where silence is proof enough (policy f) it starts nothing that a silent node may
//!   run, and of two owners it is the one that releases: the silent one may well reach the outside (`start`, `conflict`). Its
//!   time as an owner counts from when it reaches one again: cable and ping node often come back together.
//!
//! *Ours*: the original knows one partner, and moves classes of groups. Counts choose among nodes that are safe to choose;
//! that nobody else runs the group is proven as ever.

use super::release::can_take;
use super::start::unable;
use super::{GroupView, Look, PeerView, Reach, View};
use crate::ids::NodeId;
use crate::time::Instant;

/// Whether a node that could run the group reaches more ping nodes than one that reaches so many.
pub(crate) fn is_outdone(view: &View, group: &GroupView<'_>, reach: &Reach) -> bool {
    let able = |peer: &PeerView| peer.reassures() && group.claim(peer.node).is_some_and(|claim| claim.unable.is_none());
    let outdoes = |peer: &PeerView| reach.is_below(&peer.reach) && able(peer);
    view.live().any(outdoes) || (reach.is_below(&view.reach) && unable(view, group).is_none())
}

/// The node to which we, its owner, leave the group: that which reaches most, the preferred one among equals.
pub(super) fn better(view: &View, group: &GroupView<'_>, look: &mut Look) -> Option<NodeId> {
    let above = view.live().filter(|peer| view.reach.is_below(&peer.reach) && can_take(view, group, peer));
    let best =
        above.min_by_key(|peer| (core::cmp::Reverse(peer.reach.pings), Some(peer.node) != group.home, peer.rank))?;
    is_settled(view, best, look).then_some(best.node)
}

/// Whether our count and that of the peer have stood for two keepalives, or are not to be compared.
pub(super) fn is_settled(view: &View, peer: &PeerView, look: &mut Look) -> bool {
    let Some(_) = view.reach.pings.and(peer.reach.pings) else { return true };
    let since: Instant = view.reach.since.max(peer.reach.since);
    look.is_due(view, since.plus(view.times.keepalive.saturating_mul(2)))
}
