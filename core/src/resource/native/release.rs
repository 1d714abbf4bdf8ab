//! Who must release a group, and who may be given it (OWNERSHIP 4).

use super::reach::{self, is_outdone};
use super::start::unable;
use super::{Because, Claim, GroupView, Intent, Look, PeerView, Standing, View};
use crate::config::Failback;
use crate::ids::NodeId;
use crate::resource::{Doing, Phase};
use crate::wire::message::{Claimed, Unable};
use core::time::Duration;

/// A deaf node that even owns the group is given up to after this, at most.
const CONTACT_MAX: Duration = Duration::from_millis(500);

/// A duty to release what our attempt holds or asks for.
pub(super) fn duty_to(view: &View, group: &GroupView<'_>, look: &mut Look) -> Option<Intent> {
    let own = group.memory.own.as_ref()?;
    let because = duty(view, group, look)?;
    if own.held.is_none() {
        return Some(Intent::Withdraw { yields: false });
    }
    let to = (because == Because::Stopping).then(|| successor(view, group)).flatten();
    Some(to.map_or(Intent::Release { because }, |to| Intent::HandOver { to, because }))
}

/// What forbids us to hold the group. It applies to a start as well: nobody acts while a duty does (O11).
pub(super) fn duty(view: &View, group: &GroupView<'_>, look: &mut Look) -> Option<Because> {
    if view.phase == Phase::Stopping {
        return Some(Because::Stopping);
    }
    if group.exclusion.quorum {
        // *Minority*: whatever the others do after our voice has not reached them for so long, we are out of their way.
        let due = view.majority_until().is_none_or(|until| look.is_due(view, until));
        return due.then_some(Because::Minority);
    }
    if !group.exclusion.silence {
        // Elsewhere a deaf node cannot start anything.
        return None;
    }
    view.live().find_map(|peer| {
        let claim = group.claim(peer.node);
        let owns = claim.is_some_and(Claim::owns);
        let owner_due = (owns && peer.echo.is_none_or(|echo| echo < peer.since)).then(|| {
            let contact = view.times.keepalive.saturating_mul(3).min(CONTACT_MAX);
            let noticed = claim.map(|claim| claim.noticed);
            noticed.map_or(peer.since, |noticed| peer.since.max(noticed)).plus(contact)
        });
        // Who reaches no ping node takes nothing from who is silent to it, and waits D when it reaches one again.
        // *Ours*: who has claimed nothing yet comes up beside us, and will take what it can when its initdead is over.
        let is_able = claim.is_none_or(|claim| claim.unable.is_none());
        let may_take = (is_able && !peer.reach.is_cut_off()) || owns;
        let deaf_due = (peer.is_deaf && may_take).then(|| peer.reach().plus(view.times.self_deadline));
        let due = [owner_due, deaf_due].into_iter().flatten().min()?;
        look.is_due(view, due).then_some(Because::Deaf(peer.node))
    })
}

/// Whether something is to be handed over, or is and the name lapses.
pub(super) fn hand_over(view: &View, group: &GroupView<'_>, look: &mut Look) -> Option<Intent> {
    if let Some(handover) = &group.memory.handover {
        let peer = view.peer(handover.to);
        let claim = group.claim(handover.to);
        if claim.is_some_and(super::Claim::owns) {
            return Some(Intent::EndHandover { taken: true });
        }
        let is_out = peer.is_none_or(|peer| matches!(peer.standing, Standing::Dead | Standing::Gone));
        let refuses = claim.is_none_or(|claim| claim.unable.is_some());
        // Of two that offer to each other the later one in the order takes (scenario T7).
        let is_standby = matches!(handover.because, Because::Operator(_));
        let yields = is_standby && peer.is_some_and(|peer| peer.offers_back && peer.rank < view.rank);
        if group.owned().is_some() && !yields && claim.is_some_and(|claim| claim.state == Claimed::Asking) {
            return Some(Intent::Release { because: handover.because });
        }
        let since = if group.owned().is_some() { Some(handover.offered) } else { handover.released };
        let lapsed = since.is_some_and(|at| look.is_due(view, at.plus(view.times.deadtime)));
        let yields = yields && group.owned().is_some();
        return (is_out || refuses || lapsed || yields).then_some(Intent::EndHandover { taken: false });
    }
    if group.owned().is_none() || group.doing != Doing::Running || group.memory.contested {
        // F11: what is still starting is not handed over before it runs.
        return None;
    }
    let wish = view.claimants(group).find(|(peer, claim)| claim.wanted && can_take(view, group, peer));
    if let Some((peer, _)) = wish {
        return Some(Intent::HandOver { to: peer.node, because: Because::Wanted(peer.node) });
    }
    if let Some(better) = reach::better(view, group, look) {
        return Some(Intent::HandOver { to: better, because: Because::Reach(better) });
    }
    let home = group.home.filter(|_| group.failback == Failback::On && !group.memory.kept)?;
    let back = view.peer(home).filter(|peer| can_take(view, group, peer))?;
    if !reach::is_settled(view, back, look) {
        return None;
    }
    Some(Intent::HandOver { to: back.node, because: Because::Failback(back.node) })
}

/// Whom the group would be given to if we left it: the preferred node, else the first that can.
pub(crate) fn successor(view: &View, group: &GroupView<'_>) -> Option<NodeId> {
    let able = view.peers.iter().filter(|peer| can_take(view, group, peer));
    able.min_by_key(|peer| (Some(peer.node) != group.home, peer.rank)).map(|peer| peer.node)
}

/// Whether a node could start the group if we released it now: a planned move must not end in an interruption.
pub(crate) fn can_take(view: &View, group: &GroupView<'_>, peer: &PeerView) -> bool {
    let willing = group.claim(peer.node).is_some_and(|claim| claim.unable.is_none() && claim.is_clean());
    let proof = |other: &PeerView| {
        let no_duty = group.exclusion.quorum || group.exclusion.silence;
        no_duty || other.standing == Standing::Gone || other.is_fenced
    };
    let sees = |other: &PeerView| {
        let live = peer.hears.has(other.node) && other.is_live();
        live || (peer.counts_out.has(other.node) && !other.is_live() && proof(other))
    };
    let others = || view.peers.iter().filter(|other| other.node != peer.node);
    let votes = others().filter(|other| peer.hears.has(other.node)).count().saturating_add(2);
    peer.reassures()
        && willing
        && others().all(sees)
        && (!group.exclusion.quorum || votes >= view.majority())
        && !is_outdone(view, group, &peer.reach)
        && unable(view, group) != Some(Unable::Differs)
}
