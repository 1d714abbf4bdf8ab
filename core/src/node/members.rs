//! Who joins and leaves a running cluster. Read CLUSTER b.9 first.
//!
//! | what happens | without haresources | with haresources |
//! |---|---|---|
//! | an unknown name is heard | with `autojoin other`, `any` it is added, that packet is dropped | refused |
//! | `addnode` | added | added, while at most 16 nodes share groups |
//! | `delnode` | removed if it is dead and all others are there | the same, unless it is the home of groups |
//! | a node list on our way in | who is on it is added, who was deleted is removed | a difference is told |
//!
//! *Ours*: the original removes whoever is not on that list, which lets a node that knows less shrink the cluster. Only
//! those that the list calls deleted are removed here.
//!
//! hostcache and delhostcache are written whenever they change. Nothing is written back to ha.cf; with haresources what
//! changed on the run is forgotten at the next start, as by the original.

use super::Node;
use crate::action::{Action, StateFile};
use crate::config::hostcache::{self, WEIGHT};
use crate::config::{Autojoin, Config, Hostcache, KnownNode, NotANewNode};
use crate::deadlines::Timer;
use crate::drop_reason::DropReason;
use crate::event::Event;
use crate::ids::{MediumId, NodeId, NodeUuid};
use crate::membership::{Lifecycle, Liveness, MembershipChange, NodeTable, NotRemoved, Peer, Source};
use crate::rng::Lanes;
use crate::time::Instant;
use crate::wire::Message;
use crate::wire::message::RepNodes;
use alloc::borrow::Cow;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

/// Bytes of a site that are kept.
const SITE_MAX: usize = 255;

/// Makes the nodes that hostcache names members, unless they are already; those of ha.cf come first.
pub(super) fn recall(config: &mut Config, nodes: &mut NodeTable, cache: &Hostcache, now: Instant, lanes: &mut Lanes) {
    cache.deleted.iter().for_each(|node| nodes.delete(node.clone()));
    for known in &cache.nodes {
        let id = match config.node_named(&known.name) {
            Some(id) => id,
            None => match config.add_node(&known.name) {
                Ok(id) => {
                    nodes.add(id, config.media().len(), now, lanes);
                    id
                }
                Err(_) => continue,
            },
        };
        if let Some(peer) = nodes.get_mut(id) {
            if id != config.local() {
                peer.uuid = known.uuid;
            }
            peer.weight = known.weight;
            peer.site.clone_from(&known.site);
        }
    }
}

impl Node {
    fn note(&mut self, change: MembershipChange) {
        self.report(Event::Membership(change));
    }

    // --- by command

    pub(super) fn on_add_nodes(&mut self, from: NodeId, names: &[Cow<'_, str>]) {
        let by = Source::Command(self.name(from));
        for name in names {
            self.add(name, &by);
        }
    }

    pub(super) fn on_delete_nodes(&mut self, from: NodeId, names: &[Cow<'_, str>]) {
        let by = Source::Command(self.name(from));
        for name in names {
            match self.may_remove(name) {
                Ok(id) => self.remove(id, &by),
                Err(why) => self.note(MembershipChange::NotRemoved { node: name.to_string(), why }),
            }
        }
    }

    pub(super) fn on_set_weight(&mut self, name: &str, weight: u32) {
        self.set(name, "weight", weight.to_string(), |peer| peer.weight = weight);
    }

    pub(super) fn on_set_site(&mut self, name: &str, site: &str) {
        let site: String = site.chars().filter(|c| !c.is_control()).take(SITE_MAX).collect();
        self.set(name, "site", site.clone(), |peer| peer.site = site);
    }

    fn set(&mut self, name: &str, what: &'static str, value: String, set: impl FnOnce(&mut Peer)) {
        let known = self.config.node_named(name);
        let Some((id, peer)) = known.and_then(|id| Some((id, self.nodes.get_mut(id)?))) else {
            return self.note(MembershipChange::NotSet { node: name.to_string(), what });
        };
        set(peer);
        self.note(MembershipChange::Set { node: self.name(id), what, value });
        self.keep_members();
    }

    /// Whether a node may go: it is dead, and everybody else is there to let it go as well.
    fn may_remove(&self, name: &str) -> Result<NodeId, NotRemoved> {
        let id = self.config.node_named(name).ok_or(NotRemoved::Unknown)?;
        if id == self.config.local() || self.nodes.get(id).is_some_and(|peer| peer.liveness != Liveness::Dead) {
            return Err(NotRemoved::Alive);
        }
        let missing = self.nodes.others().find(|(other, peer)| *other != id && !peer.liveness.is_live());
        if let Some((other, _)) = missing {
            return Err(NotRemoved::Missing(self.name(other)));
        }
        if self.config.is_home(id) { Err(NotRemoved::Home) } else { Ok(id) }
    }

    // --- by being heard, and on our way in

    /// A packet that the keys of the cluster signed, of a name that nobody knows: `autojoin` makes it a member, or the
    /// name that its uuid goes by from now on. The packet itself goes no further (WIRE 8).
    pub(super) fn on_unknown(&mut self, medium: MediumId, message: &Message<'_>) {
        let name = message.header.src.as_ref();
        let refused = DropReason::UnknownNode(name.to_string());
        let may_join = self.config.autojoin() != Autojoin::None && !self.config.manages_resources();
        let fits = self.config.can_add(name);
        if !may_join || self.nodes.is_deleted(name) || !matches!(fits, Ok(()) | Err(NotANewNode::Full)) {
            return self.complain(medium, refused);
        }
        let uuid = message.header.src_uuid.filter(|uuid| *uuid != NodeUuid::ZERO);
        let same = self.nodes.iter().find(|(_, peer)| uuid.is_some() && peer.uuid == uuid).map(|(id, _)| id);
        match same {
            // Two that claim one identity at a time are not one node that was renamed.
            Some(id) if self.nodes.get(id).is_some_and(|peer| peer.liveness.is_live()) || id == self.config.local() => {
                self.complain(medium, refused);
            }
            Some(id) => {
                let from = self.name(id);
                self.config.change(|config| config.rename_node(id, name));
                self.nodes.forget_copies();
                self.note(MembershipChange::Renamed { from, to: self.name(id) });
                self.keep_members();
            }
            None if fits.is_ok() => {
                self.add(name, &Source::Heard);
                if let Some(peer) = self.config.node_named(name).and_then(|id| self.nodes.get_mut(id)) {
                    peer.uuid = uuid;
                }
                self.keep_members();
            }
            None => self.complain(medium, refused),
        }
    }

    /// What we tell a node that asks for the list.
    pub(super) fn members_told(&self) -> RepNodes<'static> {
        RepNodes {
            nodes: self.config.present().map(|(_, node)| Cow::Owned(node.name.clone())).collect(),
            deleted: self.nodes.deleted().iter().map(|node| Cow::Owned(node.name.clone())).collect(),
        }
    }

    /// *Ours*: with haresources a list that differs is told, not adopted. There the file is what the administrator meant,
    /// and the original forgets the difference at its next start anyway (CLUSTER b.9).
    pub(super) fn compare_node_list(&mut self, from: NodeId, list: &RepNodes<'_>) {
        let mut theirs: Vec<String> = list.nodes.iter().map(|name| name.to_ascii_lowercase()).collect();
        if self.config.manages_resources() {
            let mut ours: Vec<String> = self.config.present().map(|(_, node)| node.name.clone()).collect();
            theirs.sort_unstable();
            ours.sort_unstable();
            if theirs != ours {
                let node = self.name(from);
                self.report(Event::NodeListDiffers { node, ours: ours.join(" "), theirs: theirs.join(" ") });
            }
            return;
        }
        let by = Source::ListOf(self.name(from));
        for name in list.deleted.iter().filter(|name| !name.trim().is_empty()) {
            match self.config.node_named(name) {
                Some(id) if id == self.config.local() => {
                    self.note(MembershipChange::WeAreRemoved { by: self.name(from) });
                    return self.begin_stop();
                }
                Some(id) if self.nodes.get(id).is_some_and(|peer| !peer.liveness.is_live()) => self.remove(id, &by),
                Some(_) => {}
                None => self.nodes.delete(KnownNode {
                    name: name.to_ascii_lowercase(),
                    uuid: None,
                    weight: WEIGHT,
                    site: String::new(),
                }),
            }
        }
        theirs.retain(|name| self.config.node_named(name).is_none());
        for name in theirs {
            self.add(&name, &by);
        }
        self.keep_members();
    }

    // --- both ways

    fn add(&mut self, name: &str, by: &Source) {
        let id = match self.config.change(|config| config.add_node(name)) {
            Ok(id) => id,
            Err(why) => return self.note(MembershipChange::NotAdded { node: name.to_string(), why }),
        };
        self.nodes.pardon(name);
        self.nodes.add(id, self.config.media().len(), *self.now, &mut self.lanes);
        self.note(MembershipChange::Added { node: self.name(id), by: by.clone() });
        if self.life != Lifecycle::Booting {
            self.rearm_death(id);
        }
        self.keep_members();
    }

    /// Takes a node out that is not heard, with all that is known of it.
    fn remove(&mut self, id: NodeId, by: &Source) {
        if self.config.is_home(id) {
            return self.note(MembershipChange::NotRemoved { node: self.name(id), why: NotRemoved::Home });
        }
        let node = self.name(id);
        self.forget_claim(id);
        self.sender.forget(id);
        self.deadlines.clear(Timer::NodeDead(id));
        self.deadlines.clear(Timer::Rexmit(id));
        for medium in (0..self.config.media().len()).filter_map(|medium| u16::try_from(medium).ok()) {
            self.deadlines.clear(Timer::LinkDead(id, MediumId(medium)));
        }
        self.config.change(|config| config.remove_node(id));
        self.nodes.remove(id, &node);
        self.note(MembershipChange::Removed { node: node.clone(), by: by.clone() });
        self.offer_removal(&node);
        self.keep_members();
        self.note_dialect();
        self.go_on_joining();
    }

    /// Has the files written of which the text changed.
    fn keep_members(&mut self) {
        let known = self.config.present().filter_map(|(id, node)| {
            let peer = self.nodes.get(id)?;
            let uuid = if id == self.config.local() { Some(self.boot.uuid) } else { peer.uuid };
            Some(KnownNode { name: node.name.clone(), uuid, weight: peer.weight, site: peer.site.clone() })
        });
        let members = (!self.config.manages_resources()).then(|| hostcache::text(&known.collect::<Vec<_>>()));
        let deleted = hostcache::text(self.nodes.deleted());
        for (file, text) in [(StateFile::Hostcache, members), (StateFile::Delhostcache, Some(deleted))] {
            let Some(text) = text else { continue };
            let digest = crate::digest::digest_of(&text);
            if self.written.insert(file, digest) != Some(digest) {
                self.actions.0.push(Action::Persist { file, text });
            }
        }
    }

    /// The uuid of a node became known, or another.
    pub(super) fn learn_uuid(&mut self, node: NodeId, uuid: NodeUuid) {
        let Some(peer) = self.nodes.get_mut(node) else { return };
        if peer.uuid.replace(uuid) != Some(uuid) && !self.config.manages_resources() {
            self.keep_members();
        }
    }

    /// Writes both files at the start, so that they are there.
    pub(super) fn begin_keeping_members(&mut self) {
        if !self.config.manages_resources() {
            self.keep_members();
        }
    }
}
