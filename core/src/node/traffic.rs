//! Bytes in, bytes out. Read WIRE 6, 7 and 9 first.

use super::Node;
use super::relay::kind_of;
use crate::action::{Action, Frame, Urgency};
use crate::auth::Framing;
use crate::client::Filter;
use crate::config::Config;
use crate::deadlines::Timer;
use crate::delivery::{Answer, Arrival, REQUEST_DELAY_MIN, Run, runs};
use crate::digest::digest_of;
use crate::drop_reason::DropReason;
use crate::event::Event;
use crate::ids::{MediumId, NodeId, NodeUuid, Seq};
use crate::input::Carrier;
use crate::membership::{Fence, Liveness};
use crate::rng::Lane;
use crate::time::{Instant, UnixTime};
use crate::wire::message::{Ack, Nak, Rexmit};
use crate::wire::{self, Body, EncodeError, Header, Message};
use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

/// What a UDP datagram over IPv4 holds. A longer message could be sent on no medium, and asked for by all for ever.
const DATAGRAM_MAX: usize = 65_507;
/// Why a message is given up that was asked for in vain.
const LEFT_HISTORY: &str = "its sender keeps only the last 500";
/// Refusals of one kind are logged at most this often; the others are counted.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// Refusals of one kind.
#[derive(Clone, Copy, Debug, Default, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Drops {
    pub(super) count: u64,
    suppressed: u64,
    complained: Option<Instant>,
}

impl Node {
    pub(super) fn on_frame(&mut self, medium: MediumId, bytes: &[u8]) {
        // The keys are read while the node changes; sharing them costs one reference count.
        let config = self.config.clone();
        let known = config.media().get(medium.index());
        if let Some(known) = known.filter(|known| known.kind.is_ping()) {
            return self.on_echo(medium, known, bytes);
        }
        if known.is_some() && self.sender.is_newest_frame(bytes) {
            // Our own broadcast comes back: to the byte what we just signed, so it need not be verified.
            return self.hear_link(self.config.local(), medium);
        }
        if let Some(from) = known.and_then(|_| self.nodes.copy_of(bytes)) {
            // The same by another medium.
            self.hear_link(from, medium);
            return self.offer_frame(Filter::DUPLICATE, bytes);
        }
        let received = match known {
            None => Err(DropReason::NoSuchMedium),
            Some(_) => accept(&config, bytes),
        };
        let message = match received {
            Ok(message) => message,
            Err(reason) => {
                if matches!(reason, DropReason::Auth(_)) {
                    self.note_stranger(bytes);
                }
                return self.complain(medium, reason);
            }
        };
        // Who sent it: a name. The uuid travels with the name and is learned, not searched for (*ours*: with `autojoin
        // none` a renamed node is an unknown one).
        match config.node_named(&message.header.src) {
            Some(from) if from == config.local() => self.on_own(medium, &message),
            Some(from) => self.on_message(medium, from, &message, bytes),
            None => self.on_unknown(medium, &message),
        }
    }

    /// Somebody who bears a node's name and has other keys than we lives, though nothing that it says can be believed
    /// (scenario S7). Once a node was heard properly what is not signed changes nothing.
    fn note_stranger(&mut self, bytes: &[u8]) {
        if !self.nodes.others().any(|(_, peer)| peer.heard.is_none()) {
            return;
        }
        let Ok(packet) = wire::decode(bytes) else { return };
        let Ok(header) = Header::read(&packet.fields) else { return };
        let Some(from) = self.config.node_named(&header.src) else { return };
        let (now, initdead) = (*self.now, self.started.plus(self.initdead()));
        let Some(peer) = self.nodes.get_mut(from).filter(|peer| peer.heard.is_none() && !peer.gone) else { return };
        if from == self.config.local() {
            return;
        }
        if peer.liveness == Liveness::Dead {
            // It comes late; nothing is taken from it from now on, whatever proved before that it is down.
            peer.liveness = Liveness::Init;
            peer.fence = Fence::Unneeded;
        }
        let is_new = peer.strange.replace(now).is_none();
        self.cease_fire(from);
        if is_new {
            self.report(Event::Stranger { node: self.name(from) });
        }
        self.rearm_death(from);
        // It was waited for long enough then.
        if !self.life.is_started() {
            self.deadlines.set(Timer::Autojoin, initdead.max(now));
        }
    }

    /// Our own packet came back: the medium works both ways (CLUSTER a.2). It was acted on when it was sent.
    fn on_own(&mut self, medium: MediumId, message: &Message<'_>) {
        if let Some(generation) = message.header.generation.filter(|generation| *generation > self.boot.generation) {
            return self.complain(medium, DropReason::OwnName(generation));
        }
        self.hear_link(self.config.local(), medium);
    }

    fn on_message(&mut self, medium: MediumId, from: NodeId, message: &Message<'_>, bytes: &[u8]) {
        let generation = message.header.generation.unwrap_or_default();
        let Some(peer) = self.nodes.get_mut(from) else { return };
        if let Some(uuid) = message.header.src_uuid.filter(|uuid| peer.uuid != Some(*uuid))
            && generation >= peer.receiver.generation()
        {
            self.learn_uuid(from, uuid);
        }
        let Some(peer) = self.nodes.get_mut(from) else { return };
        let Some(seq) = message.header.seq else {
            // `NS_` types have no number; those of an earlier life are as void as others.
            if generation < peer.receiver.generation() {
                let now = peer.receiver.generation();
                return self.complain(medium, DropReason::Replay { node: self.name(from), got: generation, now });
            }
            self.hear_link(from, medium);
            self.offer_heard(from, None, message, bytes);
            self.on_unsequenced(medium, from, message);
            return self.offer_complete(from);
        };
        let is_status = matches!(message.body, Body::Status(_));
        if is_status && generation > peer.receiver.generation() {
            self.on_restart(from, generation);
        }
        let Some(peer) = self.nodes.get_mut(from) else { return };
        let arrival = peer.receiver.classify(generation, seq);
        if arrival.shows_link() {
            self.hear_link(from, medium);
        }
        match arrival {
            Arrival::Replay => {
                let now = self.nodes.get(from).map(|peer| peer.receiver.generation()).unwrap_or_default();
                self.complain(medium, DropReason::Replay { node: self.name(from), got: generation, now });
            }
            Arrival::Duplicate => self.offer_frame(Filter::DUPLICATE, bytes),
            Arrival::AheadOfStatus | Arrival::Stale => {}
            Arrival::InOrder | Arrival::Recovered | Arrival::Gap { .. } | Arrival::StartOver { .. } => {
                self.take_in(from, arrival, seq);
                if let Some(peer) = self.nodes.get_mut(from).filter(|peer| peer.receiver.newest() == Some(seq)) {
                    peer.last_heard.note(bytes);
                }
                self.offer_heard(from, Some(seq), message, bytes);
                if self.is_addressed(&message.header) {
                    self.on_sequenced(from, seq, message);
                }
                self.offer_complete(from);
            }
        }
    }

    /// Whether a message is for us (WIRE 9.2): by uuid where the sender knows it, else by name; without `dest` for all.
    pub(super) fn is_addressed(&self, header: &Header<'_>) -> bool {
        match (header.dest_uuid, &header.dest) {
            (Some(uuid), _) if uuid != NodeUuid::ZERO => uuid == self.boot.uuid,
            (_, Some(dest)) => dest.eq_ignore_ascii_case(self.config.local_name()),
            (_, None) => true,
        }
    }

    /// Brings the sequence of `from` up to date, asks for what is missing, acknowledges.
    fn take_in(&mut self, from: NodeId, arrival: Arrival, seq: Seq) {
        let (now, most, pace) = (*self.now, self.config.max_rexmit_delay(), self.config.repair_pace());
        // WIRE 9.3: uniform between 50 ms and the maximum; from 0 if the maximum is below 100 ms.
        let least = if most < REQUEST_DELAY_MIN.saturating_mul(2) { Duration::ZERO } else { REQUEST_DELAY_MIN };
        let spread = u64::try_from(most.saturating_sub(least).as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let Some(peer) = self.nodes.get_mut(from) else { return };
        let lanes = &mut self.lanes;
        let newest = peer.receiver.newest();
        let mut delay = || least.saturating_add(Duration::from_millis(lanes.below(Lane::RexmitDelay, spread)));
        let lost = if let Some(at_once) = pace.slow {
            let first = now.plus(delay());
            let mut asked = 0_usize..;
            peer.receiver.accept(arrival, seq, || {
                let turn = asked.next().unwrap_or_default().checked_div(at_once).unwrap_or_default();
                first.plus(pace.repeat.saturating_mul(u32::try_from(turn).unwrap_or(u32::MAX)))
            })
        } else {
            peer.receiver.accept(arrival, seq, || now.plus(delay()))
        };
        let (next, missing) = (peer.receiver.next_request(), peer.receiver.missing());
        let acknowledged = peer.receiver.acknowledge(arrival, seq);
        self.deadlines.set_or_clear(Timer::Rexmit(from), next);
        match arrival {
            Arrival::Gap { .. } => {
                let (first, before) = (newest.map_or(seq, Seq::next), Seq(seq.0.saturating_sub(1)));
                self.report(Event::Lost { node: self.name(from), first, last: before });
            }
            Arrival::StartOver { .. } => {
                let (first, before) = (newest.map_or(seq, Seq::next), Seq(seq.0.saturating_sub(1)));
                self.report(Event::StartedOver { node: self.name(from), first, last: before });
            }
            Arrival::Recovered if missing == 0 => self.report(Event::NothingMissing { node: self.name(from) }),
            _ => {}
        }
        let why = if matches!(arrival, Arrival::StartOver { .. }) { "too much is missing" } else { LEFT_HISTORY };
        self.give_up(from, lost, why);
        if let Some(seq) = acknowledged {
            self.send(Body::Ack(Ack { seq }), Some(from));
        }
    }

    /// Messages of `from` that can no longer come are told, never passed over in silence.
    pub(super) fn give_up(&mut self, from: NodeId, lost: Vec<Run>, why: &str) {
        for (first, last) in lost {
            self.report(Event::GivenUp { node: self.name(from), first, last, reason: why.to_string() });
        }
    }

    /// Requests, refusals and acknowledgements (WIRE 9).
    fn on_unsequenced(&mut self, medium: MediumId, from: NodeId, message: &Message<'_>) {
        let to_us = self.is_addressed(&message.header);
        match &message.body {
            Body::Rexmit(request) if to_us => {
                let pace = self.config.repair_pace();
                let quiet = if pace.slow.is_some() {
                    // What was asked for waits in queues of unknown length.
                    pace.repeat.checked_div(2).unwrap_or_default()
                } else {
                    pace.repeat.saturating_sub(Duration::from_millis(10))
                };
                let Some(answers) = self.sender.answer(*self.now, from, request.first, request.last, quiet) else {
                    return self.complain(medium, DropReason::TooManyRequests(self.name(from)));
                };
                for answer in answers {
                    match answer {
                        Answer::Again(frame) => self.transmit(&frame, Urgency::Repair),
                        Answer::Nak(first, info) => {
                            self.send(Body::Nak(Nak { first, info: Cow::Borrowed(info) }), Some(from));
                        }
                    }
                }
            }
            // Everybody who hears it gives the number up, not only the one it is addressed to (WIRE 15).
            Body::Nak(nak) => {
                let Some(peer) = self.nodes.get_mut(from) else { return };
                let waited = peer.receiver.give_up(nak.first);
                let next = peer.receiver.next_request();
                self.deadlines.set_or_clear(Timer::Rexmit(from), next);
                if waited {
                    self.give_up(from, alloc::vec![(nak.first, nak.first)], &nak.info);
                }
            }
            Body::Ack(ack) if to_us && !self.sender.acknowledge(from, ack.seq) => {
                let newest = self.sender.newest();
                self.report(Event::ImpossibleAck { node: self.name(from), seq: ack.seq, newest });
            }
            _ => {}
        }
    }

    pub(super) fn ask_for_missing(&mut self, node: NodeId) {
        let (now, pace) = (*self.now, self.config.repair_pace());
        let Some(peer) = self.nodes.get_mut(node) else { return };
        if !peer.liveness.is_live() {
            // WIRE 9.3: only who is up or active is asked; on its return the sequence tells what is missing.
            let lost = peer.receiver.forget_missing();
            return self.give_up(node, lost, "its sender is not heard");
        }
        // With much missing each number waits its turn, so that requests have their share of a slow line and no more.
        let turns = pace.slow.map_or(1, |at_once| peer.receiver.missing().div_ceil(at_once));
        let repeat = pace.repeat.saturating_mul(u32::try_from(turns).unwrap_or(u32::MAX));
        let due = peer.receiver.due_requests(now, repeat);
        self.deadlines
            .set_or_clear(Timer::Rexmit(node), self.nodes.get(node).and_then(|peer| peer.receiver.next_request()));
        if pace.slow.is_some() {
            for (first, last) in runs(due.into_iter()) {
                self.send(Body::Rexmit(Rexmit { first, last }), Some(node));
            }
            return;
        }
        for seq in due {
            self.send(Body::Rexmit(Rexmit { first: seq, last: seq }), Some(node));
        }
    }

    /// What waited for earlier messages of `from` is told as soon as none of them is missing.
    fn offer_complete(&mut self, from: NodeId) {
        if self.nodes.get(from).is_some_and(|peer| peer.receiver.missing() == 0) {
            self.offer_held(from);
        }
    }

    /// Says something that is made of configured names and numbers.
    #[expect(clippy::expect_used, reason = "of what a message may hold that cannot be sent, none is in ours")]
    pub(super) fn send(&mut self, body: Body<'_>, dest: Option<NodeId>) {
        self.post(body, dest).expect("messages of our own are made of what every encoding carries");
    }

    /// Encodes, signs, numbers and sends one message to everybody, or with `dest` for one node (on all media as well).
    /// Fails if it holds what must not be sent, or more than a datagram does; then nothing was said.
    pub(super) fn post(&mut self, body: Body<'_>, dest: Option<NodeId>) -> Result<(), EncodeError> {
        let sequenced = !body.is_unsequenced();
        let urgency = Urgency::of(&body);
        let config = &self.config;
        let dest_name = dest.and_then(|dest| config.node(dest)).map(|node| node.name.as_str());
        let dest_uuid = dest.map(|dest| self.nodes.get(dest).and_then(|peer| peer.uuid).unwrap_or_default());
        // What it says, whenever and under whatever number it is said.
        let meaning = digest_of(&(body.meaning(), dest));
        let dest = (dest_name.map(Cow::Borrowed), dest_uuid);
        let message = Message { header: self.header(dest, sequenced.then(|| self.sender.next())), body };
        let frame = config.keyring().seal(message.to_fields(), Framing::Datagram, config.sealing())?;
        if frame.len() > DATAGRAM_MAX {
            return Err(EncodeError::TooLong { bytes: frame.len() });
        }
        let kind = kind_of(&message.body);
        if sequenced {
            self.sender.keep(frame.clone(), meaning);
        }
        self.transmit(&frame, urgency);
        self.offer_frame(kind, &frame);
        if sequenced {
            self.keep_ahead();
        }
        Ok(())
    }

    /// The header of a message of ours, now: for everybody or for one node, with this number if its kind has one.
    pub(super) fn header<'a>(&'a self, dest: (Option<Cow<'a, str>>, Option<NodeUuid>), seq: Option<Seq>) -> Header<'a> {
        Header {
            src: Cow::Borrowed(self.config.local_name()),
            src_uuid: Some(self.boot.uuid),
            dest: dest.0,
            dest_uuid: dest.1,
            seq,
            generation: Some(self.boot.generation),
            ts: self.unix_time(),
            load: seq.map(|_| Cow::Borrowed(self.load.as_str())),
            ttl: Some(self.config.ttl()),
        }
    }

    /// Sends a packet on all media that reach members.
    fn transmit(&mut self, packet: &Frame, urgency: Urgency) {
        let frames = on_media(&self.config, packet);
        self.actions.0.extend(frames.map(|(medium, frame)| Action::Send { medium, frame, urgency }));
    }

    /// The wall clock, advanced by the monotonic one since it was last read; never zero, which receivers refuse (WIRE 7).
    pub(super) fn unix_time(&self) -> UnixTime {
        let (read, time) = *self.wall_clock;
        UnixTime(time.0.saturating_add(self.now.since(read).as_secs()).max(1))
    }

    pub(super) fn complain(&mut self, medium: MediumId, reason: DropReason) {
        let drops = self.drops.entry(reason.kind()).or_default();
        drops.count = drops.count.saturating_add(1);
        if drops.complained.is_some_and(|at| self.now.since(at) < COMPLAIN_EVERY) {
            drops.suppressed = drops.suppressed.saturating_add(1);
            return;
        }
        drops.complained = Some(*self.now);
        let suppressed = core::mem::take(&mut drops.suppressed);
        self.report(Event::Dropped { medium: self.medium_name(medium), reason, suppressed });
    }

    /// Something of `node` came by `medium`: its link lives for the node's dead time (CLUSTER a.2; *ours*: that of the
    /// node itself, not of the last one configured).
    fn hear_link(&mut self, node: NodeId, medium: MediumId) {
        let now = *self.now;
        let deadtime = self.config.timing().deadtime();
        let Some(peer) = self.nodes.get_mut(node) else { return };
        let came_up = peer.links.hear(now, medium);
        let limit = peer.dead_time.unwrap_or(deadtime);
        if node != self.config.local() {
            self.deadlines.set(Timer::LinkDead(node, medium), now.plus(limit));
        }
        if came_up {
            self.report_link(node, medium, true);
        }
    }

    pub(super) fn on_link_silent(&mut self, node: NodeId, medium: MediumId) {
        if self.nodes.get_mut(node).is_some_and(|peer| peer.links.bury(medium)) {
            self.report_link(node, medium, false);
        }
    }

    fn report_link(&mut self, node: NodeId, medium: MediumId, up: bool) {
        let (node, medium) = (self.name(node), self.medium_name(medium));
        self.offer_link(&node, &medium, up);
        self.report(Event::Link { node, medium, up });
    }

    pub(super) fn on_carrier(&mut self, medium: MediumId, carrier: Carrier) {
        let Some(known) = self.carriers.get_mut(medium.index()) else { return };
        if core::mem::replace(known, carrier) != carrier {
            self.report(Event::Medium { medium: self.medium_name(medium), carrier });
        }
    }

    pub(super) fn name(&self, node: NodeId) -> String {
        self.config.node(node).map_or_else(String::new, |node| node.name.clone())
    }

    pub(super) fn medium_name(&self, medium: MediumId) -> String {
        self.config.media().get(medium.index()).map_or_else(|| "no medium".into(), |medium| medium.name.clone())
    }

    /// Whether some live node lacks so many acknowledgements that clients have to wait (WIRE 9.5).
    pub(super) fn is_clogged(&self) -> bool {
        self.sender.is_clogged(self.nodes.others().filter(|(_, peer)| peer.liveness.is_live()).map(|(node, _)| node))
    }

    /// Whether anybody else is heard.
    pub(super) fn is_anybody_there(&self) -> bool {
        self.nodes.others().any(|(_, peer)| peer.liveness.is_live())
    }
}

/// A packet as it goes out on each medium that reaches members: on serial lines in the form they need, which is made of
/// the packet.
pub(super) fn on_media(config: &Config, packet: &Frame) -> impl Iterator<Item = (MediumId, Frame)> {
    let mut serial = None;
    let media = (0..).map(MediumId).zip(config.media()).filter(|(_, medium)| !medium.kind.is_ping());
    media.filter_map(move |(medium, described)| {
        let frame = if described.kind.is_serial() {
            serial.get_or_insert_with(|| config.keyring().reseal_for_serial(packet, config.sealing())).clone()
        } else {
            Some(packet.clone())
        };
        frame.map(|frame| (medium, frame))
    })
}

/// Untrusted bytes turn into meaning in a function that cannot change state.
pub(super) fn accept<'a>(config: &Config, bytes: &'a [u8]) -> Result<Message<'a>, DropReason> {
    let authentic = config.keyring().verify(bytes)?;
    Ok(Message::parse(authentic)?)
}
