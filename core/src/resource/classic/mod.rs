//! The classic rule book: what Heartbeat 3.0.6 does with two nodes, without its fixed waits. Read CLUSTER c first.
//!
//! [`decide`] looks at the whole situation and names one thing to do; it is asked again until it names nothing. Since
//! every rule is a condition on the present state and not a reaction to a message, a lost or reordered message delays a
//! decision and never loses it.
//!
//! | rule | when | what |
//! |---|---|---|
//! | stop, b.4 | we shut down | give up both classes; when all is stopped say `shutdone` |
//! | ask, c.3 | our start is complete | say `starting` |
//! | local, c.3 | every other node is out, or active, has answered and does not hold our groups | hold `local` |
//! | takeover, c.5, b.4 (5) | the other node is dead or gone | hold `foreign` |
//! | failback, c.6 | we hold `foreign` because of a death, the peer is stable again, all is settled | standby `foreign` |
//! | conflict, k.1b *ours* | both claim a class at rest | the node that is not preferred gives it up, the other announces again |
//! | standby, c.7 | a conversation is under way | its next step |
//! | overslept, F18 *ours* | we did not run for our dead time, another claims what we hold | give it up |
//! | say, c.3 | what we hold or whether we are stable changed | say `resource` |
//!
//! Two nodes: "foreign" names one other node's groups. With more, the configuration allows no groups (`check` says so),
//! and this book says `resource local` for the sake of nodes of the original.

mod standby;

pub(crate) use standby::{Cause, Conversation, Heard, Role, Step, WORK_LIMIT, on_ask};

use crate::action::Cancellation;
use crate::config::Failback;
use crate::ids::{ClientId, NodeId, Seq};
use crate::mark::Of;
use crate::membership::Liveness;
use crate::resource::{Claim, PeerView, Phase, Proof, View};
use crate::wire::message::Holding;
use alloc::vec::Vec;

/// What this book remembers of what it decided and said.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, all combinations occur")]
#[derive(Clone, Debug, Default, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Book {
    /// The classes whose groups are wanted here.
    pub(crate) hold: Holding,
    /// The last full `resource` we said: holding and stability. `None` makes us say it again.
    pub(crate) said: Option<(Holding, bool)>,
    pub(crate) starting_said: bool,
    /// `foreign` came to us by a death, so it goes back on its own (c.6).
    pub(crate) needs_failback: bool,
    /// The peer claims what we hold and is expected to release it.
    pub(crate) contested: bool,
    /// It has not for a dead time.
    pub(crate) outlasted: bool,
    pub(crate) shutdone_said: bool,
    pub(crate) conversation: Option<Conversation>,
    pub(crate) takeover: Option<Takeover>,
    /// A `done` that fits nothing we know, and its set: it may have overtaken what it belongs to.
    pub(crate) early: Option<(Of<Seq>, Holding)>,
}

/// Our own `hb_takeover`, which waits for the other node's standby.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Takeover {
    /// What we asked for, seen from here.
    pub(crate) set: Holding,
    /// Then go standby with the foreign groups: `takeover failback`.
    pub(crate) then_failback: bool,
    /// Who asked.
    pub(crate) client: ClientId,
}

/// What a rule wants done. The evidence goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// Begin to hold a class.
    Acquire { set: Holding, because: Because },
    /// Cease to hold a class.
    Release { set: Holding, because: Because },
    /// The peer claims our local class: say that we hold it.
    Contest { with: NodeId },
    /// The peer has released what was contested: announce our addresses again.
    Uncontest,
    /// Say `starting`.
    SayStarting,
    /// Say `resource`.
    SayResource { hold: Holding, stable: bool, info: Option<&'static str> },
    /// All is released: say `shutdone` and linger.
    SayShutdone,
    /// Begin to give `set` to `to`.
    BeginStandby { set: Holding, to: NodeId, cause: Cause },
    /// All groups of the conversation's set are stopped: say `done`.
    ReleaseDone,
    /// All groups of the conversation's set run: say `done`; the conversation is over.
    AcquireDone,
    /// The peer has taken everything over: the conversation is over.
    Taken,
    /// The conversation cannot go on.
    Cancel(Cancellation),
}

/// Which rule; the node adds names and times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Because {
    Alone,
    Preferred,
    Dead(NodeId),
    Gone(NodeId),
    Conflict(NodeId),
    /// Both held ours, and the other one does not give it up.
    Outlasted(NodeId),
    Overslept(NodeId),
    Stopping,
}

/// The first rule that wants something.
pub(crate) fn decide(view: &View, book: &Book) -> Option<Intent> {
    match view.phase {
        Phase::Joining => None,
        Phase::Stopping => stop(view, book),
        Phase::Doubting => ask(book).or_else(|| yield_what_was_taken(view, book)),
        Phase::Active => ask(book)
            .or_else(|| standby::proceed(view, book))
            .or_else(|| local(view, book))
            .or_else(|| takeover(view, book))
            .or_else(|| conflict(view, book))
            .or_else(|| failback(view, book))
            .or_else(|| say(view, book)),
    }
}

fn stop(view: &View, book: &Book) -> Option<Intent> {
    if book.conversation.is_some() {
        return Some(Intent::Cancel(Cancellation::Stopping));
    }
    if !book.hold.is_none() {
        return Some(Intent::Release { set: book.hold, because: Because::Stopping });
    }
    if book.said != Some((Holding::NONE, false)) {
        return Some(Intent::SayResource { hold: Holding::NONE, stable: false, info: Some("shutdown") });
    }
    // A group that is stuck may still run: its peers must not hear that all is released.
    let released = view.groups.iter().all(|group| group.doing.is_down());
    (released && !book.shutdone_said).then_some(Intent::SayShutdone)
}

fn yield_what_was_taken(view: &View, book: &Book) -> Option<Intent> {
    view.peers.iter().find_map(|peer| {
        let theirs = peer.claim.filter(|_| !peer.is_out())?.hold.exchanged();
        let set = book.hold.minus(book.hold.minus(theirs));
        (!set.is_none()).then_some(Intent::Release { set, because: Because::Overslept(peer.node) })
    })
}

fn ask(book: &Book) -> Option<Intent> {
    (!book.starting_said).then_some(Intent::SayStarting)
}

/// Whether nothing that `peer` does or may do keeps us from our local groups.
fn leaves_us_our_own(peer: &crate::resource::PeerView) -> bool {
    peer.leaves_ours()
        || peer.liveness == Liveness::Active && peer.claim.is_some_and(|claim| !claim.hold.foreign && !claim.releasing)
}

fn local(view: &View, book: &Book) -> Option<Intent> {
    if book.hold.local || book.conversation.is_some() || !view.peers.iter().all(leaves_us_our_own) {
        return None;
    }
    let because = match view.peers.as_slice() {
        [] => Because::Alone,
        peers => match peers.iter().find(|peer| peer.is_out()) {
            Some(peer) if peer.gone => Because::Gone(peer.node),
            Some(peer) => Because::Dead(peer.node),
            None => Because::Preferred,
        },
    };
    Some(Intent::Acquire { set: Holding::LOCAL, because })
}

fn takeover(view: &View, book: &Book) -> Option<Intent> {
    let peer = view.single_peer()?;
    if book.hold.foreign || book.conversation.is_some() || !peer.is_released() {
        return None;
    }
    let because = if peer.gone { Because::Gone(peer.node) } else { Because::Dead(peer.node) };
    Some(Intent::Acquire { set: Holding::FOREIGN, because })
}

/// Who must be reset before we can take what we would hold (CLUSTER c.5, f.2).
pub(crate) fn needs_proof(view: &View, book: &Book) -> Vec<NodeId> {
    let lacks = !book.hold.local || view.single_peer().is_some() && !book.hold.foreign;
    if view.phase != Phase::Active || book.conversation.is_some() || !lacks {
        return Vec::new();
    }
    let silent = |peer: &&PeerView| peer.is_out() && !peer.gone && peer.proof == Proof::Wanted;
    view.peers.iter().filter(silent).map(|peer| peer.node).collect()
}

/// The claim of a peer at rest: active, not in the middle of giving something away.
fn resting(peer: &crate::resource::PeerView) -> Option<Claim> {
    peer.claim.filter(|claim| peer.liveness == Liveness::Active && !peer.gone && !claim.releasing)
}

fn conflict(view: &View, book: &Book) -> Option<Intent> {
    let peer = view.single_peer()?;
    if book.conversation.is_some() {
        return None;
    }
    // What it claims it holds, whatever it is releasing beside that.
    let claim = peer.claim.filter(|_| peer.liveness == Liveness::Active && !peer.gone);
    let claimed = claim.map_or(Holding::NONE, |claim| claim.hold);
    if book.hold.foreign && claimed.local {
        return Some(Intent::Release { set: Holding::FOREIGN, because: Because::Conflict(peer.node) });
    }
    if book.outlasted && book.hold.local && claimed.foreign {
        // A 3.0.6 that meets another owner for the first time in its life keeps everything; without failback it never offers
        // what is ours (scenario P16). One owner is better than two.
        return Some(Intent::Release { set: Holding::LOCAL, because: Because::Outlasted(peer.node) });
    }
    match (book.hold.local && claimed.foreign, book.contested) {
        (true, false) => Some(Intent::Contest { with: peer.node }),
        (false, true) => Some(Intent::Uncontest),
        _ => None,
    }
}

fn failback(view: &View, book: &Book) -> Option<Intent> {
    let peer = view.single_peer()?;
    let wanted = view.failback == Failback::On && book.needs_failback && book.hold.foreign;
    let possible = book.conversation.is_none()
        && book.takeover.is_none()
        && resting(peer).is_some_and(|claim| claim.stable)
        && is_stable(view, book);
    (wanted && possible).then_some(Intent::BeginStandby {
        set: Holding::FOREIGN,
        to: peer.node,
        cause: Cause::Failback,
    })
}

fn say(view: &View, book: &Book) -> Option<Intent> {
    let now = (book.hold, is_stable(view, book));
    // In a conversation both count each other as unstable by themselves, and its end says what came of it. A word in between
    // that is lost and sent again would come after the last one, and a 3.0.6 goes by the order of arrival: it would count us
    // as unstable, or as the owner of what we gave, until the next change (interop, `loss`).
    if book.conversation.is_some() && book.said.is_some_and(|(_, stable)| stable) {
        return None;
    }
    let info = book.conversation.as_ref().and_then(Conversation::info).or_else(|| releasing(view, book));
    (book.said != Some(now)).then_some(Intent::SayResource { hold: now.0, stable: now.1, info })
}

/// The `info` that tells the other node to wait: what we do not claim may still run here (*ours*; the original says so in
/// a standby only). Without it a node that is preferred would start what the loser of a conflict is still stopping.
fn releasing(view: &View, book: &Book) -> Option<&'static str> {
    let mut given = view.groups_in(Holding::ALL.minus(book.hold));
    given.any(|group| !group.doing.is_down()).then_some("standby")
}

/// Whether nothing of ours is in motion or undecided (`isstable`, CLUSTER c.2).
///
/// *Ours*: the original calls itself stable before its scripts have run (c.3).
pub(crate) fn is_stable(view: &View, book: &Book) -> bool {
    view.phase == Phase::Active
        && book.conversation.is_none()
        && view.is_settled()
        && (book.hold.local || view.peers.iter().any(|peer| peer.claim.is_some_and(|claim| claim.hold.foreign)))
}

#[cfg(test)]
mod tests;
