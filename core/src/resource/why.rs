//! The evidence for a decision about groups.

use crate::input::Which;
use crate::time::Millis;
use crate::wire::message::Unable;
use alloc::string::String;
use core::fmt;
use core::time::Duration;

/// Why groups run here, or do not. Each variant is one rule; its line names rule and evidence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub enum Why {
    /// CLUSTER c.5: the other node was silent for the dead time it announced.
    PeerDead {
        /// The dead node.
        node: String,
        /// How long it was silent.
        silent: Duration,
        /// Its dead time.
        limit: Duration,
    },
    /// CLUSTER b.2: the other node was not heard within `initdead` of our start.
    PeerNeverHeard {
        /// The node.
        node: String,
    },
    /// CLUSTER b.4 (5): the other node said `shutdone`.
    PeerGone {
        /// The node.
        node: String,
    },
    /// CLUSTER c.3: they are preferred here, and every other node is dead, or active and has said that it does not
    /// hold them.
    Preferred,
    /// No other node is configured.
    Alone,
    /// CLUSTER c.7: the other node released them and handed them over.
    HandedOver {
        /// Who.
        by: String,
        /// The set, seen from the node that gave.
        set: Which,
    },
    /// CLUSTER c.7: given to the other node because the operator of either node said so.
    Standby {
        /// To whom.
        to: String,
        /// The set, seen from here.
        set: Which,
    },
    /// CLUSTER c.6: given back to the node that is preferred, which is stable again.
    Failback {
        /// To whom.
        to: String,
    },
    /// CLUSTER k.1b: both nodes claimed them at contact, and the preferred node keeps them. *Ours.*
    Conflict {
        /// With whom.
        with: String,
    },
    /// It holds them as we do, and has not given them up for a dead time.
    Outlasted {
        /// The other node.
        with: String,
    },
    /// F18: this node did not run for longer than its dead time, and the other node took them over. *Ours.*
    Overslept {
        /// Who has them.
        node: String,
    },
    /// OWNERSHIP 3 (4): the preferred node cannot, and this is the first that can.
    FirstAble,
    /// OWNERSHIP 3 (3) b: the node that ran it was fenced, or is down in an operator's word.
    Fenced {
        /// The node.
        node: String,
        /// Who says so, if not a device of this node.
        by: Option<String>,
    },
    /// OWNERSHIP 4: its owner released it and named this node.
    GivenBy {
        /// The former owner.
        node: String,
    },
    /// OWNERSHIP 4: an operator wants it there.
    MovedTo {
        /// The new owner.
        node: String,
    },
    /// OWNERSHIP 4: too few nodes have heard this one recently; the others may take the group.
    Minority {
        /// How old the newest heartbeat is that any of them has heard; `None` if none ever did.
        heard: Option<Duration>,
        /// The self deadline.
        limit: Duration,
    },
    /// OWNERSHIP 4: a live node does not hear this one, and may take the group.
    Deaf {
        /// The node.
        node: String,
        /// How long it has not heard us.
        silent: Duration,
    },
    /// OWNERSHIP 4: both owned it, and the other has held it longer.
    LostTo {
        /// The node that keeps it.
        node: String,
    },
    /// CLUSTER e.2: they reach different numbers of ping nodes and groups.
    Reach {
        /// The other node.
        node: String,
        /// How many it reaches.
        theirs: u32,
        /// How many this node reaches.
        ours: u32,
    },
    /// Nothing was decided: this node reaches none of its ping nodes, and another one is silent.
    CutOff {
        /// The silent node.
        node: String,
    },
    /// This node may not start it.
    Unable(Unable),
    /// This node said only lately that it is able again.
    AbleAgain,
    /// Scenario S7: its preferred node lives and signs with another key.
    Strange {
        /// The node.
        node: String,
    },
    /// The node that may run it is dead for less than `takeover_delay`.
    Delayed {
        /// The node.
        node: String,
        /// How much later than its death its groups are taken.
        delay: Duration,
    },
    /// Nothing was decided: a live node does not consent.
    NoConsent {
        /// The node.
        node: String,
    },
    /// Nothing was decided: there is no proof that a silent node does not run it.
    NoProof {
        /// The node.
        node: String,
    },
    /// Nothing was decided: no majority consents.
    NoMajority,
    /// This node is shutting down.
    Stopping,
    /// The other node holds them.
    HeldBy {
        /// The node.
        node: String,
    },
    /// Nothing was decided: some node was neither heard nor is it dead.
    Unheard {
        /// The node.
        node: String,
    },
    /// Nothing was decided: a live node has not said what it holds.
    Unanswered {
        /// The node.
        node: String,
    },
    /// Nothing was decided: the groups are being moved.
    Moving,
    /// Nothing was decided: our own start is not complete.
    Joining,
    /// The preferred node lives and may take them.
    LeftToPreferred {
        /// The preferred node.
        node: String,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::PeerDead { node, silent, limit } => {
                write!(
                    f,
                    "node {node} is dead: silent for {} ms, its dead time is {} ms",
                    Millis(*silent),
                    Millis(*limit)
                )
            }
            Why::PeerNeverHeard { node } => write!(f, "node {node} was not heard within initdead"),
            Why::PeerGone { node } => write!(f, "node {node} has released everything and said goodbye"),
            Why::Preferred => f.write_str("preferred here, and no other node holds them"),
            Why::Alone => f.write_str("no other node is configured"),
            Why::HandedOver { by, set } => write!(f, "{by} released [{}] and handed over", set.word()),
            Why::Standby { to, set } => write!(f, "standby [{}]: handed over to {to}", set.word()),
            Why::Failback { to } => write!(f, "auto_failback: preferred node {to} is back and stable"),
            Why::Conflict { with } => write!(f, "both this node and {with} held them; the preferred node keeps them"),
            Why::Outlasted { with } => {
                write!(f, "both this node and {with} have held them for a dead time, and {with} does not give them up")
            }
            Why::Overslept { node } => {
                write!(f, "this node did not run for longer than its dead time, and {node} took them over")
            }
            Why::FirstAble => f.write_str("the preferred node cannot run it, and this is the first that can"),
            Why::Fenced { node, by: None } => write!(f, "node {node} was fenced"),
            Why::Fenced { node, by: Some(by) } => write!(f, "node {node} runs nothing, as {by} knows"),
            Why::GivenBy { node } => write!(f, "{node} released it and handed it over"),
            Why::MovedTo { node } => write!(f, "handed over to {node}, as an operator wants"),
            Why::Minority { heard: Some(heard), limit } => write!(
                f,
                "no majority has heard this node for {} ms ({} ms are allowed), so others may take it",
                Millis(*heard),
                Millis(*limit)
            ),
            Why::Minority { heard: None, .. } => f.write_str("no majority has heard this node yet"),
            Why::Deaf { node, silent } => write!(
                f,
                "node {node} lives and has not heard this node for {} ms, so that it may take it",
                Millis(*silent)
            ),
            Why::LostTo { node } => write!(f, "both this node and {node} ran it, and {node} has held it longer"),
            Why::Reach { node, theirs, ours } => {
                write!(f, "this node reaches {ours} of its ping nodes, node {node} reaches {theirs}")
            }
            Why::CutOff { node } => write!(
                f,
                "waiting: this node reaches none of its ping nodes, so that silent node {node} may be the one that still serves"
            ),
            Why::Unable(unable) => write!(f, "this node is not able to run it: {}", unable.word()),
            Why::AbleAgain => f.write_str("waiting: this node is able again, which a silent node may not know yet"),
            Why::Strange { node } => {
                write!(f, "left to {node}, which lives: what comes from it is signed with a key that is not ours")
            }
            Why::Delayed { node, delay } => {
                write!(f, "waiting: what {node} may still run is taken {} ms after its death", Millis(*delay))
            }
            Why::NoConsent { node } => write!(f, "waiting: node {node} does not consent"),
            Why::NoProof { node } => {
                write!(f, "no proof that node {node} does not run it: it is silent, and was not fenced")
            }
            Why::NoMajority => f.write_str("waiting: no majority of the nodes consents"),
            Why::Stopping => f.write_str("this node is shutting down"),
            Why::HeldBy { node } => write!(f, "{node} says that it holds them"),
            Why::Unheard { node } => write!(f, "waiting: node {node} was neither heard nor declared dead"),
            Why::Unanswered { node } => write!(f, "waiting: node {node} has not said what it holds"),
            Why::Moving => f.write_str("being moved"),
            Why::Joining => f.write_str("waiting: communication is not up"),
            Why::LeftToPreferred { node } => write!(f, "left to {node}, which is preferred and lives"),
        }
    }
}
