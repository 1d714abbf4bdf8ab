//! The standby conversation: R gives a set of groups to P in three steps. Read CLUSTER c.7 first.
//!
//! ```text
//! R: Asked ----me----> P            R asks
//! R: Releasing <--other-- P: Answered
//! R: Handed ----done---> P: Acquiring    R has stopped everything
//! R: over <----done---- P: over          P has started everything
//! ```
//!
//! *Ours*:
//! - when both ask at once the node that comes first in the `node` lines goes on and the other yields (the original ignores
//!   both requests for ten seconds),
//! - a lost last step is inferred from the other's stable `resource`,
//! - P waits long only for an R that said that it releases: a request that was lost and recovered later is answered by
//!   nobody (scenario `late-request`),
//! - an R that has released is relieved even if P had given it up,
//! - a request of P that overtook its last step on the wire waits for that (scenario `T6` with reordering); the original
//!   ignores it, and P asks in vain for ten seconds.

use super::{Book, Intent, is_stable};
use crate::action::Cancellation;
use crate::ids::{ClientId, NodeId, Seq};
use crate::mark::Of;
use crate::resource::{Doing, GroupView, PeerView, Phase, View};
use crate::wire::message::{AskResources, Holding, StandbyStep};
use core::time::Duration;

/// How long R waits for P's answer (CLUSTER a.4).
pub(crate) const REPLY_LIMIT: Duration = Duration::from_secs(10);
/// How long releasing and acquiring may take (CLUSTER a.4).
pub(crate) const WORK_LIMIT: Duration = Duration::from_hours(1);

/// A conversation under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Conversation {
    pub(crate) role: Role,
    pub(crate) step: Step,
    /// What is given, seen from the giving node.
    pub(crate) set: Holding,
    pub(crate) with: NodeId,
    /// Messages of the other node up to this number belong to earlier conversations.
    pub(crate) since: Of<Seq>,
    /// The other node's next request, which came before the last step of this conversation.
    pub(crate) next: Option<(Of<Seq>, Holding)>,
}

/// Which side of it we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Role {
    /// R, for this reason.
    Giving(Cause),
    /// P.
    Taking,
}

/// How far it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Step {
    /// R waits for P's answer; P waits until R has released.
    Asked,
    /// R releases; P acquires.
    Working,
    /// R waits until P has acquired.
    Handed,
}

/// Why we give groups away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Cause {
    /// A client of ours asked.
    Operator(ClientId),
    /// `auto_failback on`.
    Failback,
    /// The other node's `hb_takeover`.
    Peer,
    /// A client of the API or a script, which is not answered.
    Local,
}

impl Conversation {
    /// What we give or take, seen from here.
    pub(crate) fn ours(&self) -> Holding {
        match self.role {
            Role::Giving(_) => self.set,
            Role::Taking => self.set.exchanged(),
        }
    }

    /// The `info` of a `resource` said meanwhile.
    pub(crate) fn info(&self) -> Option<&'static str> {
        (matches!(self.role, Role::Giving(_)) && self.step != Step::Asked).then_some("standby")
    }

    pub(crate) fn limit(&self) -> Duration {
        match (self.role, self.step) {
            // P waits longer as soon as R says that it releases.
            (_, Step::Asked) => REPLY_LIMIT,
            _ => WORK_LIMIT,
        }
    }
}

/// The next step that needs no message.
pub(super) fn proceed(view: &View, book: &Book) -> Option<Intent> {
    let conversation = book.conversation.as_ref()?;
    let Some(peer) = view.peers.iter().find(|peer| peer.node == conversation.with && !peer.is_out()) else {
        return Some(Intent::Cancel(Cancellation::PeerDied));
    };
    let claim = peer.claim.filter(|claim| claim.seq > *conversation.since && claim.stable && !claim.releasing);
    let groups = || view.groups_in(conversation.ours()).map(|group| group.doing);
    match (conversation.role, conversation.step) {
        (Role::Giving(_), Step::Working) if groups().any(|doing| doing == Doing::Stuck) => {
            Some(Intent::Cancel(Cancellation::StopFailed))
        }
        (Role::Giving(_), Step::Working) if groups().all(Doing::is_down) => Some(Intent::ReleaseDone),
        // P's `done` was lost, its later word says the same.
        (Role::Giving(_), Step::Handed) => {
            claim.is_some_and(|claim| claim.hold.contains(conversation.set.exchanged())).then_some(Intent::Taken)
        }
        (Role::Taking, Step::Working) => {
            groups().all(|doing| matches!(doing, Doing::Running | Doing::Failed)).then_some(Intent::AcquireDone)
        }
        // R has given up giving up: it is at rest. Should it have released after all, its `done` still counts.
        (Role::Taking, Step::Asked) if claim.is_some() => Some(Intent::Cancel(Cancellation::NoReply)),
        _ => None,
    }
}

/// What a received `ask_resources` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Answer `other` and wait for the release; a request of our own yields to it.
    Answer,
    /// Release now.
    Release,
    /// Acquire now.
    Acquire,
    /// The other node has acquired everything.
    Taken,
    /// The other node's last step is still under way: then answer.
    AnswerThen,
    /// Nothing, for this reason.
    Ignore(&'static str),
}

/// Judges `ask_resources` with number `seq` from `from`; changes nothing.
pub(crate) fn on_ask(view: &View, book: &Book, from: NodeId, seq: Seq, ask: AskResources) -> Heard {
    let AskResources { holding, step: info } = ask;
    if view.phase != Phase::Active {
        return Heard::Ignore("local resources in flux");
    }
    let conversation = book.conversation.as_ref();
    match (info, conversation) {
        (StandbyStep::Me, None) if view.single_peer().is_none() => {
            Heard::Ignore("with more than two nodes there is no single other side")
        }
        (StandbyStep::Me, None) if !is_stable(view, book) && !is_only_releasing(view, book, holding) => {
            Heard::Ignore("local resources in flux")
        }
        (StandbyStep::Me, None) => Heard::Answer,
        (StandbyStep::Me, Some(conversation)) => match (conversation.role, conversation.step) {
            (Role::Giving(_), Step::Asked) if conversation.with == from && from < view.me => Heard::Answer,
            // It asks for nothing while it acquires, so that it has ended this.
            (Role::Giving(_), Step::Handed) if conversation.with == from && seq > *conversation.since => {
                Heard::AnswerThen
            }
            _ => Heard::Ignore("Standby in progress"),
        },
        (_, Some(conversation)) if conversation.with == from && seq > *conversation.since => {
            match (info, conversation.role, conversation.step) {
                (StandbyStep::Other, Role::Giving(_), Step::Asked) => Heard::Release,
                (StandbyStep::Done, Role::Giving(_), Step::Handed) => Heard::Taken,
                (StandbyStep::Done, Role::Taking, Step::Asked) => Heard::Acquire,
                _ => Heard::Ignore("not expected in this state"),
            }
        }
        (StandbyStep::Done, None) if view.single_peer().is_some_and(|peer| has_released(peer, seq)) => Heard::Acquire,
        _ => Heard::Ignore("not expected in this state"),
    }
}

/// Whether we give up nothing but groups of others, and what is offered is ours: the one does not disturb the other.
///
/// *Ours*: two that meet and both hold everything give up each what is preferred at the other, at the same moment. A 3.0.6
/// asks once, and keeps what nobody takes from it (scenario P16).
fn is_only_releasing(view: &View, book: &Book, offered: Holding) -> bool {
    let stays =
        |group: &GroupView| !group.doing.is_moving() || (group.doing == Doing::Stopping && group.home != view.me);
    book.hold.local && !offered.local && view.groups.iter().all(stays)
}

/// Whether a peer that says `done` with this number has released something for us, and waits.
fn has_released(peer: &PeerView, seq: Seq) -> bool {
    !peer.is_out() && peer.claim.is_some_and(|claim| claim.releasing && !claim.stable && claim.seq < seq)
}
