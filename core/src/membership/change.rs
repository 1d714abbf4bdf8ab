//! What changed about who belongs to the cluster, for the log (CLUSTER b.9).

use crate::config::NotANewNode;
use crate::event::Level;
use alloc::string::String;
use core::fmt;

/// A change of the membership, or why there was none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MembershipChange {
    /// A node is a member from now on.
    Added {
        /// Its name.
        node: String,
        /// How it came.
        by: Source,
    },
    /// A node was to become a member and did not.
    NotAdded {
        /// Its name, or what was given for one.
        node: String,
        /// Why not.
        why: NotANewNode,
    },
    /// A node is a member no more.
    Removed {
        /// Its name.
        node: String,
        /// Who wanted it.
        by: Source,
    },
    /// A node was to be removed and was not.
    NotRemoved {
        /// Its name, or what was given for one.
        node: String,
        /// Why not.
        why: NotRemoved,
    },
    /// The node of a uuid goes by another name.
    Renamed {
        /// The former name.
        from: String,
        /// The name from now on.
        to: String,
    },
    /// Weight or site were set.
    Set {
        /// The node.
        node: String,
        /// `weight` or `site`.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// Weight or site of a node that is none were to be set.
    NotSet {
        /// What was given for a node.
        node: String,
        /// `weight` or `site`.
        what: &'static str,
    },
    /// The others have removed this node.
    WeAreRemoved {
        /// Who says so.
        by: String,
    },
}

/// How a change came about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// By an administrator's command, said by this node.
    Command(String),
    /// It is on the list of this node.
    ListOf(String),
    /// It was heard (`autojoin`).
    Heard,
}

/// Why a node stays a member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NotRemoved {
    /// It is none.
    Unknown,
    /// It is not dead.
    Alive,
    /// Another node is not there to hear of it.
    Missing(String),
    /// haresources names it as the home of groups.
    Home,
}

impl MembershipChange {
    /// How much it matters.
    pub(crate) fn level(&self) -> Level {
        match self {
            MembershipChange::Added { .. } | MembershipChange::Removed { .. } | MembershipChange::Set { .. } => {
                Level::Info
            }
            MembershipChange::Renamed { .. } => Level::Warn,
            MembershipChange::NotAdded { .. }
            | MembershipChange::NotRemoved { .. }
            | MembershipChange::NotSet { .. } => Level::Error,
            MembershipChange::WeAreRemoved { .. } => Level::Crit,
        }
    }
}

impl fmt::Display for MembershipChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MembershipChange::Added { node, by } => write!(f, "Adding new node[{node}] to configuration. ({by})"),
            MembershipChange::NotAdded { node, why: why @ NotANewNode::Exists } => {
                write!(f, "node({}) already exists: {why}", node.escape_debug())
            }
            MembershipChange::NotAdded { node, why } => write!(f, "Add node {} failed: {why}", node.escape_debug()),
            MembershipChange::Removed { node, by } => write!(f, "Removing node [{node}] from configuration. ({by})"),
            MembershipChange::NotRemoved { node, why } => {
                let node = node.escape_debug();
                match why {
                    NotRemoved::Unknown => write!(f, "deletion failed: node {node} does not exist"),
                    NotRemoved::Alive => write!(f, "deletion failed: node {node} is not dead"),
                    NotRemoved::Missing(other) => write!(
                        f,
                        "deletion of {node} failed. We don't have all required nodes alive ({other} is dead or not heard yet)"
                    ),
                    NotRemoved::Home => {
                        write!(f, "deletion failed: haresources names {node} as the home of resource groups")
                    }
                }
            }
            MembershipChange::Renamed { from, to } => {
                write!(f, "node {from} is called {to} from now on: its uuid is the same")
            }
            MembershipChange::Set { node, what, value } => {
                write!(f, "{what} of node {node} is now [{}]", value.escape_debug())
            }
            MembershipChange::NotSet { node, what } => {
                write!(f, "{what} of node {} not set: there is no such node", node.escape_debug())
            }
            MembershipChange::WeAreRemoved { by } => {
                write!(f, "this node was removed from the cluster (node list of {by}): it gives up everything and ends")
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Command(node) => write!(f, "by command on {node}"),
            Source::ListOf(node) => write!(f, "by the node list of {node}"),
            Source::Heard => write!(f, "it was heard: autojoin"),
        }
    }
}
