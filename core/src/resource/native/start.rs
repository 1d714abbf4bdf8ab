//! Who may start a group (OWNERSHIP 3).

use super::conflict::owner;
use super::reach::is_outdone;
use super::release::duty;
use super::{Because, Claim, Epoch, GroupView, Intent, Look, PeerView, Reach, Standing, View};
use crate::ids::NodeId;
use crate::resource::{Doing, Phase};
use crate::wire::message::{Claimed, Unable};

/// What keeps us from starting a group; the first in the order of OWNERSHIP 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// We are not able.
    Unable(Unable),
    /// Something of it still runs here.
    Busy,
    /// A node was neither heard nor is it out.
    Unsure(NodeId),
    /// We would have to release it.
    Duty(Because),
    /// We reach no ping node, and that node is silent.
    CutOff(NodeId),
    /// We said only lately that we are able again, and a node that may hold it may not know.
    AbleAgain,
    /// Its preferred node lives, though nothing that it says can be believed.
    Strange(NodeId),
    /// A node is not silent for long enough yet (`takeover_delay`).
    Delayed(NodeId),
    /// A live node has not said what it does, or did not say it to our present life.
    Unanswered(NodeId),
    /// A live node runs it, or stops it.
    Held(NodeId),
    /// Its owner will stop it for us as soon as we ask.
    Offered(NodeId),
    /// Another node is to start it.
    LeftTo(NodeId),
    /// We have consented to another node's attempt.
    Consented(NodeId),
    /// We hand it over.
    HandingOver(NodeId),
    /// A live node does not consent (yet).
    NoConsent(NodeId),
    /// There is no proof that a silent node does not run it.
    NoProof(NodeId),
    /// Too few nodes consent.
    NoMajority,
}

/// Why this node does not start the group, as it tells the others (OWNERSHIP 1).
pub(crate) fn unable(view: &View, group: &GroupView<'_>) -> Option<Unable> {
    let Some(definition) = group.definition else { return Some(Unable::Unlisted) };
    if view.phase != Phase::Active {
        return Some(Unable::Leaving);
    }
    if matches!(group.doing, Doing::Failed | Doing::Stuck) {
        return Some(Unable::Failed);
    }
    if counting_definition(view, group).is_some_and(|counting| counting != definition) {
        return Some(Unable::Differs);
    }
    group.memory.yields.filter(|until| *until > view.now).map(|_| Unable::Yields)
}

/// Where definitions differ that of the owner counts, else that of the first live node that lists the group.
fn counting_definition(view: &View, group: &GroupView<'_>) -> Option<u64> {
    let differs =
        |(_, claim): (&PeerView, &Claim)| claim.definition.is_some_and(|other| Some(other) != group.definition);
    // Nearly always they agree: then there is nothing to choose.
    if group.owned().is_some() || group.definition.is_some() && !view.claimants(group).any(differs) {
        return group.definition;
    }
    let listed = |claim: &&Claim| claim.definition.is_some();
    let theirs = || view.claimants(group).filter(|(_, claim)| listed(claim));
    if let Some((_, claim)) = theirs().filter(|(_, claim)| claim.owns()).min_by_key(|(peer, _)| peer.rank) {
        return claim.definition;
    }
    let first = theirs().min_by_key(|(peer, _)| peer.rank);
    first
        .filter(|(peer, _)| peer.rank < view.rank || group.definition.is_none())
        .map_or(group.definition, |(_, claim)| claim.definition)
}

/// The conditions 1, 2 and 4, which hold when an attempt is published and again at the instant it acts.
pub(crate) fn obstacle(view: &View, group: &GroupView<'_>, look: &mut Look) -> Option<Obstacle> {
    if let Some(unable) = unable(view, group) {
        if let Some(until) = group.memory.yields {
            look.is_due(view, until);
        }
        return Some(Obstacle::Unable(unable));
    }
    if group.doing != Doing::Stopped {
        return Some(Obstacle::Busy);
    }
    if let Some(handover) = group.memory.handover {
        return Some(Obstacle::HandingOver(handover.to));
    }
    if let Some(unsure) = view.peers.iter().find(|peer| peer.standing == Standing::Unsure) {
        return Some(Obstacle::Unsure(unsure.node));
    }
    if let Some(because) = duty(view, group, look) {
        return Some(Obstacle::Duty(because));
    }
    let mut out = view.peers.iter().filter(|_| group.exclusion.silence);
    if let Some(silent) = out.find(|peer| peer.standing == Standing::Dead && !peer.is_fenced) {
        // Of two that do not hear each other the one that reaches the outside is right.
        if view.reach.is_cut_off() {
            return Some(Obstacle::CutOff(silent.node));
        }
        // It may know of either and hold the group for that reason (see `duty`).
        let again = group.memory.able_again.max(view.reach.again);
        if again.is_some_and(|again| !look.is_due(view, again.plus(view.times.deadtime))) {
            return Some(Obstacle::AbleAgain);
        }
    }
    let strange = |peer: &&PeerView| peer.is_strange && group.home == Some(peer.node);
    if let Some(peer) = view.peers.iter().find(strange) {
        return Some(Obstacle::Strange(peer.node));
    }
    if let Some(peer) = delayed(view, group, look) {
        return Some(Obstacle::Delayed(peer));
    }
    let offers = |claim: &Claim| claim.state.is_held() && claim.successor == Some(view.me);
    let keeps = |peer: &&PeerView| {
        let Some(claim) = group.claim(peer.node) else { return true };
        if offers(claim) {
            return false;
        }
        claim.state.is_held() || !(may_skip(view, peer, claim) || claim.is_clean() && peer.reassures())
    };
    if let Some(peer) = view.live().find(keeps) {
        return Some(match group.claim(peer.node) {
            Some(claim) if claim.state.is_held() => Obstacle::Held(peer.node),
            // A lower epoch of its own is withdrawn before it consents to ours.
            Some(Claim { state: Claimed::Asking, .. }) => Obstacle::LeftTo(peer.node),
            _ => Obstacle::Unanswered(peer.node),
        });
    }
    if let Some((owner, _)) = view.claimants(group).find(|(_, claim)| offers(claim)) {
        return Some(Obstacle::Offered(owner.node));
    }
    let chosen = chosen(view, group);
    (chosen != view.me).then_some(Obstacle::LeftTo(chosen))
}

/// A silent node is given more time than its dead time: some users have it shut itself down meanwhile.
fn delayed(view: &View, group: &GroupView<'_>, look: &mut Look) -> Option<NodeId> {
    if !group.exclusion.silence || view.times.takeover_delay.is_zero() {
        return None;
    }
    let mut dead = view.peers.iter().filter(|peer| peer.standing == Standing::Dead && !peer.is_fenced);
    let young = |peer: &&PeerView| {
        let since = peer.died.unwrap_or(peer.since);
        !look.is_due(view, since.plus(view.times.takeover_delay))
    };
    dead.find(young).map(|peer| peer.node)
}

/// Who is silent and may run the group for all that is proved: until then nobody asks for it (OWNERSHIP 3 (3) b).
fn unproved(view: &View, group: &GroupView<'_>) -> Option<NodeId> {
    let by_votes = group.exclusion.quorum && !group.exclusion.fencing;
    if group.exclusion.silence || by_votes {
        return None;
    }
    let mut silent = view.peers.iter().filter(|peer| peer.standing == Standing::Dead);
    silent.find(|peer| !(peer.is_fenced && group.exclusion.fencing)).map(|peer| peer.node)
}

/// Whether every live node counts a node out: nobody shoots one that a live node hears or is unsure of (OWNERSHIP 3 (b)).
pub(crate) fn is_out_to_all(view: &View, node: NodeId) -> bool {
    view.live().all(|other| other.counts_out.has(node))
}

/// The node that has to be reset before we can start the group, if nothing else keeps us from that (OWNERSHIP 3 (3) b).
/// No minority shoots.
pub(crate) fn needs_proof(view: &View, group: &GroupView<'_>) -> Option<NodeId> {
    if !group.exclusion.fencing || group.owned().is_some() || group.memory.consent.is_some() {
        return None;
    }
    let node = unproved(view, group).filter(|node| view.peer(*node).is_some_and(|peer| !peer.is_strange))?;
    let votes = view.live().filter(|peer| peer.names_us).count().saturating_add(1);
    let may = !group.exclusion.quorum || votes >= view.majority();
    (may && is_out_to_all(view, node) && obstacle(view, group, &mut Look::default()).is_none()).then_some(node)
}

/// What we wait for before we start the group, for those who ask.
pub(crate) fn waiting_for(view: &View, group: &GroupView<'_>) -> Option<Obstacle> {
    let look = &mut Look::default();
    let consented = || Some(Obstacle::Consented(group.memory.consent?.node));
    let asked = || no_consent(view, group, Epoch { node: view.me, attempt: group.asking()?.attempt });
    let silent = || unproved(view, group).map(Obstacle::NoProof);
    obstacle(view, group, look).or_else(silent).or_else(consented).or_else(asked)
}

/// A live node that does not hear us may be left out when it says that it cannot take the group, and hears nobody that we
/// do not hear.
fn may_skip(view: &View, peer: &PeerView, claim: &Claim) -> bool {
    let ours = view.live().map(|peer| peer.node).collect::<crate::membership::NodeSet>().with(view.me);
    !peer.names_us && peer.is_fresh && claim.is_clean() && claim.unable.is_some() && peer.hears.minus(ours).is_empty()
}

/// The node that is to start the group now that nobody runs it (OWNERSHIP 3 (4)). We are able when this is asked.
fn chosen(view: &View, group: &GroupView<'_>) -> NodeId {
    let named = view.claimants(group).find_map(|(_, claim)| claim.successor.filter(|_| claim.is_clean()));
    let able = |node: NodeId| {
        node == view.me
            || (view.peer(node).is_some_and(PeerView::is_live)
                && group.claim(node).is_some_and(|claim| claim.unable.is_none()))
    };
    if let Some(node) = named.filter(|node| able(*node)) {
        return node;
    }
    // Where the counts are as they are at this moment: nothing is moved, so nothing has to wait for them to settle.
    let may = |node: NodeId, reach: &Reach| able(node) && !is_outdone(view, group, reach);
    let others = view.live().filter(|peer| may(peer.node, &peer.reach)).map(|peer| (peer.rank, peer.node));
    let all = others.chain(Some((view.rank, view.me)).filter(|_| may(view.me, &view.reach)));
    all.min_by_key(|(rank, node)| (Some(*node) != group.home, *rank)).map_or(view.me, |(_, node)| node)
}

/// Consents to the highest epoch that asks, if to our own knowledge nobody else runs the group (OWNERSHIP 3 (3)).
pub(super) fn consent(view: &View, group: &GroupView<'_>) -> Option<Intent> {
    if let Some(given) = group.memory.consent {
        let author = view.peer(given.node);
        let is_out = author.is_none_or(|peer| matches!(peer.standing, Standing::Dead | Standing::Gone));
        let stands = group.claim(given.node).is_some_and(|claim| {
            let is_same = claim.attempt == Some(given.attempt) && claim.successor != Some(view.me);
            is_same && matches!(claim.state, Claimed::Asking | Claimed::Starting | Claimed::Running)
        });
        return (is_out || !stands).then_some(Intent::EndConsent);
    }
    // Clean, and whom we consent to we do not compete with.
    if !group.doing.is_down() || group.memory.own.is_some() {
        return None;
    }
    // Who names us its successor has ended what it asked for, whatever it says.
    let asks = |claim: &Claim| claim.state == Claimed::Asking && claim.successor != Some(view.me);
    let asking = view.claimants(group).filter(|(_, claim)| asks(claim));
    let epochs = asking.filter_map(|(peer, claim)| Some(Epoch { node: peer.node, attempt: claim.attempt? }));
    let highest = epochs.reduce(|a, b| if view.is_later(b, a) { b } else { a })?;
    if group.memory.handover.is_some_and(|handover| handover.to != highest.node) {
        return None;
    }
    let vouches = |peer: &PeerView| {
        peer.node == highest.node
            || match peer.standing {
                Standing::Dead | Standing::Gone => true,
                Standing::Unsure => false,
                Standing::Live => group
                    .claim(peer.node)
                    .is_some_and(|claim| (claim.is_clean() && peer.reassures()) || claim.state == Claimed::Asking),
            }
    };
    view.peers.iter().all(vouches).then_some(Intent::Consent(highest))
}

/// Acts on our attempt, gives it up, or begins one.
pub(super) fn start(view: &View, group: &GroupView<'_>, look: &mut Look) -> Option<Intent> {
    if let Some(wanted) = group.memory.wanted
        && let Some(intent) = end_wish(view, group, wanted, look)
    {
        return Some(intent);
    }
    let Some(own) = group.memory.own else {
        if group.memory.consent.is_some() || unproved(view, group).is_some() {
            return None;
        }
        return match obstacle(view, group, look) {
            None => Some(Intent::Ask),
            Some(Obstacle::Offered(owner)) if !must_yield(view, owner) => Some(Intent::Ask),
            Some(_) => None,
        };
    };
    if own.held.is_some() {
        return None;
    }
    let mine = Epoch { node: view.me, attempt: own.attempt };
    let outbid = view.claimants(group).any(|(peer, claim)| {
        let theirs = claim.attempt.map(|attempt| Epoch { node: peer.node, attempt });
        claim.state == Claimed::Asking && theirs.is_some_and(|theirs| view.is_later(theirs, mine))
    });
    // The time of an owner that stops it for us does not count.
    let named = view.claimants(group).filter(|(_, claim)| claim.successor == Some(view.me));
    let since = named.map(|(_, claim)| claim.changed).fold(own.asked, crate::time::Instant::max);
    let stale = look.is_due(view, since.plus(view.times.deadtime));
    match obstacle(view, group, look).or_else(|| no_consent(view, group, mine)) {
        None => Some(Intent::Act { because: because(view, group) }),
        // It takes as long as its scripts do.
        Some(Obstacle::Offered(_)) => None,
        // Whoever fell silent meanwhile is reset first, which takes its time.
        Some(_) if unproved(view, group).is_some() => Some(Intent::Withdraw { yields: false }),
        Some(_) if stale => Some(Intent::Withdraw { yields: true }),
        _ if outbid => Some(Intent::Withdraw { yields: false }),
        Some(Obstacle::Unable(_) | Obstacle::Held(_) | Obstacle::Duty(_)) => Some(Intent::Withdraw { yields: false }),
        Some(Obstacle::LeftTo(node)) if group.claim(node).is_some_and(Claim::is_clean) => {
            Some(Intent::Withdraw { yields: false })
        }
        Some(_) => None,
    }
}

/// Whether the one that offers us a group is to take one from us instead (scenario T7).
fn must_yield(view: &View, owner: NodeId) -> bool {
    view.offering.has(owner) && view.peer(owner).is_some_and(|peer| view.rank < peer.rank)
}

/// Whether our attempt still lacks consent, or proof about those who cannot give it (OWNERSHIP 3 (3)).
fn no_consent(view: &View, group: &GroupView<'_>, mine: Epoch) -> Option<Obstacle> {
    let consents = |peer: &PeerView| {
        peer.reassures()
            && group.claim(peer.node).is_some_and(|claim| {
                // An owner that has stopped and names us wants nobody else to have it.
                claim.consent == Some(mine) || (claim.state == Claimed::Stopped && claim.successor == Some(view.me))
            })
    };
    if group.exclusion.quorum {
        let recent = |peer: &&PeerView| {
            peer.echo.is_some_and(|echo| view.now.since(echo) <= view.times.self_deadline) && consents(peer)
        };
        let votes = view.live().filter(recent).count().saturating_add(1);
        if votes < view.majority() {
            return Some(Obstacle::NoMajority);
        }
        if !group.exclusion.fencing {
            return None;
        }
    }
    for peer in &view.peers {
        match peer.standing {
            Standing::Live => {
                let skip = group.claim(peer.node).is_some_and(|claim| may_skip(view, peer, claim));
                if !skip && !group.exclusion.quorum && !consents(peer) {
                    return Some(Obstacle::NoConsent(peer.node));
                }
            }
            Standing::Gone => {}
            Standing::Dead if peer.is_fenced && group.exclusion.fencing => {}
            Standing::Dead if group.exclusion.silence => {
                let mut live = view.live();
                if let Some(hearer) = live.find(|other| !other.counts_out.has(peer.node)) {
                    return Some(Obstacle::NoConsent(hearer.node));
                }
            }
            Standing::Dead => return Some(Obstacle::NoProof(peer.node)),
            Standing::Unsure => return Some(Obstacle::Unsure(peer.node)),
        }
    }
    None
}

/// The evidence for a start.
fn because(view: &View, group: &GroupView<'_>) -> Because {
    let from = view.claimants(group).find(|(_, claim)| claim.successor == Some(view.me) && claim.is_clean());
    if let Some((peer, _)) = from {
        return Because::HandedOver(peer.node);
    }
    if view.peers.is_empty() {
        return Because::Alone;
    }
    let out = |standing| view.peers.iter().find(|peer| peer.standing == standing && Some(peer.node) == group.home);
    if group.home == Some(view.me) {
        let silent = view.peers.iter().find(|peer| !peer.is_live());
        return match silent {
            Some(peer) if !view.peers.iter().any(PeerView::is_live) => evidence(peer),
            _ => Because::Preferred,
        };
    }
    let home = view.live().find(|peer| Some(peer.node) == group.home && peer.reach.is_below(&view.reach));
    if let Some(home) = home {
        return Because::Reach(home.node);
    }
    out(Standing::Gone).or_else(|| out(Standing::Dead)).map_or(Because::FirstAble, evidence)
}

fn evidence(peer: &PeerView) -> Because {
    match peer.standing {
        Standing::Gone => Because::Gone(peer.node),
        _ if peer.is_fenced => Because::Fenced(peer.node),
        _ => Because::Dead(peer.node),
    }
}

/// Our wish to have a group is fulfilled, or there is nobody who could fulfil it.
fn end_wish(view: &View, group: &GroupView<'_>, since: crate::time::Instant, look: &mut Look) -> Option<Intent> {
    if group.owned().is_some() {
        return (group.doing == Doing::Running).then_some(Intent::EndWish { fulfilled: true });
    }
    if group.memory.own.is_some() {
        return None;
    }
    // Its owner stops it for us. An offer that we cannot answer is no move: the operator is told so.
    let moving = |claim: &Claim| claim.successor == Some(view.me) && !claim.owns();
    let underway = view.claimants(group).any(|(_, claim)| moving(claim));
    let hopeless = unable(view, group).is_some() || (!underway && owner(view, group).is_none());
    let late = !underway && look.is_due(view, since.plus(view.times.deadtime));
    (hopeless || late).then_some(Intent::EndWish { fulfilled: false })
}
