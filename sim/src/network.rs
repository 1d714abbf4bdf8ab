//! Segments joined by cables: delay, loss, duplication, reordering, corruption, bandwidth, cuts.
//!
//! A segment is all interfaces of one name. A *link* is one direction: from a host over one of its media to a host;
//! each has its own properties and its own luck.
//!
//! | medium | reaches |
//! |---|---|
//! | `bcast` | every interface of that name, the sender's own included |
//! | `mcast`, `mcast6` | those among them that joined the same group and port; the sender's own if it loops back |
//! | `serial` | the first other host that has a device of that name: a null-modem cable; at the speed of its `baud` |
//! | `ucast`, `ucast6` | the one host that has the address; hosts have the numbers 1, 2, ... as its last part, unless [`HostPlan::peers`] has it |

pub(crate) mod luck;

use crate::plan::HostPlan;
use crate::plan::net::{Change, Delay, Loss, NetRule, Ppm, Rate};
use hb_core::config::MediumKind;
use hb_core::ids::MediumId;
use hb_core::time::Instant;
use luck::Luck;
use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// What a packet needs to come back to its own host.
const LOOPBACK: Duration = Duration::from_micros(10);
/// Packets that wait for a slow line, unless a plan says otherwise: a serial buffer of a few kilobytes.
const QUEUE: u32 = 32;

/// All segments and the state of the cables.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    seed: u64,
    /// Per host and medium, how it is connected.
    ports: Vec<Vec<Port>>,
    /// By sender, medium and receiver; see [`Network::index`].
    links: Vec<Link>,
    media: usize,
    /// Cables that carry nothing out of a host.
    mute: BTreeSet<(usize, String)>,
    /// Cables that carry nothing into a host.
    deaf: BTreeSet<(usize, String)>,
    /// Ways that carry nothing from one host to another, over one interface or all.
    blocked: BTreeSet<(usize, usize, Option<String>)>,
}

#[derive(Clone, Debug)]
struct Port {
    interface: String,
    reach: Reach,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Broadcast,
    Group {
        group: IpAddr,
        port: u16,
        loopback: bool,
    },
    /// The other end of a null-modem cable.
    Wire {
        baud: u32,
    },
    /// Nobody, if no host has the address.
    One(Option<usize>),
}

#[derive(Clone, Debug)]
struct Link {
    /// The medium by which the receiver takes a packet in; none if the link does not exist.
    receiving: Option<MediumId>,
    is_open: bool,
    delay: Delay,
    loss: Loss,
    duplicate: Ppm,
    reorder: Ppm,
    corrupt: Ppm,
    noise: Ppm,
    rate: Option<Rate>,
    /// The speed of a serial line, which it has unless a plan says otherwise.
    own_rate: Option<Rate>,
    queue: u32,
    /// Packets so far.
    number: u64,
    /// When the last packet arrives that may not be overtaken.
    last: Instant,
    is_bad: bool,
    /// When each packet that waits or is being sent has left a line of limited rate.
    leaving: VecDeque<Instant>,
}

/// What becomes of a packet on one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    pub(crate) to: usize,
    pub(crate) medium: MediumId,
    pub(crate) fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives then; with what is wrong with it, if something is.
    Arrives { at: Instant, wrong: Option<Wrong> },
    /// It never arrives.
    Lost(Lost),
}

/// What is wrong with a packet that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// One byte, which the luck names.
    Byte(u64),
    /// So many bytes have a wrong bit, if the luck hits any.
    Bits(Ppm, u64),
}

/// Why a packet does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lost {
    /// A cable or way is cut.
    Cut,
    /// Bad luck.
    Luck,
    /// The line was too slow, and its queue full.
    Queue,
    /// The receiving machine stood still, or was switched off.
    NoReceiver,
    /// The receiving daemon did not read, and its socket's buffer was full.
    Buffer,
}

impl Lost {
    /// A word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Lost::Cut => "cut",
            Lost::Luck => "lost",
            Lost::Queue => "queue full",
            Lost::NoReceiver => "nobody there",
            Lost::Buffer => "buffer full",
        }
    }
}

impl Network {
    pub(crate) fn new(seed: u64, hosts: &[HostPlan], rules: &[NetRule]) -> Network {
        let ports =
            |host: &HostPlan| host.config.media().iter().map(|medium| port(&medium.kind, &host.peers)).collect();
        let ports: Vec<Vec<Port>> = hosts.iter().map(ports).collect();
        let media = ports.iter().map(Vec::len).max().unwrap_or(0);
        let mut links = Vec::new();
        for (from, of_host) in ports.iter().enumerate() {
            for medium in 0..media {
                for (to, receivers) in ports.iter().enumerate() {
                    let receiving = of_host.get(medium).and_then(|port| {
                        // A cable has two ends: those of the first two hosts that have the device.
                        let is_wire = port.reach.rate().is_some();
                        if is_wire && other_end(&ports, &port.interface, from) != Some(to) {
                            return None;
                        }
                        receiving(port, receivers, from, to)
                    });
                    let rate = of_host.get(medium).and_then(|port| port.reach.rate());
                    links.push(Link::new(receiving, rate));
                }
            }
        }
        let (mute, deaf, blocked) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut network = Network { seed, ports, links, media, mute, deaf, blocked };
        for rule in rules {
            network.change(rule);
        }
        network
    }

    fn index(&self, from: usize, medium: usize, to: usize) -> usize {
        (from * self.media + medium) * self.ports.len() + to
    }

    /// Every link with its ends and interface.
    fn each(&mut self, mut act: impl FnMut(usize, usize, &str, &mut Link)) {
        for from in 0..self.ports.len() {
            for medium in 0..self.ports[from].len() {
                for to in 0..self.ports.len() {
                    let index = self.index(from, medium, to);
                    act(from, to, &self.ports[from][medium].interface, &mut self.links[index]);
                }
            }
        }
    }

    /// Links that a rule fits behave differently from now on.
    pub(crate) fn change(&mut self, rule: &NetRule) {
        self.each(|from, to, interface, link| {
            if rule.way.fits(from, to, interface) {
                link.change(&rule.change);
            }
        });
    }

    /// Every link behaves as at the beginning of a plan without rules, and everything is connected.
    pub(crate) fn mend(&mut self) {
        self.mute.clear();
        self.deaf.clear();
        self.blocked.clear();
        self.each(|_, _, _, link| {
            let fresh = Link::new(link.receiving, link.own_rate);
            let (number, last) = (link.number, link.last);
            *link = Link { number, last, ..fresh };
        });
    }

    /// The interfaces that `None` stands for when cables are cut: those of the host's media.
    fn interfaces(&self, host: usize, one: Option<&str>) -> Vec<String> {
        if let Some(one) = one {
            return vec![one.to_owned()];
        }
        let names = self.ports[host].iter().map(|port| port.interface.clone());
        names.filter(|name| !name.is_empty()).collect()
    }

    /// Cuts one or both directions of a host's cables.
    pub(crate) fn cut(&mut self, host: usize, interface: Option<&str>, incoming: bool, outgoing: bool) {
        for name in self.interfaces(host, interface) {
            if incoming {
                self.deaf.insert((host, name.clone()));
            }
            if outgoing {
                self.mute.insert((host, name));
            }
        }
        self.reopen();
    }

    /// Undoes all cuts of a host's cables, or those of one.
    pub(crate) fn heal(&mut self, host: usize, interface: Option<&str>) {
        let stays = |(of, name): &(usize, String)| *of != host || interface.is_some_and(|one| one != name);
        self.deaf.retain(stays);
        self.mute.retain(stays);
        self.reopen();
    }

    /// Blocks or opens a way.
    pub(crate) fn block(&mut self, from: usize, to: usize, interface: Option<&str>, blocks: bool) {
        let way = (from, to, interface.map(str::to_owned));
        if blocks {
            self.blocked.insert(way);
        } else {
            // Opening all interfaces opens each.
            self.blocked.retain(|known| (known.0, known.1) != (from, to) || interface.is_some() && *known != way);
        }
        self.reopen();
    }

    fn reopen(&mut self) {
        let (mute, deaf, blocked) = (self.mute.clone(), self.deaf.clone(), self.blocked.clone());
        self.each(|from, to, interface, link| {
            let interface = interface.to_owned();
            link.is_open = from == to
                || !(mute.contains(&(from, interface.clone()))
                    || deaf.contains(&(to, interface.clone()))
                    || blocked.contains(&(from, to, None))
                    || blocked.contains(&(from, to, Some(interface))));
        });
    }

    /// Whether a host's interface carries nothing in one direction at least.
    pub(crate) fn is_cut(&self, host: usize, interface: &str) -> bool {
        let cable = (host, interface.to_owned());
        self.mute.contains(&cable) || self.deaf.contains(&cable)
    }

    /// Whether the machine sees a signal on a cable: one that fails in one direction looks whole from there.
    pub(crate) fn has_signal(&self, host: usize, interface: &str) -> bool {
        let cable = (host, interface.to_owned());
        !(self.mute.contains(&cable) && self.deaf.contains(&cable))
    }

    /// How long a serial line is busy with so many bytes; `None` if the medium is none.
    pub(crate) fn line_time(&self, from: usize, medium: MediumId, bytes: usize) -> Option<Duration> {
        self.ports[from].get(medium.index())?.reach.rate()?;
        let rates = (0..self.ports.len()).map(|to| &self.links[self.index(from, medium.index(), to)]);
        let times = rates.filter(|link| link.receiving.is_some()).filter_map(|link| link.rate);
        Some(times.map(|rate| rate.time(bytes)).max().unwrap_or_default())
    }

    /// Sends a packet of so many bytes; what becomes of it on each link is added to `passages`.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        from: usize,
        medium: MediumId,
        bytes: usize,
        passages: &mut Vec<Passage>,
    ) {
        if medium.index() >= self.ports[from].len() {
            return;
        }
        for to in 0..self.ports.len() {
            let index = self.index(from, medium.index(), to);
            let link = &mut self.links[index];
            let Some(receiving) = link.receiving else { continue };
            link.number += 1;
            let passage = |fate| Passage { to, medium: receiving, fate };
            if from == to {
                passages.push(passage(Fate::Arrives { at: now.plus(LOOPBACK), wrong: None }));
                continue;
            }
            if !link.is_open {
                passages.push(passage(Fate::Lost(Lost::Cut)));
                continue;
            }
            let mut luck = Luck::of(&(self.seed, from, to, medium, link.number));
            passages.push(passage(link.pass(now, bytes, &mut luck)));
            if link.duplicate.hits(luck.next()) {
                passages.push(passage(link.pass(now, bytes, &mut luck)));
            }
        }
    }
}

impl Link {
    fn new(receiving: Option<MediumId>, rate: Option<Rate>) -> Link {
        Link {
            receiving,
            is_open: true,
            delay: Delay::USUAL,
            loss: Loss::Independent(Ppm(0)),
            duplicate: Ppm(0),
            reorder: Ppm(0),
            corrupt: Ppm(0),
            noise: Ppm(0),
            rate,
            own_rate: rate,
            queue: QUEUE,
            number: 0,
            last: Instant::ORIGIN,
            is_bad: false,
            leaving: VecDeque::new(),
        }
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::Delay(delay) => self.delay = delay.clone(),
            Change::Loss(loss) => self.loss = *loss,
            Change::Duplicate(p) => self.duplicate = *p,
            Change::Reorder(p) => self.reorder = *p,
            Change::Corrupt(p) => self.corrupt = *p,
            Change::Noise(p) => self.noise = *p,
            Change::Rate(rate) => self.rate = *rate,
            Change::Queue(queue) => self.queue = *queue,
        }
    }

    fn pass(&mut self, now: Instant, bytes: usize, luck: &mut Luck) -> Fate {
        if self.loses(luck) {
            return Fate::Lost(Lost::Luck);
        }
        let mut at = now;
        if let Some(rate) = self.rate {
            while self.leaving.front().is_some_and(|left| *left <= now) {
                self.leaving.pop_front();
            }
            if self.leaving.len() > self.queue as usize {
                return Fate::Lost(Lost::Queue);
            }
            at = self.leaving.back().copied().unwrap_or(now).max(now).plus(rate.time(bytes));
            self.leaving.push_back(at);
        }
        at = at.plus(luck.delay(&self.delay));
        if !self.reorder.hits(luck.next()) {
            at = at.max(self.last.plus(Duration::from_nanos(1)));
            self.last = at;
        }
        let wrong = self.corrupt.hits(luck.next()).then(|| Wrong::Byte(luck.next()));
        // Luck is drawn only where there is noise, so that other links keep theirs.
        let noisy = || (self.noise > Ppm(0)).then(|| Wrong::Bits(self.noise, luck.next()));
        Fate::Arrives { at, wrong: wrong.or_else(noisy) }
    }

    fn loses(&mut self, luck: &mut Luck) -> bool {
        match self.loss {
            Loss::Independent(p) => p.hits(luck.next()),
            Loss::Bursts { begin, end, good, bad } => {
                let turns = if self.is_bad { end } else { begin };
                self.is_bad ^= turns.hits(luck.next());
                if self.is_bad { bad } else { good }.hits(luck.next())
            }
        }
    }
}

fn port(kind: &MediumKind, peers: &[(String, usize)]) -> Port {
    let reach = match kind {
        MediumKind::Bcast { .. } => Reach::Broadcast,
        MediumKind::Mcast { group, port, loopback, .. } => {
            Reach::Group { group: (*group).into(), port: *port, loopback: *loopback }
        }
        MediumKind::Mcast6 { group, port, loopback, .. } => {
            Reach::Group { group: (*group).into(), port: *port, loopback: *loopback }
        }
        MediumKind::Serial { baud, .. } => Reach::Wire { baud: *baud },
        // It reaches no host; see `World::ping`.
        MediumKind::Ping { .. } | MediumKind::Ping6 { .. } | MediumKind::PingGroup { .. } => Reach::One(None),
        MediumKind::Ucast { peer, .. } | MediumKind::Ucast6 { peer, .. } => {
            let named = peers.iter().find(|(name, _)| name == peer).map(|(_, host)| *host);
            let number = || peer.rsplit(['.', ':']).next()?.parse::<usize>().ok()?.checked_sub(1);
            Reach::One(named.or_else(number))
        }
    };
    Port { interface: kind.interface().unwrap_or_default().to_owned(), reach }
}

impl Reach {
    /// The speed of a serial line.
    fn rate(self) -> Option<Rate> {
        if let Reach::Wire { baud } = self { Some(Rate { bits: u64::from(baud), per_byte: 10 }) } else { None }
    }
}

/// The host at the other end of the cable that a host has in a device.
fn other_end(ports: &[Vec<Port>], device: &str, from: usize) -> Option<usize> {
    let has = |host: &Vec<Port>| host.iter().any(|port| port.interface == device);
    let mut ends = (0..ports.len()).filter(|at| has(&ports[*at]));
    match (ends.next(), ends.next()) {
        (Some(one), Some(other)) if from == one => Some(other),
        (Some(one), Some(other)) if from == other => Some(one),
        _ => None,
    }
}

/// The medium by which a host takes in what comes from a port of another: its first that listens there.
fn receiving(sender: &Port, receivers: &[Port], from: usize, to: usize) -> Option<MediumId> {
    let listens = |receiver: &Port| {
        receiver.interface == sender.interface
            && match sender.reach {
                Reach::Broadcast => true,
                Reach::Wire { .. } => from != to,
                Reach::One(peer) => peer == Some(to),
                Reach::Group { group, port, loopback } => {
                    matches!(receiver.reach, Reach::Group { group: g, port: p, .. } if g == group && p == port)
                        && (from != to || loopback)
                }
            }
    };
    let position = receivers.iter().position(listens)?;
    u16::try_from(position).ok().map(MediumId)
}
