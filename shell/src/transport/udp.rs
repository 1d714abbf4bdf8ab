//! `bcast`, `mcast` and `ucast`. Read WIRE 13 first.
//!
//! Sending is as the original does it: one socket per medium with an ephemeral source port and the options of WIRE 13.
//!
//! Receiving differs, invisibly on the wire (*ours*): one socket per *port* takes the packets of all media, and the
//! kernel tells with each packet on which interface and for which address it came (IP_PKTINFO). The original binds a
//! socket per medium and lets them share the port, with three faults that this removes:
//! - each of two `bcast` media hears both networks, so that a dead link looks alive while the other works,
//! - of two `ucast` media on one interface the kernel picks one by a hash of the sender's port,
//! - a second program on the port goes unnoticed. Ours is bound alone, so that "port busy" is known at start.
//!
//! Packets of an interface that carries no medium are dropped and counted. An interface that is removed and created
//! again is found under its new number, for receiving at the first packet, for sending at the first error.

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

use hb_core::config::{Medium, MediumKind};
use hb_core::ids::MediumId;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, IpMembershipRequest, MsgFlags, SockFlag, SockType, SockaddrIn, bind, recvmsg,
    sendto, setsockopt, socket, sockopt,
};

use super::interface::{Interface, device, is_device, look_up};
use crate::sys;

/// The largest UDP datagram fits with room to spare; a heartbeat packet is one datagram (WIRE 13).
const BUFFER: usize = 64 * 1024;
/// Half a second of ten busy peers: what arrives while a suspended machine wakes must not be lost.
const RECEIVE_QUEUE: usize = 1024 * 1024;
/// "Low delay" of RFC 791, what 3.0.6 sets on `ucast`.
const LOW_DELAY: i32 = 0x10;

/// What is wrong with a medium; [`OpenError`] says with which.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The system knows no interface of that name.
    #[error("no such network interface")]
    UnknownInterface,
    /// A broadcast or multicast medium needs an address on its interface.
    #[error("the interface has no IPv4 address")]
    NoAddress,
    /// Point-to-point interfaces know no broadcast.
    #[error("the interface has no broadcast address; use ucast")]
    NoBroadcast,
    /// The name of a `ucast` peer leads to no IPv4 address.
    #[error("{0} has no IPv4 address")]
    UnknownPeer(String),
    /// Another program, perhaps another heartbeat, has the port.
    #[error("UDP port {0} is in use by another program")]
    PortBusy(u16),
    /// The process lacks a privilege.
    #[error("not permitted to {doing}: needs root or {capability}")]
    NotPermitted {
        /// What was tried.
        doing: &'static str,
        /// The capability that allows it.
        capability: &'static str,
    },
    /// Anything else the system said.
    #[error("{0}")]
    System(io::Error),
}

/// A medium that cannot be opened; nothing of it or of the others stays open.
#[derive(Debug, thiserror::Error)]
#[error("{directive} {interface}: {problem}")]
pub struct OpenError {
    /// `bcast`, `mcast` or `ucast`.
    pub directive: &'static str,
    /// The name of the interface in ha.cf.
    pub interface: String,
    /// What is wrong.
    pub problem: Problem,
}

/// A packet that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The medium it belongs to.
    pub medium: MediumId,
    /// Where it says it comes from; good for complaints, never for decisions.
    pub from: SocketAddrV4,
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
    buffer: Box<[u8]>,
    control: Vec<u8>,
    strays: u64,
}

#[derive(Debug)]
struct Sender {
    medium: Medium,
    socket: OwnedFd,
    to: SockaddrIn,
    failing: Option<Errno>,
    sent: Sent,
}

#[derive(Debug)]
struct Receiver {
    socket: OwnedFd,
    port: u16,
    ready: bool,
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
    Target(Ipv4Addr),
    /// A `ucast` medium: the address of the peer.
    Peer(Ipv4Addr),
}

impl Udp {
    /// Opens all UDP media of `media`, which are those of the configuration in their order.
    pub fn open(media: &[Medium]) -> Result<Udp, OpenError> {
        let mut udp = Udp {
            senders: BTreeMap::new(),
            receivers: Vec::new(),
            next: 0,
            buffer: vec![0; BUFFER].into(),
            control: nix::cmsg_space!(nix::libc::in_pktinfo),
            strays: 0,
        };
        for (id, medium) in (0..).map(MediumId).zip(media).filter(|(_, medium)| !medium.kind.is_serial()) {
            udp.open_medium(id, medium).map_err(|problem| OpenError {
                directive: directive(&medium.kind),
                interface: medium.kind.interface().to_owned(),
                problem,
            })?;
        }
        Ok(udp)
    }

    fn open_medium(&mut self, id: MediumId, medium: &Medium) -> Result<(), Problem> {
        let name = medium.kind.interface();
        let interface = look_up(name)?;
        let (socket, to) = open_sender(medium, interface)?;
        let known = self.receivers.iter().position(|receiver| receiver.port == medium.port);
        if known.is_none() {
            self.receivers.push(Receiver::open(medium.port)?);
        }
        let position = known.unwrap_or(self.receivers.len() - 1);
        let receiver = &mut self.receivers[position];
        receiver.join(medium, interface)?;
        receiver.routes.push(Route {
            medium: id,
            interface: name.to_owned(),
            index: interface.index,
            by: match medium.kind {
                MediumKind::Ucast { .. } => By::Peer(to.ip()),
                _ => By::Target(to.ip()),
            },
        });
        let sender = Sender { medium: medium.clone(), socket, to, failing: None, sent: Sent::default() };
        self.senders.insert(id, sender);
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
        self.receivers.iter().any(|receiver| receiver.ready)
    }

    /// Takes the next packet, in turns from the ports that have some.
    pub fn receive(&mut self) -> Option<Datagram<'_>> {
        let (medium, from, length) = loop {
            let count = self.receivers.len();
            let position = (0..count).map(|step| (self.next + step) % count).find(|at| self.receivers[*at].ready)?;
            self.next = position + 1;
            let receiver = &mut self.receivers[position];
            match receiver.read(&mut self.buffer, &mut self.control) {
                Ok(Some(packet)) => break packet,
                Ok(None) => self.strays += 1,
                Err(Errno::EINTR) => {}
                // Nothing there, or nothing that reading on would mend: the next packet is an event again.
                Err(_) => receiver.ready = false,
            }
        };
        Some(Datagram { medium, from, bytes: &self.buffer[..length] })
    }

    /// Sends `packet` on a medium; says so when that changes whether the medium carries.
    ///
    /// Nothing that happens here is fatal: the next heartbeat is the next attempt.
    pub fn send(&mut self, medium: MediumId, packet: &[u8]) -> Option<Change> {
        let sender = self.senders.get_mut(&medium)?;
        let mut result = sender.send(packet);
        if result == Err(Errno::ENODEV) || result == Err(Errno::EADDRNOTAVAIL) {
            let receiver = self.receivers.iter_mut().find(|receiver| receiver.port == sender.medium.port);
            if sender.reopen(receiver).is_ok() {
                result = sender.send(packet);
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

fn directive(kind: &MediumKind) -> &'static str {
    match kind {
        MediumKind::Bcast { .. } => "bcast",
        MediumKind::Mcast { .. } => "mcast",
        MediumKind::Ucast { .. } => "ucast",
        MediumKind::Serial { .. } => "serial",
    }
}

impl Sender {
    fn send(&self, packet: &[u8]) -> nix::Result<()> {
        loop {
            match sendto(self.socket.as_raw_fd(), packet, &self.to, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                result => return result.map(drop),
            }
        }
    }

    fn account(&mut self, result: nix::Result<()>) -> Option<Change> {
        match result {
            Ok(()) => self.sent.packets += 1,
            // A full queue is a busy medium, not a broken one.
            Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) => {
                self.sent.queue_full += 1;
                return None;
            }
            Err(_) => self.sent.refused += 1,
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
        let interface = look_up(self.medium.kind.interface())?;
        (self.socket, self.to) = open_sender(&self.medium, interface)?;
        receiver.map_or(Ok(()), |receiver| receiver.join(&self.medium, interface))
    }
}

/// What arrived: its medium, source and length.
type Arrival = (MediumId, SocketAddrV4, usize);

impl Receiver {
    fn open(port: u16) -> Result<Receiver, Problem> {
        let socket = new_socket()?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        // Beyond the system's limit only with a privilege, which is not worth refusing the start.
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_QUEUE).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_QUEUE)?;
        }
        let address = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port));
        bind(socket.as_raw_fd(), &address).map_err(|errno| match errno {
            Errno::EADDRINUSE => Problem::PortBusy(port),
            Errno::EACCES => {
                Problem::NotPermitted { doing: "use a port below 1024", capability: "CAP_NET_BIND_SERVICE" }
            }
            other => Problem::from(other),
        })?;
        // Packets may have come between the bind and the registration.
        Ok(Receiver { socket, port, ready: true, routes: Vec::new() })
    }

    /// Enters the multicast group of `medium`, if it is one.
    fn join(&mut self, medium: &Medium, interface: Interface) -> Result<(), Problem> {
        let MediumKind::Mcast { group, .. } = medium.kind else { return Ok(()) };
        let request = IpMembershipRequest::new(group, Some(interface.address.ok_or(Problem::NoAddress)?));
        match setsockopt(&self.socket, sockopt::IpAddMembership, &request) {
            // Two media with the same group and interface.
            Ok(()) | Err(Errno::EADDRINUSE) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Reads one packet; `None` if it belongs to no medium.
    fn read(&mut self, buffer: &mut [u8], control: &mut [u8]) -> nix::Result<Option<Arrival>> {
        let mut parts = [IoSliceMut::new(buffer)];
        let packet = recvmsg::<SockaddrIn>(self.socket.as_raw_fd(), &mut parts, Some(control), MsgFlags::MSG_DONTWAIT)?;
        let Some(from) = packet.address else { return Ok(None) };
        let Some(ControlMessageOwned::Ipv4PacketInfo(info)) = packet.cmsgs()?.next() else { return Ok(None) };
        let from = SocketAddrV4::new(from.ip(), from.port());
        let target = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
        let index = u32::try_from(info.ipi_ifindex).unwrap_or(0);
        Ok(self.attribute(index, target, *from.ip()).map(|medium| (medium, from, packet.bytes)))
    }

    fn attribute(&mut self, index: u32, target: Ipv4Addr, from: Ipv4Addr) -> Option<MediumId> {
        let known = attribute(&self.routes, index, target, from);
        if known.is_some() || self.routes.iter().any(|route| route.index == index) {
            return known;
        }
        for route in &mut self.routes {
            if is_device(index, &route.interface) {
                route.index = index;
            }
        }
        attribute(&self.routes, index, target, from)
    }
}

/// The medium of a packet that came on the interface numbered `index`, from `from` and for `target`.
///
/// What nobody asked for, such as unicast where we use `bcast`, belongs to the first medium of the interface: sources
/// are never checked here, the signature decides (WIRE 13).
fn attribute(routes: &[Route], index: u32, target: Ipv4Addr, from: Ipv4Addr) -> Option<MediumId> {
    let here = || routes.iter().filter(|route| route.index == index);
    let exact = here().find(|route| route.by == By::Target(target));
    let sender = || here().find(|route| !target.is_multicast() && route.by == By::Peer(from));
    let unicast = || here().find(|route| !target.is_multicast() && matches!(route.by, By::Peer(_)));
    let first = || here().find(|route| !matches!(route.by, By::Target(group) if group.is_multicast()));
    exact.or_else(sender).or_else(unicast).or_else(first).map(|route| route.medium)
}

/// A sending socket for `medium` and the address it sends to.
fn open_sender(medium: &Medium, interface: Interface) -> Result<(OwnedFd, SockaddrIn), Problem> {
    let socket = new_socket()?;
    let address = match &medium.kind {
        MediumKind::Bcast { .. } => {
            setsockopt(&socket, sockopt::Broadcast, &true)?;
            setsockopt(&socket, sockopt::DontRoute, &true)?;
            interface.address.ok_or(Problem::NoAddress)?;
            interface.broadcast.ok_or(Problem::NoBroadcast)?
        }
        MediumKind::Mcast { group, ttl, loopback, .. } => {
            let own = interface.address.ok_or(Problem::NoAddress)?;
            sys::set_multicast_interface(&socket, interface.index, own).map_err(Problem::System)?;
            setsockopt(&socket, sockopt::IpMulticastTtl, ttl)?;
            setsockopt(&socket, sockopt::IpMulticastLoop, loopback)?;
            *group
        }
        MediumKind::Ucast { peer, .. } => {
            setsockopt(&socket, sockopt::ReusePort, &true)?;
            setsockopt(&socket, sockopt::Ipv4Tos, &LOW_DELAY)?;
            crate::config::resolve(peer).map_err(|_| Problem::UnknownPeer(peer.clone()))?
        }
        MediumKind::Serial { .. } => return Err(Problem::System(io::ErrorKind::Unsupported.into())),
    };
    // WIRE 13 has this for `ucast` only. With two interfaces in one network it keeps a broadcast on its own cable too.
    if !matches!(medium.kind, MediumKind::Mcast { .. }) {
        let name = device(medium.kind.interface()).into();
        setsockopt(&socket, sockopt::BindToDevice, &name).map_err(|errno| match errno {
            Errno::EPERM => Problem::NotPermitted { doing: "bind a socket to an interface", capability: "CAP_NET_RAW" },
            other => Problem::from(other),
        })?;
    }
    Ok((socket, SockaddrIn::from(SocketAddrV4::new(address, medium.port))))
}

fn new_socket() -> nix::Result<OwnedFd> {
    socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)
}

impl From<Errno> for Problem {
    fn from(errno: Errno) -> Problem {
        Problem::System(errno.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hb_core::config::Span;
    use std::net::UdpSocket;

    fn free_port() -> u16 {
        UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port()
    }

    fn medium(kind: MediumKind, port: u16) -> Medium {
        Medium { name: kind.interface().into(), kind, port, span: Span::FILE }
    }

    fn bcast(interface: &str, port: u16) -> Medium {
        medium(MediumKind::Bcast { interface: interface.into() }, port)
    }

    fn ucast(peer: &str, port: u16) -> Medium {
        medium(MediumKind::Ucast { interface: "lo".into(), peer: peer.into() }, port)
    }

    fn mcast(port: u16) -> Medium {
        let group = Ipv4Addr::new(225, 0, 0, 7);
        medium(MediumKind::Mcast { interface: "lo".into(), group, port, ttl: 1, loopback: true }, port)
    }

    /// The next packet; loopback delivers before `sendto` returns.
    fn received(udp: &mut Udp) -> Option<(u16, Vec<u8>)> {
        (0..udp.tokens()).for_each(|position| udp.on_readable(position));
        udp.receive().map(|datagram| (datagram.medium.0, datagram.bytes.to_vec()))
    }

    #[test]
    fn every_kind_of_medium_carries_on_the_loopback_interface() {
        let port = free_port();
        let media = [bcast("lo", port), mcast(port), ucast("127.0.0.1", port)];
        let mut udp = Udp::open(&media).unwrap();
        for medium in [0, 1, 2] {
            assert_eq!(udp.send(MediumId(medium), &[b'0' + u8::try_from(medium).unwrap()]), None);
            assert_eq!(received(&mut udp), Some((medium, vec![b'0' + u8::try_from(medium).unwrap()])));
            assert_eq!(udp.sent(MediumId(medium)), Sent { packets: 1, ..Sent::default() });
        }
        assert_eq!(received(&mut udp), None, "one packet sent is one packet received");
        assert!(!udp.is_ready());
        assert_eq!(udp.strays(), 0);
    }

    #[test]
    fn a_full_datagram_arrives_whole() {
        let port = free_port();
        let mut udp = Udp::open(&[ucast("127.0.0.1", port)]).unwrap();
        let packet: Vec<u8> = (0..65_507).map(|at: u32| at.to_le_bytes()[0]).collect();
        assert_eq!(udp.send(MediumId(0), &packet), None);
        assert_eq!(received(&mut udp), Some((0, packet)));
    }

    #[test]
    fn a_port_that_somebody_has_is_reported() {
        let other = UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let error = Udp::open(&[bcast("lo", port)]).unwrap_err();
        assert_eq!(error.to_string(), format!("bcast lo: UDP port {port} is in use by another program"));
    }

    #[test]
    fn what_cannot_work_is_said_in_one_line() {
        assert_eq!(
            Udp::open(&[bcast("no-such-if0", 694)]).unwrap_err().to_string(),
            "bcast no-such-if0: no such network interface"
        );
        assert_eq!(
            Udp::open(&[ucast("no such host", 694)]).unwrap_err().to_string(),
            "ucast lo: no such host has no IPv4 address"
        );
    }

    #[test]
    fn a_medium_that_stops_carrying_says_so_once() {
        let mut udp = Udp::open(&[ucast("127.0.0.1", free_port())]).unwrap();
        let sender = udp.senders.get_mut(&MediumId(0)).unwrap();
        assert_eq!(sender.account(Err(Errno::ENOBUFS)), None);
        assert_eq!(sender.account(Err(Errno::ENETDOWN)), Some(Change::Fails(Errno::ENETDOWN)));
        assert_eq!(sender.account(Err(Errno::ENETUNREACH)), None);
        assert_eq!(sender.account(Ok(())), Some(Change::Works));
        assert_eq!(sender.account(Ok(())), None);
        assert_eq!(sender.sent, Sent { packets: 2, queue_full: 1, refused: 2 });
    }

    #[test]
    fn packets_find_their_medium_by_interface_then_target_then_peer() {
        let route = |medium, index, by| Route { medium: MediumId(medium), interface: String::new(), index, by };
        let ip = |text: &str| -> Ipv4Addr { text.parse().unwrap() };
        let routes = [
            route(0, 1, By::Target(ip("10.0.0.255"))),
            route(1, 2, By::Target(ip("10.0.0.255"))),
            route(2, 2, By::Target(ip("225.0.0.7"))),
            route(3, 2, By::Peer(ip("10.0.0.3"))),
            route(4, 2, By::Peer(ip("10.0.0.4"))),
            route(5, 3, By::Target(ip("225.0.0.7"))),
        ];
        for (index, target, from, medium) in [
            (1, "10.0.0.255", "10.0.0.4", Some(0)),
            (2, "10.0.0.255", "10.0.0.4", Some(1)),
            (2, "225.0.0.7", "10.0.0.4", Some(2)),
            (2, "10.0.0.1", "10.0.0.3", Some(3)),
            (2, "10.0.0.1", "10.0.0.4", Some(4)),
            (2, "10.0.0.1", "10.9.9.9", Some(3)),
            (1, "10.0.0.1", "10.0.0.4", Some(0)),
            (3, "10.0.0.1", "10.0.0.4", None),
            (3, "225.0.0.7", "10.0.0.4", Some(5)),
            (4, "10.0.0.255", "10.0.0.4", None),
        ] {
            let found = attribute(&routes, index, ip(target), ip(from)).map(|medium| medium.0);
            assert_eq!(found, medium, "{index} {target} {from}");
        }
    }
}
