//! Ping nodes are asked, answer, fall silent. Read `ping.rs` first.

use super::Node;
use crate::action::{Action, Urgency};
use crate::auth::Framing;
use crate::client::Filter;
use crate::config::Medium;
use crate::deadlines::Timer;
use crate::drop_reason::DropReason;
use crate::event::Event;
use crate::ids::MediumId;
use crate::membership::Liveness;
use crate::wire::message::{PingStatus, StatusWord};
use crate::wire::{Body, Header, Message};
use alloc::borrow::Cow;
use alloc::string::ToString;
use alloc::vec::Vec;

impl Node {
    /// Each ping node has its dead time from the start on.
    pub(super) fn expect_pings(&mut self) {
        let media: Vec<MediumId> = self.pings.iter().map(|node| node.medium).collect();
        for medium in media {
            self.rearm_ping(medium);
        }
    }

    fn rearm_ping(&mut self, medium: MediumId) {
        self.deadlines.set(Timer::PingDead(medium), self.now.plus(self.config.timing().deadping()));
    }

    /// One message to each ping node, as if from itself.
    #[expect(clippy::expect_used, reason = "what it says is a configured name, never outside data")]
    pub(super) fn send_pings(&mut self) {
        let config = self.config.clone();
        let ts = self.unix_time();
        for node in self.pings.iter() {
            let Some(medium) = config.media().get(node.medium.index()) else { continue };
            let header = Header::new(medium.name.as_str(), ts);
            let info = Cow::Borrowed(medium.kind.ping_info());
            let message = Message { header, body: Body::PingStatus(PingStatus { word: StatusWord::Ping, info }) };
            let frame = config
                .keyring()
                .seal(message.to_fields(), Framing::Echo, config.sealing())
                .expect("a configured name, which every encoding carries");
            self.actions.0.push(Action::Send { medium: node.medium, frame, urgency: Urgency::Heartbeat });
        }
    }

    /// What an echo brought back: only the ping node's own message means anything (WIRE 13).
    pub(super) fn on_echo(&mut self, id: MediumId, medium: &Medium, bytes: &[u8]) {
        let message = match super::traffic::accept(&self.config.clone(), bytes) {
            Ok(message) => message
                .header
                .src
                .eq_ignore_ascii_case(&medium.name)
                .then_some(message.body)
                .ok_or_else(|| DropReason::UnknownNode(message.header.src.to_string())),
            Err(reason) => Err(reason),
        };
        match message {
            Ok(Body::PingStatus(status)) if status.info == medium.kind.ping_info() => self.hear_ping(id, medium, bytes),
            Ok(_) => self.complain(id, DropReason::UnknownNode(medium.name.clone())),
            Err(reason) => self.complain(id, reason),
        }
    }

    fn hear_ping(&mut self, id: MediumId, medium: &Medium, bytes: &[u8]) {
        let now = *self.now;
        let Some(node) = self.pings.get_mut(id) else { return };
        node.heard = crate::mark::Aside(Some(now));
        let before = core::mem::replace(&mut node.liveness, Liveness::Ping);
        self.rearm_ping(id);
        if before == Liveness::Ping {
            return self.offer_frame(Filter::NO_CHANGE, bytes);
        }
        let node = medium.name.clone();
        self.offer_link(&node, &node, true);
        self.offer_frame(Filter::KEEP, bytes);
        self.report(Event::Link { node: node.clone(), medium: node.clone(), up: true });
        self.report(Event::NodeStatus { node, liveness: Liveness::Ping });
        self.go_on_joining();
    }

    pub(super) fn on_ping_silent(&mut self, id: MediumId) {
        let (now, started, limit) = (*self.now, self.started, self.config.timing().deadping());
        let name = self.medium_name(id);
        let Some(node) = self.pings.get_mut(id) else { return };
        let was_up = core::mem::replace(&mut node.liveness, Liveness::Dead) == Liveness::Ping;
        let heard = *node.heard;
        let silent = now.since(heard.unwrap_or(started));
        self.report(Event::NodeDead { node: name.clone(), silent, limit, never_heard: heard.is_none() });
        let info = self.config.media().get(id.index()).map(|medium| medium.kind.ping_info());
        self.offer_dead(name.clone(), info);
        if was_up {
            self.offer_link(&name, &name, false);
            self.report(Event::Link { node: name.clone(), medium: name, up: false });
        }
        self.go_on_joining();
    }

    /// After a time in which we asked nobody, each has a whole dead time again.
    pub(super) fn grant_pings_a_dead_time(&mut self) {
        let silent = |node: &&crate::ping::PingNode| node.liveness != Liveness::Dead;
        let media: Vec<MediumId> = self.pings.iter().filter(silent).map(|node| node.medium).collect();
        for medium in media {
            self.rearm_ping(medium);
        }
    }
}
