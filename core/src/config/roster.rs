//! Who belongs to the cluster: the nodes of ha.cf, and who came and left since (CLUSTER b.9).
//!
//! Everything refers to a node by its position, so nobody moves: who was removed leaves a place behind, which the next
//! one takes. Invariants: names of those present are unique; the local node is present; there are at most
//! [`NODES_MAX`] places.

use super::ha_cf::{NAME_MAX, NODES_MAX};
use super::haresources::OWNERS_MAX;
use super::{Config, Span};
use crate::ids::NodeId;
use alloc::string::String;
use alloc::vec::Vec;

/// A member of the cluster, past or present.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub struct NodeConfig {
    /// The lower-cased name, at most 99 bytes.
    pub name: String,
    /// Where ha.cf names it; absent if it came by another way.
    pub span: Option<Span>,
    /// Whether it was removed since.
    pub removed: bool,
}

/// One entry of what clients call the node list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub enum Member {
    /// A node.
    Node(NodeId),
    /// A ping node or ping group, by its position in [`Config::ping_names`].
    Ping(u16),
}

/// Why a name cannot become that of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotANewNode {
    /// It is one.
    #[error("there is a node of that name already")]
    Exists,
    /// It is that of a ping node.
    #[error("it is a ping node")]
    Ping,
    /// It is empty, too long, or has blanks or control characters.
    #[error("it cannot be the name of a node")]
    Name,
    /// There is no place.
    #[error("a cluster has at most 100 nodes, ping nodes included")]
    Full,
    /// Groups are shared by at most so many.
    #[error("as many nodes share the groups of haresources as may")]
    Owners,
}

/// The nodes, and the order in which clients see them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Roster {
    pub(super) nodes: Vec<NodeConfig>,
    pub(super) members: Vec<Member>,
}

/// Whether it can be the name of a node.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_MAX && !name.chars().any(|c| c.is_control() || c.is_whitespace())
}

impl Config {
    /// Every place, in the order of ha.cf and then of arrival; [`NodeId`] is the position. Some may be those of removed
    /// nodes.
    pub fn nodes(&self) -> &[NodeConfig] {
        &self.roster.nodes
    }

    /// The members of the cluster.
    pub fn present(&self) -> impl Iterator<Item = (NodeId, &NodeConfig)> + Clone {
        (0..).map(NodeId).zip(&self.roster.nodes).filter(|(_, node)| !node.removed)
    }

    /// The node of that identifier, also if it was removed.
    pub fn node(&self, id: NodeId) -> Option<&NodeConfig> {
        self.roster.nodes.get(id.index())
    }

    /// The member of that name, in any case.
    pub fn node_named(&self, name: &str) -> Option<NodeId> {
        self.present().find(|(_, node)| node.name.eq_ignore_ascii_case(name)).map(|(id, _)| id)
    }

    /// Nodes and ping nodes together, in the order of ha.cf and then of arrival.
    pub fn members(&self) -> &[Member] {
        &self.roster.members
    }

    /// Whether `name` could be that of one more node.
    pub(crate) fn can_add(&self, name: &str) -> Result<(), NotANewNode> {
        let present = self.present().count();
        if self.node_named(name).is_some() {
            Err(NotANewNode::Exists)
        } else if self.ping_names.iter().any(|ping| ping.eq_ignore_ascii_case(name)) {
            Err(NotANewNode::Ping)
        } else if !is_name(name) {
            Err(NotANewNode::Name)
        } else if present.saturating_add(self.ping_names.len()) >= NODES_MAX {
            Err(NotANewNode::Full)
        } else if present >= OWNERS_MAX && !self.groups.is_empty() {
            Err(NotANewNode::Owners)
        } else {
            Ok(())
        }
    }

    /// Gives a new node a place: that of a removed one, or one at the end.
    pub(crate) fn add_node(&mut self, name: &str) -> Result<NodeId, NotANewNode> {
        self.can_add(name)?;
        let node = NodeConfig { name: name.to_ascii_lowercase(), span: None, removed: false };
        let Roster { nodes, members } = &mut self.roster;
        let at = nodes.iter().position(|node| node.removed).unwrap_or(nodes.len());
        let id = NodeId(u16::try_from(at).map_err(|_| NotANewNode::Full)?);
        match nodes.get_mut(at) {
            Some(place) => *place = node,
            None => nodes.push(node),
        }
        members.push(Member::Node(id));
        Ok(id)
    }

    /// Whether groups have their home at the node, so that it cannot go.
    pub(crate) fn is_home(&self, id: NodeId) -> bool {
        self.groups.iter().any(|group| group.home == id)
    }

    /// Takes a node out, which is neither the local one nor a home of groups.
    pub(crate) fn remove_node(&mut self, id: NodeId) {
        debug_assert!(id != self.local && !self.is_home(id), "the caller asked");
        if let Some(node) = self.roster.nodes.get_mut(id.index()) {
            node.removed = true;
        }
        self.roster.members.retain(|member| *member != Member::Node(id));
    }

    /// A node goes by another name from now on.
    pub(crate) fn rename_node(&mut self, id: NodeId, name: &str) {
        if let Some(node) = self.roster.nodes.get_mut(id.index()) {
            node.name = name.to_ascii_lowercase();
        }
    }

    /// The names of the nodes that ha.cf gives and that are members still, for the plan of a reload.
    pub(super) fn names_of_ha_cf(&self) -> Vec<String> {
        self.present().filter(|(_, node)| node.span.is_some()).map(|(_, node)| node.name.clone()).collect()
    }

    /// The same with the ping nodes between them.
    pub(super) fn order_of_ha_cf(&self) -> Vec<&str> {
        let name = |member: &Member| match *member {
            Member::Node(id) => self.node(id).filter(|node| node.span.is_some()).map(|node| node.name.as_str()),
            Member::Ping(at) => self.ping_names.get(usize::from(at)).map(String::as_str),
        };
        self.roster.members.iter().filter_map(name).collect()
    }

    /// Who belongs to the cluster now, for recordings.
    #[cfg(feature = "trace")]
    pub(crate) fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The same with the members that were recorded; `None` if they cannot be those of this configuration.
    #[cfg(feature = "trace")]
    pub(crate) fn with_roster(mut self, roster: Roster) -> Option<Config> {
        let same = |config: &Config, roster: &Roster| {
            let local = roster.nodes.get(config.local.index());
            local.is_some_and(|node| !node.removed && node.name == config.local_name())
                && roster.nodes.len() <= NODES_MAX
                && roster.nodes.len() >= config.roster.nodes.len()
                && config.groups.iter().all(|group| roster.nodes.get(group.home.index()).is_some_and(|n| !n.removed))
                && roster.members.iter().all(|member| match *member {
                    Member::Node(id) => roster.nodes.get(id.index()).is_some_and(|node| !node.removed),
                    Member::Ping(at) => usize::from(at) < config.ping_names.len(),
                })
        };
        if !same(&self, &roster) {
            return None;
        }
        self.roster = roster;
        Some(self)
    }
}
