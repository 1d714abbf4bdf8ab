//! `bcast`, `mcast`, `ucast` and, with IPv6, `mcast6` and `ucast6`. Read WIRE 13 first.
//!
//! Sending is as the original does it: one socket per medium with an ephemeral source port and the options of WIRE 13.
//!
//! Receiving differs, invisibly on the wire (*ours*): one socket per *port* takes the packets of all media, and the
//! kernel tells with each packet on which interface and for which address it came (IP_PKTINFO, IPV6_PKTINFO); a port has a
//! socket for each version of IP that is used on it. The original binds a
//! socket per medium and lets them share the port, with three faults that this removes:
//! - each of two `bcast` media hears both networks, so that a dead link looks alive while the other works,
//! - of two `ucast` media on one interface the kernel picks one by a hash of the sender's port,
//! - a second program on the port goes unnoticed. Ours is bound alone, so that "port busy" is known at start.
//!
//! Packets of an interface that carries no medium are dropped and counted. An interface that is removed and created
//! again is found under its new number, for receiving at the first packet, for sending at the first error: whatever the
//! system refuses to send is tried once more with a new socket, and again with each packet, but not more often than
//! [`RETRY_MIN`], doubling to [`RETRY_MAX`].

mod problem;

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use hb_core::config::{Medium, MediumKind};
use hb_core::ids::MediumId;
use hb_core::time::Instant;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, IpMembershipRequest, MsgFlags, MultiHeaders, SockFlag, SockType,
    SockaddrStorage, bind, recvmmsg, sendto, setsockopt, socket, sockopt,
};

use super::address;
use super::interface::{Interface, device, is_device, look_up};
use crate::{clock, sys};
pub use problem::{IpVersion, OpenError, Problem};

/// The largest UDP datagram fits with room to spare; a heartbeat packet is one datagram (WIRE 13).
const BUFFER: usize = 64 * 1024;
/// So many packets are read with one system call: a peer's heartbeats come by all media within a moment. When fewer
/// came the queue is empty, without another call that only says so.
const BATCH: usize = 4;
/// Half a second of ten busy peers: what arrives while a suspended machine wakes must not be lost.
const RECEIVE_QUEUE: usize = 1024 * 1024;
/// After a failed attempt to open a medium again, wait at least so long ...
const RETRY_MIN: Duration = Duration::from_millis(50);
/// ... and at most so long: a cable that is back must not cost another dead time.
const RETRY_MAX: Duration = Duration::from_secs(1);
/// A full queue is a busy medium; one that is full for so many packets in a row is a broken one.
const FULL_MAX: u32 = 20;
/// "Low delay" of RFC 791, what 3.0.6 sets on `ucast`.
const LOW_DELAY: i32 = 0x10;

/// A packet that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The medium it belongs to.
    pub medium: MediumId,
    /// Where it says it comes from; good for complaints, never for decisions.
    pub from: SocketAddr,
    /// The packet.
    pub bytes: &'a [u8],
}

/// What changed about a medium with an attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It stopped carrying, with this reason.
    Fails(Errno),
    /// It carries again.
    Works,
}

/// What a medium has sent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Packets handed to the system.
    pub packets: u64,
    /// Packets refused since a queue was full; the medium counts as carrying.
    pub queue_full: u64,
    /// Packets refused for other reasons.
    pub refused: u64,
}

/// All UDP media of a node.
#[derive(Debug)]
pub struct Udp {
    senders: BTreeMap<MediumId, Sender>,
    receivers: Vec<Receiver>,
    /// The receiver to look at next, so that a flood on one port cannot starve another.
    next: usize,
    /// As many of [`BUFFER`] as a batch has packets.
    buffers: Box<[u8]>,
    /// What was read and not yet taken.
    waiting: VecDeque<Arrival>,
    strays: u64,
}

#[derive(Debug)]
struct Sender {
    medium: Medium,
    socket: OwnedFd,
    to: SocketAddr,
    failing: Option<Errno>,
    /// Packets in a row for which the queue was full.
    full: u32,
    /// When it may be opened again, and how long to wait after that.
    retry: Option<(Instant, Duration)>,
    sent: Sent,
}

#[derive(Debug)]
struct Receiver {
    socket: OwnedFd,
    version: IpVersion,
    port: u16,
    ready: bool,
    /// Of its own, since the kernel leaves lengths there, which are always the same for one version of IP.
    headers: MultiHeaders<SockaddrStorage>,
    routes: Vec<Route>,
}

/// Which packets of a port belong to a medium.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    medium: MediumId,
    interface: String,
    index: u32,
    by: By,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// A broadcast or multicast medium: the address that packets are for.
    Target(IpAddr),
    /// A `ucast` or `ucast6` medium: the address of the peer.
    Peer(IpAddr),
}

impl Udp {
    /// Opens all UDP media of `media`, which are those of the configuration in their order.
    pub fn open(media: &[Medium]) -> Result<Udp, OpenError> {
        let mut udp = Udp::new(vec![0; BUFFER * BATCH].into());
        for (id, medium) in (0..).map(MediumId).zip(media).filter(|(_, medium)| by_udp(&medium.kind)) {
            udp.open_medium(id, medium).map_err(|problem| OpenError {
                directive: medium.kind.directive(),
                interface: interface_of(&medium.kind).to_owned(),
                problem,
            })?;
        }
        Ok(udp)
    }

    /// Opens what can be opened of the UDP media, for sending only: ports stay free for whoever receives.
    pub(crate) fn senders(media: &[Medium]) -> Udp {
        let mut udp = Udp::new(Box::default());
        for (id, medium) in (0..).map(MediumId).zip(media).filter(|(_, medium)| by_udp(&medium.kind)) {
            let opened = look_up(interface_of(&medium.kind)).and_then(|interface| open_sender(medium, interface));
            if let Ok((socket, to)) = opened {
                udp.senders.insert(id, Sender::new(medium, socket, to));
            }
        }
        udp
    }

    fn new(buffers: Box<[u8]>) -> Udp {
        Udp {
            senders: BTreeMap::new(),
            receivers: Vec::new(),
            next: 0,
            buffers,
            waiting: VecDeque::with_capacity(BATCH),
            strays: 0,
        }
    }

    fn open_medium(&mut self, id: MediumId, medium: &Medium) -> Result<(), Problem> {
        let name = interface_of(&medium.kind);
        let interface = look_up(name)?;
        let (socket, to) = open_sender(medium, interface)?;
        let known = self.receivers.iter().position(|receiver| receiver.takes(medium));
        if known.is_none() {
            self.receivers.push(Receiver::open(medium.port, version_of(&medium.kind))?);
        }
        let position = known.unwrap_or(self.receivers.len() - 1);
        let receiver = &mut self.receivers[position];
        receiver.join(medium, interface)?;
        receiver.routes.push(Route {
            medium: id,
            interface: name.to_owned(),
            index: interface.index,
            by: match medium.kind {
                MediumKind::Ucast { .. } | MediumKind::Ucast6 { .. } => By::Peer(to.ip()),
                _ => By::Target(to.ip()),
            },
        });
        self.senders.insert(id, Sender::new(medium, socket, to));
        Ok(())
    }

    /// How many tokens [`Udp::register`] takes.
    pub fn tokens(&self) -> usize {
        self.receivers.len()
    }

    /// Registers the receiving sockets under `first` and the tokens after it.
    pub fn register(&self, registry: &Registry, first: Token) -> io::Result<()> {
        for (position, receiver) in self.receivers.iter().enumerate() {
            let descriptor = receiver.socket.as_raw_fd();
            registry.register(&mut SourceFd(&descriptor), Token(first.0 + position), Interest::READABLE)?;
        }
        Ok(())
    }

    /// Notes that the socket of token `first + position` has packets.
    pub fn on_readable(&mut self, position: usize) {
        if let Some(receiver) = self.receivers.get_mut(position) {
            receiver.ready = true;
        }
    }

    /// Whether packets may be waiting that no further event will announce: the poll must not sleep then.
    pub fn is_ready(&self) -> bool {
        !self.waiting.is_empty() || self.receivers.iter().any(|receiver| receiver.ready)
    }

    /// Takes the next packet; ports that have some are read in turns.
    pub fn receive(&mut self) -> Option<Datagram<'_>> {
        let (medium, from, slot, length) = loop {
            if let Some(arrival) = self.waiting.pop_front() {
                break arrival;
            }
            let count = self.receivers.len();
            let position = (0..count).map(|step| (self.next + step) % count).find(|at| self.receivers[*at].ready)?;
            self.next = position + 1;
            let receiver = &mut self.receivers[position];
            match receiver.read(&mut self.buffers, &mut self.waiting) {
                Ok(count) => {
                    receiver.ready = count == BATCH;
                    self.strays += (count - self.waiting.len()) as u64;
                }
                Err(Errno::EINTR) => {}
                // Nothing there, or nothing that reading on would mend: the next packet is an event again.
                Err(_) => receiver.ready = false,
            }
        };
        Some(Datagram { medium, from, bytes: &self.buffers[slot * BUFFER..][..length] })
    }

    /// Sends `packet` on a medium; says so when that changes whether the medium carries.
    ///
    /// Nothing that happens here is fatal: the next heartbeat is the next attempt.
    pub fn send(&mut self, medium: MediumId, packet: &[u8]) -> Option<Change> {
        let sender = self.senders.get_mut(&medium)?;
        let mut result = sender.send(packet);
        if sender.is_broken(result) {
            let now = clock::now();
            if sender.may_reopen(now) {
                let receiver = self.receivers.iter_mut().find(|receiver| receiver.takes(&sender.medium));
                if sender.reopen(receiver).is_ok() {
                    result = sender.send(packet);
                }
                sender.note_attempt(now, result);
            }
        }
        sender.account(result)
    }

    /// What `medium` has sent so far.
    pub fn sent(&self, medium: MediumId) -> Sent {
        self.senders.get(&medium).map_or(Sent::default(), |sender| sender.sent)
    }

    /// How many packets came in on interfaces that carry no medium.
    pub fn strays(&self) -> u64 {
        self.strays
    }
}

/// Whether packets of such a medium travel in UDP.
fn by_udp(kind: &MediumKind) -> bool {
    !kind.is_ping() && !kind.is_serial()
}

fn version_of(kind: &MediumKind) -> IpVersion {
    match kind {
        MediumKind::Mcast6 { .. } | MediumKind::Ucast6 { .. } => IpVersion::V6,
        _ => IpVersion::V4,
    }
}

fn interface_of(kind: &MediumKind) -> &str {
    kind.interface().unwrap_or_default()
}

impl Sender {
    fn new(medium: &Medium, socket: OwnedFd, to: SocketAddr) -> Sender {
        Sender { medium: medium.clone(), socket, to, failing: None, full: 0, retry: None, sent: Sent::default() }
    }

    fn send(&self, packet: &[u8]) -> nix::Result<()> {
        loop {
            match sendto(self.socket.as_raw_fd(), packet, &SockaddrStorage::from(self.to), MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                result => return result.map(drop),
            }
        }
    }

    /// Whether another socket could help.
    fn is_broken(&self, result: nix::Result<()>) -> bool {
        match result {
            // Too long for the medium, with any socket.
            Ok(()) | Err(Errno::EMSGSIZE) => false,
            Err(errno) => !is_full(errno) || self.full >= FULL_MAX,
        }
    }

    fn may_reopen(&self, now: Instant) -> bool {
        self.retry.is_none_or(|(at, _)| now >= at)
    }

    /// After an attempt to open the medium again; in vain unless the packet went out.
    fn note_attempt(&mut self, now: Instant, result: nix::Result<()>) {
        let wait = self.retry.map_or(RETRY_MIN, |(_, wait)| (wait * 2).min(RETRY_MAX));
        self.retry = result.is_err().then(|| (now.plus(wait), wait));
    }

    fn account(&mut self, result: nix::Result<()>) -> Option<Change> {
        match result {
            Ok(()) => self.sent.packets += 1,
            Err(errno) if is_full(errno) => {
                self.sent.queue_full += 1;
                self.full = self.full.saturating_add(1);
                if self.full < FULL_MAX {
                    return None;
                }
            }
            Err(_) => self.sent.refused += 1,
        }
        if !result.is_err_and(is_full) {
            self.full = 0;
        }
        let before = std::mem::replace(&mut self.failing, result.err());
        match (before, self.failing) {
            (None, Some(errno)) => Some(Change::Fails(errno)),
            (Some(_), None) => Some(Change::Works),
            (None, None) | (Some(_), Some(_)) => None,
        }
    }

    /// Follows an interface that was removed and created again.
    fn reopen(&mut self, receiver: Option<&mut Receiver>) -> Result<(), Problem> {
        let interface = look_up(interface_of(&self.medium.kind))?;
        (self.socket, self.to) = open_sender(&self.medium, interface)?;
        receiver.map_or(Ok(()), |receiver| receiver.join(&self.medium, interface))
    }
}

fn is_full(errno: Errno) -> bool {
    matches!(errno, Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM)
}

/// What arrived: its medium and source, in which buffer it is, and its length.
type Arrival = (MediumId, SocketAddr, usize, usize);

impl Receiver {
    fn open(port: u16, version: IpVersion) -> Result<Receiver, Problem> {
        let socket = new_socket(version)?;
        let address = match version {
            IpVersion::V4 => {
                setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
            }
            IpVersion::V6 => {
                // IPv4 has its own socket, and the port may belong to another program there.
                setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
                setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
                SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))
            }
        };
        // Beyond the system's limit only with a privilege, which is not worth refusing the start.
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_QUEUE).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_QUEUE)?;
        }
        bind(socket.as_raw_fd(), &SockaddrStorage::from(address)).map_err(|errno| match errno {
            Errno::EADDRINUSE => Problem::PortBusy(port),
            Errno::EACCES => {
                Problem::NotPermitted { doing: "use a port below 1024", capability: "CAP_NET_BIND_SERVICE" }
            }
            other => Problem::from(other),
        })?;
        // Packets may have come between the bind and the registration.
        // The options of IPv4 are smaller.
        let headers = MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(nix::libc::in6_pktinfo)));
        Ok(Receiver { socket, version, port, ready: true, headers, routes: Vec::new() })
    }

    /// Whether the packets of `medium` come in here.
    fn takes(&self, medium: &Medium) -> bool {
        self.port == medium.port && self.version == version_of(&medium.kind)
    }

    /// Enters the multicast group of `medium`, if it is one.
    fn join(&mut self, medium: &Medium, interface: Interface) -> Result<(), Problem> {
        let result = match medium.kind {
            MediumKind::Mcast { group, .. } => {
                let request = IpMembershipRequest::new(group, Some(interface.address.ok_or(Problem::NoAddress)?));
                setsockopt(&self.socket, sockopt::IpAddMembership, &request).map_err(io::Error::from)
            }
            MediumKind::Mcast6 { group, .. } => sys::join_group6(&self.socket, group, interface.index),
            _ => return Ok(()),
        };
        match result {
            // Two media with the same group and interface.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
            result => result.map_err(Problem::System),
        }
    }

    /// Reads at most a batch of packets and gives how many; those that belong to a medium go to `arrivals`.
    fn read(&mut self, buffers: &mut [u8], arrivals: &mut VecDeque<Arrival>) -> nix::Result<usize> {
        let mut buffers = buffers.chunks_exact_mut(BUFFER);
        let mut slots: [_; BATCH] = std::array::from_fn(|_| [IoSliceMut::new(buffers.next().unwrap_or_default())]);
        let flags = MsgFlags::MSG_DONTWAIT;
        let packets = recvmmsg(self.socket.as_raw_fd(), &mut self.headers, &mut slots, flags, None)?;
        let mut count = 0;
        for (slot, packet) in packets.enumerate() {
            count += 1;
            let Some(from) = packet.address.as_ref().and_then(address) else { continue };
            let Ok(mut options) = packet.cmsgs() else { continue };
            let (target, index): (IpAddr, _) = match options.next() {
                Some(ControlMessageOwned::Ipv4PacketInfo(info)) => {
                    (Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into(), u32::try_from(info.ipi_ifindex))
                }
                Some(ControlMessageOwned::Ipv6PacketInfo(info)) => {
                    (Ipv6Addr::from(info.ipi6_addr.s6_addr).into(), Ok(info.ipi6_ifindex))
                }
                _ => continue,
            };
            let medium = find_medium(&mut self.routes, index.unwrap_or(0), target, from.ip());
            arrivals.extend(medium.map(|medium| (medium, from, slot, packet.bytes)));
        }
        Ok(count)
    }
}

/// As [`attribute`], and looks for an interface that was removed and created again.
fn find_medium(routes: &mut [Route], index: u32, target: IpAddr, from: IpAddr) -> Option<MediumId> {
    let known = attribute(routes, index, target, from);
    if known.is_some() || routes.iter().any(|route| route.index == index) {
        return known;
    }
    for route in &mut *routes {
        if is_device(index, &route.interface) {
            route.index = index;
        }
    }
    attribute(routes, index, target, from)
}

/// The medium of a packet that came on the interface numbered `index`, from `from` and for `target`.
///
/// What nobody asked for, such as unicast where we use `bcast`, belongs to the first medium of the interface: sources
/// are never checked here, the signature decides (WIRE 13).
fn attribute(routes: &[Route], index: u32, target: IpAddr, from: IpAddr) -> Option<MediumId> {
    let here = || routes.iter().filter(|route| route.index == index);
    let exact = here().find(|route| route.by == By::Target(target));
    let sender = || here().find(|route| !target.is_multicast() && route.by == By::Peer(from));
    let unicast = || here().find(|route| !target.is_multicast() && matches!(route.by, By::Peer(_)));
    let first = || here().find(|route| !matches!(route.by, By::Target(group) if group.is_multicast()));
    exact.or_else(sender).or_else(unicast).or_else(first).map(|route| route.medium)
}

/// A sending socket for `medium` and the address it sends to.
fn open_sender(medium: &Medium, interface: Interface) -> Result<(OwnedFd, SocketAddr), Problem> {
    let version = version_of(&medium.kind);
    let socket = new_socket(version)?;
    let address: IpAddr = match &medium.kind {
        MediumKind::Bcast { .. } => {
            setsockopt(&socket, sockopt::Broadcast, &true)?;
            setsockopt(&socket, sockopt::DontRoute, &true)?;
            interface.address.ok_or(Problem::NoAddress)?;
            interface.broadcast.ok_or(Problem::NoBroadcast)?.into()
        }
        MediumKind::Mcast { group, ttl, loopback, .. } => {
            let own = interface.address.ok_or(Problem::NoAddress)?;
            sys::set_multicast_interface(&socket, interface.index, own).map_err(Problem::System)?;
            setsockopt(&socket, sockopt::IpMulticastTtl, ttl)?;
            setsockopt(&socket, sockopt::IpMulticastLoop, loopback)?;
            (*group).into()
        }
        MediumKind::Mcast6 { group, ttl, loopback, .. } => {
            sys::set_multicast6(&socket, interface.index, *loopback).map_err(Problem::System)?;
            setsockopt(&socket, sockopt::Ipv6MulticastHops, &i32::from(*ttl))?;
            (*group).into()
        }
        MediumKind::Ucast { peer, .. } => {
            setsockopt(&socket, sockopt::ReusePort, &true)?;
            setsockopt(&socket, sockopt::Ipv4Tos, &LOW_DELAY)?;
            let unknown = |_| Problem::UnknownPeer(peer.clone(), version);
            crate::config::resolve(peer).map_err(unknown)?.into()
        }
        MediumKind::Ucast6 { peer, .. } => {
            setsockopt(&socket, sockopt::ReusePort, &true)?;
            setsockopt(&socket, sockopt::Ipv6TClass, &LOW_DELAY)?;
            let unknown = |_| Problem::UnknownPeer(peer.clone(), version);
            crate::config::resolve6(peer).map_err(unknown)?.into()
        }
        MediumKind::Serial { .. }
        | MediumKind::Ping { .. }
        | MediumKind::Ping6 { .. }
        | MediumKind::PingGroup { .. } => return Err(Problem::System(io::ErrorKind::Unsupported.into())),
    };
    // WIRE 13 has this for `ucast` only. With two interfaces in one network it keeps a broadcast on its own cable too.
    if !address.is_multicast() {
        let name = device(interface_of(&medium.kind)).into();
        setsockopt(&socket, sockopt::BindToDevice, &name).map_err(|errno| match errno {
            Errno::EPERM => Problem::NotPermitted { doing: "bind a socket to an interface", capability: "CAP_NET_RAW" },
            other => Problem::from(other),
        })?;
    }
    let to = match address {
        IpAddr::V4(address) => SocketAddrV4::new(address, medium.port).into(),
        IpAddr::V6(address) => SocketAddrV6::new(address, medium.port, 0, scope(address, interface)).into(),
    };
    Ok((socket, to))
}

/// The scope of an address: what is link-local exists once on every interface. Other addresses have none.
fn scope(address: Ipv6Addr, interface: Interface) -> u32 {
    let link_local = address.is_unicast_link_local() || address.is_multicast();
    if link_local { interface.index } else { 0 }
}

fn new_socket(version: IpVersion) -> nix::Result<OwnedFd> {
    let family = match version {
        IpVersion::V4 => AddressFamily::Inet,
        IpVersion::V6 => AddressFamily::Inet6,
    };
    socket(family, SockType::Datagram, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)
}

#[cfg(test)]
mod tests;
