//! Two owners at contact: one judge (OWNERSHIP 4, *conflict at contact*).
//!
//! Each side comparing durations for itself gives two winners at the threshold, and none in a ring of three
//! (`ownership-timelines` 17 to 20). So the first owner in the order of nodes judges, alone; who is not named keeps the
//! group; a verdict stands and covers whoever is met later.
//!
//! *Ours*: who reaches none of its ping nodes does not contest. Whatever it held it held in vain.

use super::{Because, Claim, Epoch, GroupView, Intent, Look, PeerView, View};
use crate::ids::NodeId;
use alloc::vec::Vec;
use core::time::Duration;

/// The contact is given this long to complete, at most.
const SETTLING_MAX: Duration = Duration::from_millis(300);

/// What a group with several owners needs.
pub(super) fn judge(view: &View, group: &GroupView<'_>, look: &mut Look) -> Option<Intent> {
    let own = group.owned()?;
    let held = own.held?;
    let me = Epoch { node: view.me, attempt: own.attempt };
    let rivals = || view.claimants(group).filter(|(_, claim)| claim.owns());
    let Some((first, _)) = rivals().min_by_key(|(peer, _)| peer.rank) else {
        // Until the last one has stopped, its announcements may come after ours.
        let is_over = !view.claimants(group).any(|(_, claim)| claim.state.is_held());
        return (group.memory.contested && is_over).then_some(Intent::EndContest);
    };
    let lost_to = |winner: &PeerView| {
        let is_cut_off = view.reach.is_cut_off() && !winner.reach.is_cut_off();
        let because = if is_cut_off { Because::Reach } else { Because::Lost };
        Some(Intent::Release { because: because(winner.node) })
    };
    if let Some((winner, _)) = rivals().find(|(_, claim)| claim.beats.contains(&me)) {
        return lost_to(winner);
    }
    if !group.memory.contested {
        return Some(Intent::Contest { with: first.node });
    }
    let epochs = || rivals().filter_map(|(peer, claim)| Some(Epoch { node: peer.node, attempt: claim.attempt? }));
    let beats = &group.memory.beats;
    if beats.is_empty() {
        // A verdict that stands needs no second look.
        let newest = rivals().map(|(peer, claim)| peer.since.max(claim.noticed)).max()?;
        let settling = view.times.keepalive.saturating_mul(2).min(SETTLING_MAX);
        if first.rank < view.rank || !look.is_due(view, newest.plus(settling)) {
            return None;
        }
        let merit = |peer: &PeerView, claim: &Claim| (peer.reach.is_cut_off(), claim.held.unwrap_or(view.now));
        let first = rivals().min_by_key(|(peer, claim)| (merit(peer, claim), peer.rank));
        let winner = first.filter(|(peer, claim)| merit(peer, claim) < (view.reach.is_cut_off(), held));
        if let Some((winner, _)) = winner {
            return lost_to(winner);
        }
    }
    let over: Vec<Epoch> = epochs().collect();
    over.iter().any(|epoch| !beats.contains(epoch)).then_some(Intent::Win { over })
}

/// Whether `node` owns the group for all that we know.
pub(super) fn owner(view: &View, group: &GroupView<'_>) -> Option<NodeId> {
    if group.owned().is_some() {
        return Some(view.me);
    }
    view.claimants(group).filter(|(_, claim)| claim.owns()).min_by_key(|(peer, _)| peer.rank).map(|(peer, _)| peer.node)
}
