//! The native rule book: per-group ownership, at most one owner. Read OWNERSHIP first.
//!
//! [`decide`] looks at one group in the whole situation and names one thing to do; it is asked again until it names
//! nothing. It is a pure function of its view: what was said and heard, and what we remember. Every rule is a condition
//! on the present, so that a lost or late message delays a decision and never turns it.
//!
//! | rule | file | when | what |
//! |---|---|---|---|
//! | follow, 6 | here | what runs here has no attempt, or the attempt has failed | take it on, or drop it |
//! | duty, 4 | `release` | a release duty applies | release; an attempt that only asks is withdrawn |
//! | conflict, 4 | `conflict` | two nodes own it | the first of them in order judges, alone |
//! | handover, 4 | `release` | the preferred node is back, an operator wants it, or another node is connected better (`reach`) | release it, naming the successor |
//! | consent, 3 (3) | `start` | a live node asks and we vouch for everybody else | consent to it, exclusively |
//! | withdraw, 3 | `start` | a higher epoch asks, or nobody answers for D | ask no more, yield 2D |
//! | act, 3 | `start` | all conditions hold, enough consent | start it |
//! | ask, 3 | `start` | all conditions hold, nobody asks | publish a new epoch |
//!
//! Safety (O1): whoever acts has, in one view, the word of every node that matters that nothing runs there, and their
//! consent to this very epoch; a consent is given to one epoch at a time and holds until its claim changes or its author
//! is out. *Ours, beyond OWNERSHIP 4*: an owner that hands over stops nothing before the successor it names has asked, so
//! that no group is stopped for a node that just died (scenario T12). Others consent when the owner has said `stopped`, not
//! meanwhile.

mod conflict;
mod ledger;
mod reach;
mod release;
mod start;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use ledger::{Entry, Ledger, Said, words};
pub(crate) use reach::is_outdone;
pub(crate) use release::{can_take, successor};
pub(crate) use start::{Obstacle, is_out_to_all, needs_proof, unable, waiting_for};
pub use view::Exclusion;
pub(crate) use view::{Claim, Epoch, GroupView, Handover, Memory, Own, PeerView, Reach, Standing, Times, View};

use crate::ids::NodeId;
use crate::resource::Doing;
use crate::time::Instant;
use alloc::vec::Vec;

/// What the rule wants done with a group. The evidence goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// What runs here came from the classic book: it is an attempt of ours from now on.
    Adopt,
    /// Our attempt has failed, and nothing of it runs: it is over.
    Drop,
    /// Publish a new epoch.
    Ask,
    /// Ask no more; with `yields` let others try first.
    Withdraw { yields: bool },
    /// Start the group.
    Act { because: Because },
    /// Stop the group.
    Release { because: Because },
    /// Name who is to start the group when we have stopped it.
    HandOver { to: NodeId, because: Because },
    /// The successor has it, or will not take it.
    EndHandover { taken: bool },
    /// Vouch for everybody else towards the author of this epoch.
    Consent(Epoch),
    /// What we consented to is over.
    EndConsent,
    /// We keep it: these are to release it.
    Win { over: Vec<Epoch> },
    /// Both own it: until that is decided nothing else is.
    Contest { with: NodeId },
    /// The others have released it: it is ours alone, and everybody is to know.
    EndContest,
    /// Our wish to have it is fulfilled, or hopeless.
    EndWish { fulfilled: bool },
}

/// Which rule; the node adds names and times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Because {
    /// No other node is configured.
    Alone,
    /// We are its preferred node, and nobody runs it.
    Preferred,
    /// The preferred node cannot; we are the first that can.
    FirstAble,
    /// It said goodbye.
    Gone(NodeId),
    /// It is silent for its dead time.
    Dead(NodeId),
    /// It was fenced.
    Fenced(NodeId),
    /// Its owner handed it to us.
    HandedOver(NodeId),
    /// It goes back to the preferred node.
    Failback(NodeId),
    /// An operator of this node gives it there.
    Operator(NodeId),
    /// An operator of that node wants it there.
    Wanted(NodeId),
    /// We shut down.
    Stopping,
    /// Too few have heard us recently.
    Minority,
    /// It lives and does not hear us: it will take the group.
    Deaf(NodeId),
    /// Both owned it, and it held it longer.
    Lost(NodeId),
    /// It reaches more ping nodes than we, or fewer.
    Reach(NodeId),
}

/// The earliest time at which a rule may want something though nothing happens until then.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look(pub(crate) Option<Instant>);

impl Look {
    pub(crate) fn at(&mut self, at: Instant) {
        self.0 = Some(self.0.map_or(at, |known| known.min(at)));
    }

    /// Whether it is that time; if not, it is to be looked again then.
    pub(crate) fn is_due(&mut self, view: &View, at: Instant) -> bool {
        if view.now >= at {
            return true;
        }
        self.at(at);
        false
    }
}

/// The first rule that wants something of this group.
pub(crate) fn decide(view: &View, group: &GroupView<'_>, look: &mut Look) -> Option<Intent> {
    follow(group)
        .or_else(|| release::duty_to(view, group, look))
        .or_else(|| conflict::judge(view, group, look))
        .or_else(|| release::hand_over(view, group, look))
        .or_else(|| start::consent(view, group))
        .or_else(|| start::start(view, group, look))
}

/// Keeps our attempt in step with what runs.
fn follow(group: &GroupView<'_>) -> Option<Intent> {
    match (group.doing, group.owned()) {
        (Doing::Starting | Doing::Running, None) => Some(Intent::Adopt),
        (Doing::Failed | Doing::Stuck, Some(_)) => Some(Intent::Drop),
        _ => None,
    }
}
