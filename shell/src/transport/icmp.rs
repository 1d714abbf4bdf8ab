//! `ping`, `ping6` and `ping_group`. Read WIRE 13 first.
//!
//! A message to a ping node is the data of an ICMP echo request; the data of the reply is what is received. One raw
//! socket for each version of IP takes the replies of all ping media.
//!
//! A reply belongs to the medium that sent *exactly these bytes* under its sequence number, once, within the last
//! [`REMEMBERED`] requests (*ours*): the original takes whatever is signed. So a recorded reply that is sent again later
//! does not keep a dead router alive.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use hb_core::Frame;
use hb_core::config::{Medium, MediumKind};
use hb_core::ids::MediumId;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, recvmsg, sendto, setsockopt, socket,
    sockopt,
};

use super::address;
use super::udp::{Change, Datagram, IpVersion, OpenError, Problem};

/// Requests whose replies are still taken; the original remembers as many of a group.
const REMEMBERED: usize = 128;
/// Signed messages have a few hundred bytes; whatever is longer is not ours.
const BUFFER: usize = 8 * 1024;
/// Type, code, checksum, identifier, sequence.
const HEADER: usize = 8;

/// All ping media of a node.
#[derive(Debug)]
pub struct Icmp {
    media: Vec<Pinger>,
    sockets: Vec<Socket>,
    /// As in 3.0.6: the low half of the process id, on the wire in the byte order of the machine.
    identifier: [u8; 2],
    buffer: Box<[u8]>,
}

#[derive(Debug)]
struct Socket {
    descriptor: OwnedFd,
    version: IpVersion,
    ready: bool,
}

#[derive(Debug)]
struct Pinger {
    medium: MediumId,
    version: IpVersion,
    /// In the order in which they are asked: for a group the reverse of the configuration (WIRE 13).
    hosts: Vec<IpAddr>,
    next: u16,
    /// The last requests by sequence number modulo their count; one that was answered is gone.
    sent: Vec<Option<(u16, Frame)>>,
    failing: Option<Errno>,
}

impl Icmp {
    /// Opens the ping media among `media`, which are those of the configuration in their order.
    pub fn open(media: &[Medium]) -> Result<Icmp, OpenError> {
        let [low, high, ..] = std::process::id().to_le_bytes();
        let identifier = u16::from_le_bytes([low, high]).to_ne_bytes();
        let mut icmp = Icmp { media: Vec::new(), sockets: Vec::new(), identifier, buffer: vec![0; BUFFER].into() };
        for (id, medium) in (0..).map(MediumId).zip(media).filter(|(_, medium)| medium.kind.is_ping()) {
            icmp.open_medium(id, &medium.kind).map_err(|problem| OpenError {
                directive: medium.kind.directive(),
                interface: medium.name.clone(),
                problem,
            })?;
        }
        Ok(icmp)
    }

    fn open_medium(&mut self, medium: MediumId, kind: &MediumKind) -> Result<(), Problem> {
        let version = if matches!(kind, MediumKind::Ping6 { .. }) { IpVersion::V6 } else { IpVersion::V4 };
        let resolve = |host: &String| -> Result<IpAddr, Problem> {
            let found = match version {
                IpVersion::V4 => crate::config::resolve(host).map(IpAddr::from),
                IpVersion::V6 => crate::config::resolve6(host).map(IpAddr::from),
            };
            found.map_err(|_| Problem::UnknownPeer(host.clone(), version))
        };
        let hosts = kind.hosts().iter().rev().map(resolve).collect::<Result<Vec<_>, _>>()?;
        if !self.sockets.iter().any(|socket| socket.version == version) {
            self.sockets.push(Socket::open(version)?);
        }
        self.media.push(Pinger { medium, version, hosts, next: 0, sent: vec![None; REMEMBERED], failing: None });
        Ok(())
    }

    /// Registers the sockets under `first` and the token after it.
    pub fn register(&self, registry: &Registry, first: Token) -> io::Result<()> {
        for (position, socket) in self.sockets.iter().enumerate() {
            let descriptor = socket.descriptor.as_raw_fd();
            registry.register(&mut SourceFd(&descriptor), Token(first.0 + position), Interest::READABLE)?;
        }
        Ok(())
    }

    /// Notes that the socket of token `first + position` has packets.
    pub fn on_readable(&mut self, position: usize) {
        if let Some(socket) = self.sockets.get_mut(position) {
            socket.ready = true;
        }
    }

    /// Whether packets may be waiting that no further event will announce.
    pub fn is_ready(&self) -> bool {
        self.sockets.iter().any(|socket| socket.ready)
    }

    /// Takes the data of the next reply to one of our requests; all else that ICMP carries is passed over.
    pub fn receive(&mut self) -> Option<Datagram<'_>> {
        let (medium, from, data) = loop {
            let socket = self.sockets.iter_mut().find(|socket| socket.ready)?;
            match socket.read(&mut self.buffer) {
                Ok((from, length)) => {
                    let Some(data) = reply(socket.version, self.identifier, &self.buffer[..length]) else { continue };
                    let (sequence, start) = data;
                    let bytes = &self.buffer[start..length];
                    let asked = self.media.iter_mut().find_map(|pinger| pinger.take(sequence, bytes));
                    if let Some(medium) = asked {
                        break (medium, from, start..length);
                    }
                }
                Err(Errno::EINTR) => {}
                Err(_) => socket.ready = false,
            }
        };
        Some(Datagram { medium, from, bytes: &self.buffer[data] })
    }

    /// Asks the hosts of a ping medium; says so when that changes whether the medium carries. `None` if it is no ping
    /// medium, too.
    ///
    /// A host that cannot be reached does not keep the others from being asked (CLUSTER k.14).
    pub fn send(&mut self, medium: MediumId, frame: &Frame) -> Option<Change> {
        let pinger = self.media.iter_mut().find(|pinger| pinger.medium == medium)?;
        let socket = self.sockets.iter().find(|socket| socket.version == pinger.version)?;
        let sequence = pinger.next;
        pinger.next = pinger.next.wrapping_add(1);
        if let Some(slot) = pinger.sent.get_mut(usize::from(sequence) % REMEMBERED) {
            *slot = Some((sequence, frame.clone()));
        }
        let packet = request(pinger.version, self.identifier, sequence, frame);
        let results: Vec<_> = pinger.hosts.iter().map(|host| socket.send(*host, &packet)).collect();
        // One host that could be asked is enough.
        let failing = if results.iter().any(Result::is_ok) { None } else { results.into_iter().find_map(Result::err) };
        let before = std::mem::replace(&mut pinger.failing, failing);
        match (before, failing) {
            (None, Some(errno)) => Some(Change::Fails(errno)),
            (Some(_), None) => Some(Change::Works),
            (None, None) | (Some(_), Some(_)) => None,
        }
    }
}

impl Pinger {
    /// Whether these bytes are the data of our request of that number, which is not answered yet.
    fn take(&mut self, sequence: u16, data: &[u8]) -> Option<MediumId> {
        let slot = self.sent.get_mut(usize::from(sequence) % REMEMBERED)?;
        slot.take_if(|(number, frame)| *number == sequence && **frame == *data).map(|_| self.medium)
    }
}

impl Socket {
    fn open(version: IpVersion) -> Result<Socket, Problem> {
        let (family, protocol) = match version {
            IpVersion::V4 => (AddressFamily::Inet, SockProtocol::Icmp),
            IpVersion::V6 => (AddressFamily::Inet6, SockProtocol::IcmpV6),
        };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let descriptor = socket(family, SockType::Raw, flags, protocol).map_err(|errno| match errno {
            Errno::EPERM | Errno::EACCES => {
                Problem::NotPermitted { doing: "open a raw socket for pings", capability: "CAP_NET_RAW" }
            }
            other => Problem::from(other),
        })?;
        // Whatever anybody pings from this machine arrives here as well.
        setsockopt(&descriptor, sockopt::RcvBuf, &(128 * 1024))?;
        Ok(Socket { descriptor, version, ready: true })
    }

    fn read(&self, buffer: &mut [u8]) -> nix::Result<(SocketAddr, usize)> {
        let mut parts = [IoSliceMut::new(buffer)];
        let descriptor = self.descriptor.as_raw_fd();
        let packet = recvmsg::<SockaddrStorage>(descriptor, &mut parts, None, MsgFlags::MSG_DONTWAIT)?;
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        Ok((packet.address.as_ref().and_then(address).unwrap_or(nowhere), packet.bytes))
    }

    fn send(&self, host: IpAddr, packet: &[u8]) -> nix::Result<()> {
        let to = SockaddrStorage::from(SocketAddr::from((host, 0)));
        loop {
            match sendto(self.descriptor.as_raw_fd(), packet, &to, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                // A full queue is a busy network; the next heartbeat asks again.
                Ok(_) | Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// A complete echo request; of ICMPv6 the kernel computes the checksum, which covers the addresses too.
pub fn request(version: IpVersion, identifier: [u8; 2], sequence: u16, data: &[u8]) -> Vec<u8> {
    let kind = if version == IpVersion::V4 { 8 } else { 128 };
    let mut packet = vec![kind, 0, 0, 0, identifier[0], identifier[1]];
    packet.extend(sequence.to_be_bytes());
    packet.extend(data);
    if version == IpVersion::V4 {
        let checksum = checksum(&packet).to_be_bytes();
        packet[2..4].copy_from_slice(&checksum);
    }
    packet
}

/// The sequence number of an echo reply with our identifier, and where its data begins. A raw IPv4 socket shows the header
/// of IP too.
pub fn reply(version: IpVersion, identifier: [u8; 2], packet: &[u8]) -> Option<(u16, usize)> {
    let (kind, start) = match version {
        IpVersion::V4 => (0, usize::from(packet.first()? & 0x0f) * 4),
        IpVersion::V6 => (129, 0),
    };
    let header: &[u8; HEADER] = packet.get(start..)?.first_chunk()?;
    let [found, 0, _, _, first, second, high, low] = *header else { return None };
    (found == kind && [first, second] == identifier).then(|| (u16::from_be_bytes([high, low]), start + HEADER))
}

/// The checksum of RFC 1071 over a packet whose checksum field is zero.
fn checksum(packet: &[u8]) -> u16 {
    let words = packet.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hb_core::config::Span;
    use std::net::Ipv6Addr;
    use std::time::{Duration, Instant};

    fn medium(name: &str, kind: MediumKind) -> Medium {
        Medium { name: name.into(), kind, port: 0, span: Span::FILE }
    }

    fn received(icmp: &mut Icmp) -> Option<(u16, Vec<u8>)> {
        let end = Instant::now() + Duration::from_millis(200);
        while Instant::now() < end {
            (0..2).for_each(|position| icmp.on_readable(position));
            if let Some(datagram) = icmp.receive() {
                return Some((datagram.medium.0, datagram.bytes.to_vec()));
            }
        }
        None
    }

    #[test]
    fn a_request_has_the_layout_of_the_original() {
        let packet = request(IpVersion::V4, [0xa6, 0x50], 0, b"###\n");
        assert_eq!(packet, [8, 0, 0x0b, 0x82, 0xa6, 0x50, 0, 0, b'#', b'#', b'#', b'\n']);
        assert_eq!(checksum(&packet), 0, "over itself a right checksum gives zero");
        assert_eq!(checksum(&[1]), !0x0100, "an odd packet ends with a zero byte");
    }

    #[test]
    fn only_replies_with_our_identifier_are_read() {
        let mut packet = vec![0x45; 20];
        packet.extend([0, 0, 9, 9, 1, 2, 0x12, 0x34, b'x']);
        assert_eq!(reply(IpVersion::V4, [1, 2], &packet), Some((0x1234, 28)));
        assert_eq!(reply(IpVersion::V4, [1, 3], &packet), None);
        assert_eq!(reply(IpVersion::V4, [1, 2], &packet[..27]), None);
        packet[20] = 8;
        assert_eq!(reply(IpVersion::V4, [1, 2], &packet), None, "our own request on the loopback interface");
        assert_eq!(reply(IpVersion::V6, [1, 2], &[129, 0, 9, 9, 1, 2, 0, 7]), Some((7, 8)));
        assert_eq!(reply(IpVersion::V4, [1, 2], &[]), None);
    }

    #[test]
    fn an_answer_counts_once_and_only_byte_for_byte() {
        let frame: Frame = b"signed".as_slice().into();
        let mut sent = vec![None; REMEMBERED];
        sent[3] = Some((131, frame));
        let mut pinger =
            Pinger { medium: MediumId(4), version: IpVersion::V4, hosts: Vec::new(), next: 0, sent, failing: None };
        assert_eq!(pinger.take(3, b"signed"), None);
        assert_eq!(pinger.take(131, b"Signed"), None);
        assert_eq!(pinger.take(131, b"signed"), Some(MediumId(4)));
        assert_eq!(pinger.take(131, b"signed"), None);
    }

    #[test]
    fn hosts_that_answer_are_heard() {
        let mut media = vec![
            medium("eth0", MediumKind::Bcast { interface: "eth0".into() }),
            medium("127.0.0.1", MediumKind::Ping { host: "127.0.0.1".into() }),
            medium("gw", MediumKind::PingGroup { hosts: vec!["127.0.0.2".into(), "127.0.0.3".into()] }),
        ];
        if std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            media.push(medium("::1", MediumKind::Ping6 { host: "::1".into() }));
        }
        let mut icmp = match Icmp::open(&media) {
            Err(OpenError { problem: Problem::NotPermitted { .. }, .. }) => return,
            opened => opened.unwrap(),
        };
        for medium in 1..u16::try_from(media.len()).unwrap() {
            for round in 0..3 {
                let frame: Frame = format!("to {medium} in round {round}").into_bytes().into();
                assert_eq!(icmp.send(MediumId(medium), &frame), None);
                assert_eq!(received(&mut icmp), Some((medium, frame.to_vec())));
            }
            assert_eq!(received(&mut icmp), None, "both members of a group answered; one answer counts");
        }
        assert_eq!(icmp.send(MediumId(0), &[].into()), None, "no ping medium");
    }
}
