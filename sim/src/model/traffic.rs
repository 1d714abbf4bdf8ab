//! Packets in and out, and requests for those that were lost. Read WIRE 7 and 9 first.

use super::children::Fifo;
use super::peer::{Place, Word};
use super::{Effect, Model};
use hb_core::auth::Framing;
use hb_core::config::Config;
use hb_core::ids::{MediumId, Seq};
use hb_core::time::{Instant, UnixTime};
use hb_core::wire::message::{Ack, AskResources, IpResponse, Nak, Resource, Rexmit};
use hb_core::wire::{Body, Fields, Header, Message};
use hb_core::{Action, Frame, Level, Urgency, Which};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

/// Messages that are kept to be sent again (WIRE 14).
const HISTORY_MAX: usize = 500;
/// Messages sent again for one request at most.
const ANSWERS_MAX: u64 = 50;
/// A gap is not asked for at once, since packets overtake each other (WIRE 1).
const REQUEST_DELAY_MIN: Duration = Duration::from_millis(50);

/// What this process has sent.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Sent {
    newest: Seq,
    history: VecDeque<Kept>,
}

#[derive(Clone, Debug, Hash)]
struct Kept {
    seq: Seq,
    frame: Frame,
    /// When it was last sent again.
    again: Option<Instant>,
}

impl Model {
    // --- out

    /// Numbers and signs a message, acts on it as every node does, and only then sends it (WIRE 1, 3).
    pub(super) fn send(&mut self, body: &Body<'_>, dest: Option<usize>) {
        let config = self.config.clone();
        let seq = (!body.is_unsequenced()).then(|| self.sent.newest.next());
        let message = Message {
            header: Header {
                src: Cow::Borrowed(config.local_name()),
                src_uuid: Some(self.boot.uuid),
                dest: dest.map(|dest| Cow::Borrowed(config.nodes()[dest].name.as_str())),
                dest_uuid: dest.map(|dest| self.peers[dest].uuid),
                seq,
                generation: Some(self.boot.generation),
                ts: self.unix_time(),
                load: seq.map(|_| Cow::Owned(self.load.as_str().to_owned())),
                ttl: Some(config.ttl()),
            },
            body: body.clone(),
        };
        let frame = config
            .keyring()
            .seal(message.to_fields(), Framing::Datagram, config.sealing())
            .expect("a message of configured names and numbers can be encoded");
        if let Some(seq) = seq {
            self.sent.newest = seq;
            self.sent.history.push_back(Kept { seq, frame: frame.clone(), again: None });
            if self.sent.history.len() > HISTORY_MAX {
                self.sent.history.pop_front();
            }
        }
        self.loop_back(seq, dest, body);
        self.transmit(&frame, Urgency::of(body));
    }

    fn transmit(&mut self, packet: &Frame, urgency: Urgency) {
        let config = &self.config;
        // Ping nodes are not modelled.
        let media = (0..).map(MediumId).zip(config.media());
        for (medium, described) in media.filter(|(_, medium)| !medium.kind.is_ping()) {
            let frame = if described.kind.is_serial() {
                config.keyring().reseal_for_serial(packet, config.sealing())
            } else {
                Some(packet.clone())
            };
            if let Some(frame) = frame {
                self.effects.0.push(Effect::Do(Action::Send { medium, frame, urgency }));
            }
        }
    }

    fn unix_time(&self) -> UnixTime {
        let (read, time) = self.wall_clock;
        UnixTime((time.0 + self.now.since(read).as_secs()).max(1))
    }

    /// Our own message, as it comes round inside the process.
    fn loop_back(&mut self, seq: Option<Seq>, dest: Option<usize>, body: &Body<'_>) {
        let local = self.local();
        if let Some(seq) = seq {
            let place = self.peers[local].track.place(seq, || Instant::FAR_FUTURE);
            self.acknowledge(local, place, seq);
        }
        if dest.is_some_and(|dest| dest != local) {
            return;
        }
        match (body, seq) {
            (Body::Ack(ack), _) => self.peers[local].acknowledged = ack.seq,
            (Body::Status(_), _) | (_, None) => {}
            _ => self.on_message(local, body),
        }
    }

    /// A message of a script or command gets its header and goes to everybody.
    pub(super) fn pass_on(&mut self, message: Fifo) {
        let config = self.config.clone();
        match message {
            Fifo::MachDown => {
                let info = Some(Cow::Borrowed("mach_down"));
                let holding = hb_core::wire::message::Holding::FOREIGN;
                self.send(&Body::Resource(Resource { holding, full: false, stable: None, info }), None);
            }
            Fifo::MayStart(group) => {
                let group = Cow::Borrowed(config.groups()[group].key.as_str());
                let body = Body::IpResponse(IpResponse { group, we_own: true, ok: Cow::Borrowed("OK") });
                self.send(&body, Some(self.local()));
            }
            Fifo::Ask(holding, step) => self.send(&Body::AskResources(AskResources { holding, step }), None),
            Fifo::Takeover(which) => {
                let mut fields = Fields::new();
                fields.push_text("t", "hb_takeover");
                fields.push_text("rsc_hold", which.word());
                self.send(&Body::Client { kind: Cow::Borrowed("hb_takeover"), fields }, None);
            }
        }
    }

    // --- in

    pub(super) fn read_inbox(&mut self) {
        while let Some((medium, frame)) = self.inbox.pop_front() {
            self.receive(medium, &frame);
        }
    }

    fn receive(&mut self, medium: MediumId, bytes: &[u8]) {
        let config = self.config.clone();
        let message = match read(&config, bytes) {
            Ok(message) => message,
            Err(why) => return self.say(Level::Error, format!("a packet is dropped: {why}")),
        };
        let Some(from) = config.node_named(&message.header.src).map(hb_core::ids::NodeId::index) else {
            let text = format!("process_status_message: bad node [{}] in message", message.header.src);
            return self.say(Level::Error, text);
        };
        if self.is_local(from) {
            // It was acted on before it was sent.
            return self.hear_link(from, medium);
        }
        let generation = message.header.generation.unwrap_or_default();
        if generation < self.peers[from].generation {
            let text = format!("{}: attempted replay attack", message.header.src);
            return self.say(Level::Error, text);
        }
        if let Some(uuid) = message.header.src_uuid {
            self.peers[from].uuid = uuid;
        }
        let to_us = is_addressed(&config, self.boot.uuid, &message.header);
        let Some(seq) = message.header.seq else {
            self.hear_link(from, medium);
            return self.on_unsequenced(from, to_us, &message.body);
        };
        if let Body::Status(_) = message.body
            && !self.admit_status(from, generation, seq)
        {
            return;
        }
        let place = self.place(from, seq);
        match place {
            Place::Stale => {}
            Place::Again => self.hear_link(from, medium),
            Place::Next | Place::Ahead | Place::Filled => {
                self.peers[from].heard_since_death = true;
                self.hear_link(from, medium);
                self.acknowledge(from, place, seq);
                if let (true, Body::Status(status)) = (to_us, &message.body) {
                    self.on_status(from, seq, status);
                } else if to_us {
                    self.on_message(from, &message.body);
                }
            }
        }
    }

    fn place(&mut self, from: usize, seq: Seq) -> Place {
        let most = self.config.max_rexmit_delay();
        let least = if most < REQUEST_DELAY_MIN * 2 { Duration::ZERO } else { REQUEST_DELAY_MIN };
        let spread = u64::try_from(most.saturating_sub(least).as_millis()).unwrap_or(u64::MAX);
        let (now, luck) = (self.now, self.draw(u64::MAX));
        let mut drawn = luck;
        self.peers[from].track.place(seq, || {
            drawn = hb_core::digest::digest_of(&drawn);
            now.plus(least).plus(Duration::from_millis(drawn % spread.saturating_add(1)))
        })
    }

    fn acknowledge(&mut self, from: usize, place: Place, seq: Seq) {
        if let Some(seq) = self.peers[from].acknowledges(place, seq) {
            self.send(&Body::Ack(Ack { seq }), Some(from));
        }
    }

    fn on_unsequenced(&mut self, from: usize, to_us: bool, body: &Body<'_>) {
        match body {
            Body::Rexmit(request) if to_us => self.send_again(from, *request),
            // Everybody who hears it gives the number up (WIRE 15).
            Body::Nak(nak) => {
                self.peers[from].track.missing.remove(&nak.first);
            }
            Body::Ack(ack) if to_us && ack.seq <= self.sent.newest => {
                let known = &mut self.peers[from].acknowledged;
                *known = ack.seq.max(*known);
            }
            _ => {}
        }
    }

    /// Sends what a node lacks (WIRE 9.1).
    fn send_again(&mut self, asker: usize, request: Rexmit) {
        let quiet = self.config.max_rexmit_delay().saturating_sub(Duration::from_millis(10));
        let lowest = self.sent.history.front().map_or(Seq(0), |kept| kept.seq);
        let (now, newest) = (self.now, self.sent.newest);
        let last = request.last.0.min(request.first.0.saturating_add(ANSWERS_MAX - 1)).min(newest.0);
        for number in (request.first.0..=last).map(Seq) {
            if number <= self.peers[asker].acknowledged {
                continue;
            }
            // The lowest number kept is not found any more; that of a short history is its first message.
            if number < lowest || (number == lowest && self.sent.history.len() >= HISTORY_MAX) {
                self.send(&Body::Nak(Nak { first: number, info: Cow::Borrowed("seqno too low") }), Some(asker));
                continue;
            }
            let Some(kept) = self.sent.history.iter_mut().find(|kept| kept.seq == number) else { continue };
            if kept.again.is_none_or(|again| now.since(again) >= quiet) {
                kept.again = Some(now);
                let frame = kept.frame.clone();
                self.transmit(&frame, Urgency::Repair);
            }
        }
    }

    /// Asks for what is missing and due; who is neither up nor active is never asked for it again (WIRE 9.3).
    pub(super) fn request_missing(&mut self) {
        let (now, repeat) = (self.now, self.config.max_rexmit_delay());
        for node in self.others() {
            let peer = &mut self.peers[node];
            let is_live = peer.is_live();
            let mut due = Vec::new();
            for (seq, at) in &mut peer.track.missing {
                if at.is_some_and(|at| at <= now) {
                    *at = is_live.then(|| now.plus(repeat));
                    due.push(*seq);
                }
            }
            for seq in due.into_iter().filter(|_| is_live) {
                self.send(&Body::Rexmit(Rexmit { first: seq, last: seq }), Some(node));
            }
        }
    }

    // --- links

    fn hear_link(&mut self, node: usize, medium: MediumId) {
        let now = self.now;
        let Some(link) = self.peers[node].links.get_mut(medium.index()) else { return };
        if link.replace(now).is_none() {
            self.say_link(node, medium.index(), "up");
        }
    }

    /// Links time out with the dead time of whichever node comes last in the configuration (CLUSTER a.2, quirk); our own
    /// never do.
    pub(super) fn bury_links(&mut self) {
        let own = self.config.timing().deadtime();
        let limit = self.peers.last().and_then(|peer| peer.deadtime).unwrap_or(own);
        for node in self.others() {
            for medium in 0..self.peers[node].links.len() {
                if self.peers[node].links[medium].is_some_and(|at| self.now.since(at) >= limit) {
                    self.peers[node].links[medium] = None;
                    self.say_link(node, medium, "dead");
                }
            }
        }
    }

    fn say_link(&mut self, node: usize, medium: usize, word: &str) {
        let text = format!("Link {}:{} {word}.", self.peers[node].name, self.config.media()[medium].name);
        self.say(Level::Info, text);
    }
}

/// The meaning of bytes, if they are authentic.
///
/// `hb_takeover failback` is no set of groups; the original passes the word on untranslated (CLUSTER c.8).
fn read<'a>(config: &Config, bytes: &'a [u8]) -> Result<Message<'a>, String> {
    let authentic = config.keyring().verify(bytes).map_err(|error| error.to_string())?;
    if !authentic.is_heard_by_the_original() {
        return Err(format!("the digest made with key {} is wrong", authentic.key()));
    }
    let fields = authentic.fields();
    let has = |name: &str, word: &str| fields.text(name).is_some_and(|text| **text == *word.as_bytes());
    if has("t", "hb_takeover") && has("rsc_hold", Which::Failback.word()) {
        let header = Header::read(fields).map_err(|error| error.to_string())?;
        let fields = authentic.into_fields();
        return Ok(Message { header, body: Body::Client { kind: Cow::Borrowed("hb_takeover"), fields } });
    }
    Message::parse(authentic).map_err(|error| error.to_string())
}

/// Whether a message is for us: by uuid where the sender knows it, else by name; without `dest` for all (WIRE 9.2).
fn is_addressed(config: &Config, uuid: hb_core::ids::NodeUuid, header: &Header<'_>) -> bool {
    match (header.dest_uuid, &header.dest) {
        (Some(dest), _) if dest != hb_core::ids::NodeUuid::ZERO => dest == uuid,
        (_, Some(dest)) => dest.eq_ignore_ascii_case(config.local_name()),
        (_, None) => true,
    }
}

/// The state that a status announces.
pub(super) fn word_of(word: &hb_core::wire::message::StatusWord<'_>) -> Word {
    use hb_core::wire::message::StatusWord;
    match word {
        StatusWord::Init => Word::Init,
        StatusWord::Up => Word::Up,
        StatusWord::Active => Word::Active,
        StatusWord::Dead | StatusWord::Ping | StatusWord::Other(_) => Word::Other,
    }
}
