//! What operators ask of a native cluster: groups moved, and told when that is done (CLUSTER c.7, c.8).
//!
//! A group that we own is handed over; one that another node owns is asked for in our claims, and its owner hands it over.
//! A request is answered when every group of it has arrived, or cannot.

use super::Node;
use crate::action::{Action, Cancellation, Refusal, Response};
use crate::event::Event;
use crate::ids::{ClientId, GroupId, NodeId};
use crate::input::{Request, Which};
use crate::membership::Lifecycle;
use crate::resource::Doing;
use crate::resource::native::{self, Because, Handover, Look};
use crate::wire::message::{Claimed, Unable};
use alloc::vec::Vec;

/// Requests that wait at a time.
const WAITING_MAX: usize = 64;

/// A request under way.
#[derive(Clone, Debug, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Move {
    /// Who asked; nobody for a request that came by a message.
    client: Option<ClientId>,
    /// The set of a standby.
    set: Option<Which>,
    /// Nothing of it runs here any more.
    is_released: bool,
    /// The groups that have not arrived yet, and whether they are to come here.
    groups: Vec<(GroupId, bool)>,
    /// A group that could not be moved.
    failed: Option<Cancellation>,
}

/// How far a group is on its way.
enum Progress {
    Underway,
    Arrived,
    Failed(Cancellation),
}

/// What is to become of a group.
#[derive(Clone, Copy)]
enum Wish {
    Give(NodeId),
    Take,
}

impl Node {
    /// A client's request in native mode.
    pub(super) fn on_move(&mut self, client: ClientId, request: Request) {
        if let Err(refusal) = self.begin_move(Some(client), request) {
            self.actions.0.push(Action::Reply { client, response: Response::Refused(refusal) });
        }
    }

    /// Begins to move groups.
    pub(super) fn begin_move(&mut self, client: Option<ClientId>, request: Request) -> Result<(), Refusal> {
        if !self.config.manages_resources() {
            return Err(Refusal::Unmanaged);
        }
        match self.life {
            Lifecycle::Active => {}
            Lifecycle::Booting | Lifecycle::Joining(_) => return Err(Refusal::LocalFlux),
            Lifecycle::Stopping | Lifecycle::Lingering | Lifecycle::Ended => return Err(Refusal::Stopping),
        }
        if self.moves.len() >= WAITING_MAX {
            return Err(Refusal::LocalFlux);
        }
        let wishes = self.wishes(request)?;
        if let Request::Standby(set) = request {
            self.report(Event::StandbyAsked { node: self.name(self.config.local()), set });
        }
        let groups = wishes.iter().map(|(group, wish)| (*group, matches!(wish, Wish::Take))).collect();
        for (group, wish) in wishes {
            self.begin_wish(group, wish, request);
        }
        let set = if let Request::Standby(set) = request { Some(set) } else { None };
        self.moves.push(Move { client, set, is_released: false, groups, failed: None });
        Ok(())
    }

    /// What a request means for each group that it is about; those that are where they are wanted are left out.
    fn wishes(&self, request: Request) -> Result<Vec<(GroupId, Wish)>, Refusal> {
        let view = self.ownership_view(&mut Look::default());
        if !view.peers.iter().any(native::PeerView::is_live) {
            return Err(Refusal::NoPeer);
        }
        if !self.moves.is_empty() || self.ledger.entries().iter().any(|entry| entry.memory.handover.is_some()) {
            return Err(Refusal::LocalFlux);
        }
        let gives = |peer: &native::PeerView| {
            let claims = self.ledger.entries().iter().filter_map(|entry| entry.claim(peer.node));
            let mut claims = claims;
            claims.any(|claim| claim.wanted || claim.successor.is_some())
        };
        if view.live().any(gives) {
            return Err(Refusal::PeerFlux);
        }
        let me = self.config.local();
        self.refuse_by_name(&view, request)?;
        let mut wishes = Vec::new();
        for (id, config) in (0..).map(GroupId).zip(self.config.groups()) {
            let Some(group) = self.group_view(id.index()) else { continue };
            let is_local = config.home == me;
            let owned = group.owned().is_some();
            let wish = match request {
                Request::Standby(which) if owned && is_meant(which, is_local) => {
                    let to =
                        if which == Which::Failback { Some(config.home) } else { native::successor(&view, &group) };
                    let able = |to: &NodeId| view.peer(*to).is_some_and(|peer| native::can_take(&view, &group, peer));
                    Wish::Give(to.filter(able).ok_or(Refusal::NoTaker)?)
                }
                Request::Give { group: only, to } if owned && only.is_none_or(|only| only == id) => {
                    let to = to.or_else(|| native::successor(&view, &group));
                    let able = |to: &NodeId| view.peer(*to).is_some_and(|peer| native::can_take(&view, &group, peer));
                    Wish::Give(to.filter(able).ok_or(Refusal::NoTaker)?)
                }
                Request::Takeover(Which::Failback) if owned && !is_local => {
                    let home = view.peer(config.home).filter(|peer| native::can_take(&view, &group, peer));
                    Wish::Give(home.map(|peer| peer.node).ok_or(Refusal::NoTaker)?)
                }
                Request::Takeover(_) | Request::Take { .. } if !owned && self.is_asked(request, id, is_local) => {
                    if let Some(unable) = native::unable(&view, &group) {
                        return Err(Refusal::Unable(unable));
                    }
                    if native::is_outdone(&view, &group, &view.reach) {
                        return Err(Refusal::Unable(Unable::Isolated));
                    }
                    Wish::Take
                }
                _ => continue,
            };
            if group.memory.own.is_some_and(|_| group.doing != Doing::Running) {
                return Err(Refusal::LocalFlux);
            }
            wishes.push((id, wish));
        }
        Ok(wishes)
    }

    /// What is asked of a group or a node by name must be possible as it was said.
    fn refuse_by_name(&self, view: &native::View, request: Request) -> Result<(), Refusal> {
        let runs = |node: NodeId, group: Option<GroupId>| {
            let mut entries = self.ledger.entries().iter().enumerate();
            entries.any(|(slot, entry)| {
                let is_it = group.is_none_or(|group| group.index() == slot);
                let owns = |entry: &native::Entry| {
                    if node == view.me {
                        entry.memory.own.is_some_and(|own| own.held.is_some())
                    } else {
                        entry.claim(node).is_some_and(native::Claim::owns)
                    }
                };
                is_it && owns(entry)
            })
        };
        match request {
            Request::Give { group, .. } if !runs(view.me, group) => Err(Refusal::NotHere),
            Request::Take { from: Some(node), .. } if node == view.me => Err(Refusal::NotThere),
            Request::Take { group, from: Some(node) } if !runs(node, group) => Err(Refusal::NotThere),
            _ => Ok(()),
        }
    }

    /// Whether a request to take is about a group that we do not run.
    fn is_asked(&self, request: Request, id: GroupId, is_local: bool) -> bool {
        match request {
            Request::Takeover(which) => is_wanted(which, is_local),
            Request::Take { group, from } => {
                let entry = self.ledger.entries().get(id.index());
                let runs_there = |node| entry.and_then(|entry| entry.claim(node)).is_some_and(native::Claim::owns);
                group.is_none_or(|group| group == id) && from.is_none_or(runs_there)
            }
            _ => false,
        }
    }

    fn begin_wish(&mut self, group: GroupId, wish: Wish, request: Request) {
        let now = *self.now;
        match wish {
            Wish::Take => {
                if let Some(memory) = self.ledger.memory_mut(group) {
                    memory.wanted = Some(now);
                }
            }
            Wish::Give(to) => {
                let failback =
                    matches!(request, Request::Standby(Which::Failback) | Request::Takeover(Which::Failback));
                // Where it belongs it does not stay because an operator said so.
                let home = self.config.groups().get(group.index()).map(|group| group.home);
                let home = failback || matches!(request, Request::Give { .. }) && home == Some(to);
                let because = if home { Because::Failback(to) } else { Because::Operator(to) };
                if let Some(memory) = self.ledger.memory_mut(group) {
                    memory.handover = Some(Handover { to, because, offered: now, released: None });
                }
            }
        }
    }

    /// Whoever waits for groups is told when the last of them has arrived, or cannot.
    pub(super) fn answer_moves(&mut self) {
        let mut moves = core::mem::take(&mut self.moves);
        for one in &mut moves {
            let is_released = one.groups.iter().all(|(group, taken)| !taken && self.executor.doing(*group).is_down());
            if let Some(set) = one.set.filter(|_| is_released && !core::mem::replace(&mut one.is_released, is_released))
            {
                self.report(Event::StandbyReleased { set });
            }
            let mut failed = None;
            one.groups.retain(|(group, taken)| match self.progress(*group, *taken) {
                Progress::Underway => true,
                Progress::Arrived => false,
                Progress::Failed(why) => {
                    failed = Some(why);
                    false
                }
            });
            one.failed = failed.or(one.failed.take());
        }
        for one in moves.extract_if(.., |one| one.groups.is_empty()) {
            match (&one.failed, one.set) {
                (None, Some(set)) => self.report(Event::StandbyTaken { set }),
                (Some(why), _) => self.report(Event::StandbyCancelled { why: why.clone() }),
                (None, None) => {}
            }
            if let Some(client) = one.client {
                let response = one.failed.map_or(Response::Done, Response::Cancelled);
                self.actions.0.push(Action::Reply { client, response });
            }
        }
        self.moves = moves;
    }

    fn progress(&self, group: GroupId, taken: bool) -> Progress {
        let Some(entry) = self.ledger.entries().get(group.index()) else { return Progress::Arrived };
        let memory = &entry.memory;
        let doing = self.executor.doing(group);
        let there = |state: Claimed| entry.all_claims().any(|claim| claim.state == state);
        let arrived = if taken { memory.own.is_some() && doing == Doing::Running } else { there(Claimed::Running) };
        if !taken && doing == Doing::Stuck {
            // The offer stands, for whoever repairs it; nobody waits for that.
            Progress::Failed(Cancellation::StopFailed)
        } else if memory.handover.is_some() || memory.wanted.is_some() {
            Progress::Underway
        } else if arrived {
            Progress::Arrived
        } else if !taken && there(Claimed::Starting) {
            Progress::Underway
        } else {
            Progress::Failed(match doing {
                Doing::Stuck => Cancellation::StopFailed,
                Doing::Failed => Cancellation::StartFailed,
                _ if taken => Cancellation::NotGiven,
                _ => Cancellation::NotTaken,
            })
        }
    }

    /// The node leaves, or the classic book takes over: nobody waits any longer.
    pub(super) fn cancel_moves(&mut self, why: &Cancellation) {
        for one in core::mem::take(&mut self.moves) {
            if let Some(client) = one.client {
                self.actions.0.push(Action::Reply { client, response: Response::Cancelled(why.clone()) });
            }
        }
    }
}

/// Whether a standby with this set is about a group of that class that we own.
fn is_meant(which: Which, is_local: bool) -> bool {
    match which {
        Which::All => true,
        Which::Local => is_local,
        Which::Foreign | Which::Failback => !is_local,
    }
}

/// Whether a takeover with this set asks for a group of that class.
fn is_wanted(which: Which, is_local: bool) -> bool {
    match which {
        Which::All => true,
        Which::Local | Which::Failback => is_local,
        Which::Foreign => !is_local,
    }
}
