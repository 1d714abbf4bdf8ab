//! A run as a capture file, as if a port that mirrors all others had been listening on every segment.
//!
//! The file is a pcapng (draft-ietf-opsawg-pcapng) with an interface for each segment and a record for each
//! transmission, however many hosts it reaches. A record carries the packet as it was sent, in Ethernet, IPv4 and UDP; a
//! comment says whom it did not reach, and why. Times are those of a right wall clock, to the nanosecond.
//!
//! | medium | from | to |
//! |---|---|---|
//! | `bcast` | 10.0.0.N of host number N | 10.0.0.255 |
//! | `mcast` | 10.0.0.N | the group |
//! | `ucast` | the peer's network, N as its last part | the peer |

use crate::clock::EPOCH;
use crate::recording::{Packet, Recording};
use etherparse::PacketBuilder;
use hb_core::config::{Config, Medium, MediumKind};
use hb_core::time::Instant;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The network of media that name no address.
const NETWORK: [u8; 3] = [10, 0, 0];
/// The first of the ports that packets are sent from: the original has the system choose one.
const EPHEMERAL: u16 = 49_152;
/// The time to live of what is not multicast.
const TTL: u8 = 64;
/// The longest payload of UDP over IPv4.
const UDP_MAX: usize = 65_507;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const MAGIC: u32 = 0x1a2b_3c4d;
const ETHERNET: u16 = 1;
/// Options: the end of them, a comment, an interface's name and its resolution of time, who wrote the file.
const END: u16 = 0;
const COMMENT: u16 = 1;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const USER_APPLICATION: u16 = 4;
/// Times count 10^-9 seconds.
const NANOSECONDS: u8 = 9;

/// What a capture has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Records.
    pub packets: usize,
    /// Packets that are longer than a UDP datagram: no socket would have taken them, and they are left out.
    pub too_long: usize,
}

/// Writes the packets of a recording, made with [`Detail::Packets`](crate::Detail::Packets) by hosts of these
/// configurations.
pub fn write<'a>(
    recording: &Recording,
    configs: impl Iterator<Item = &'a Config>,
    out: &mut impl Write,
) -> io::Result<Written> {
    let media: Vec<&[Medium]> = configs.map(Config::media).collect();
    let mut segments: Vec<&str> = Vec::new();
    for medium in media.iter().copied().flatten() {
        if !medium.kind.is_ping() && !segments.contains(&segment(medium)) {
            segments.push(segment(medium));
        }
    }
    let mut file = File { out, block: Vec::new() };
    file.header()?;
    for segment in &segments {
        file.interface(segment)?;
    }
    let mut written = Written::default();
    let mut frame = Vec::new();
    for of_transmission in recording.packets.chunk_by(|one, next| one.transmission == next.transmission) {
        let [packet, ..] = of_transmission else { continue };
        let Some(medium) = media.get(packet.from).and_then(|media| media.get(packet.medium.index())) else { continue };
        if packet.frame.len() > UDP_MAX {
            written.too_long += 1;
            continue;
        }
        let interface = segments.iter().position(|known| *known == segment(medium)).unwrap_or(0);
        frame.clear();
        build(packet, medium, &mut frame)?;
        file.packet(interface, packet.at, &frame, &comment(recording, of_transmission))?;
        written.packets += 1;
    }
    Ok(written)
}

fn segment(medium: &Medium) -> &str {
    medium.kind.interface().unwrap_or_default()
}

/// The packet with its headers.
fn build(packet: &Packet, medium: &Medium, frame: &mut Vec<u8>) -> io::Result<()> {
    let number = u8::try_from(packet.from + 1).unwrap_or(u8::MAX);
    let last = u8::try_from(packet.to + 1).unwrap_or(u8::MAX);
    let in_network = |[a, b, c]: [u8; 3], last| Ipv4Addr::new(a, b, c, last);
    let (source, destination, hardware, ttl): (IpAddr, IpAddr, _, _) = match &medium.kind {
        // A capture has no serial lines: what goes over one looks like a broadcast.
        MediumKind::Bcast { .. } | MediumKind::Serial { .. } => {
            (in_network(NETWORK, number).into(), in_network(NETWORK, 255).into(), [0xff; 6], TTL)
        }
        MediumKind::Mcast { group, ttl, .. } => {
            let [_, b, c, d] = group.octets();
            (in_network(NETWORK, number).into(), (*group).into(), [0x01, 0x00, 0x5e, b & 0x7f, c, d], *ttl)
        }
        MediumKind::Mcast6 { group, ttl, .. } => {
            let [.., a, b, c, d] = group.octets();
            (link_local(number).into(), (*group).into(), [0x33, 0x33, a, b, c, d], *ttl)
        }
        // A name is resolved by nobody here; the receiver is known all the same.
        MediumKind::Ucast { peer, .. } => {
            let peer = peer.parse().unwrap_or_else(|_| in_network(NETWORK, last));
            let [a, b, c, _] = peer.octets();
            (in_network([a, b, c], number).into(), peer.into(), station(last), TTL)
        }
        MediumKind::Ping { .. } | MediumKind::Ping6 { .. } | MediumKind::PingGroup { .. } => {
            return Err(io::Error::other("what goes to a ping node is not recorded"));
        }
        MediumKind::Ucast6 { peer, .. } => {
            let peer = peer.parse().unwrap_or_else(|_| link_local(last));
            let mut own = peer.segments();
            own[7] = u16::from(number);
            (Ipv6Addr::from(own).into(), peer.into(), station(last), TTL)
        }
    };
    let port = EPHEMERAL.saturating_add(packet.medium.0);
    let ethernet = PacketBuilder::ethernet2(station(number), hardware);
    let ip = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => ethernet.ipv4(source.octets(), destination.octets(), ttl),
        (IpAddr::V6(source), IpAddr::V6(destination)) => ethernet.ipv6(source.octets(), destination.octets(), ttl),
        _ => unreachable!("each medium has one version of IP"),
    };
    ip.udp(port, medium.port).write(frame, &packet.frame).map_err(io::Error::other)
}

fn link_local(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, u16::from(number))
}

/// A locally administered address: a host's, by its number.
fn station(number: u8) -> [u8; 6] {
    [0x02, 0x00, 0x00, 0x00, 0x00, number]
}

/// Whom a transmission did not reach; empty if it reached all.
fn comment(recording: &Recording, of_transmission: &[Packet]) -> String {
    let lost = of_transmission.iter().filter_map(|packet| {
        let why = packet.fate.err()?;
        Some(format!("to {}: {}", recording.hosts[packet.to], why.word()))
    });
    lost.collect::<Vec<_>>().join(", ")
}

/// A pcapng file in the making.
struct File<'a, W> {
    out: &'a mut W,
    /// The body of the block that is being made.
    block: Vec<u8>,
}

impl<W: Write> File<'_, W> {
    fn header(&mut self) -> io::Result<()> {
        self.u32(MAGIC);
        self.u16(1);
        self.u16(0);
        // The length of the section is not said.
        self.block.extend([0xff; 8]);
        self.option(USER_APPLICATION, concat!("hbsim ", env!("CARGO_PKG_VERSION")).as_bytes());
        self.option(END, &[]);
        self.end(SECTION_HEADER)
    }

    fn interface(&mut self, name: &str) -> io::Result<()> {
        self.u16(ETHERNET);
        self.u16(0);
        // No packet is cut off.
        self.u32(0);
        self.option(IF_NAME, name.as_bytes());
        self.option(IF_TSRESOL, &[NANOSECONDS]);
        self.option(END, &[]);
        self.end(INTERFACE)
    }

    fn packet(&mut self, interface: usize, at: Instant, frame: &[u8], comment: &str) -> io::Result<()> {
        let time = (EPOCH * 1_000_000_000).saturating_add(at.as_nanos());
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        self.u32(u32::try_from(interface).unwrap_or(0));
        self.block.extend(u32::try_from(time >> 32).unwrap_or(u32::MAX).to_le_bytes());
        self.block.extend(&time.to_le_bytes()[..4]);
        self.u32(length);
        self.u32(length);
        self.padded(frame);
        if !comment.is_empty() {
            self.option(COMMENT, comment.as_bytes());
            self.option(END, &[]);
        }
        self.end(ENHANCED_PACKET)
    }

    fn u16(&mut self, value: u16) {
        self.block.extend(value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.block.extend(value.to_le_bytes());
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.block.extend(bytes);
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    /// An option; one longer than its length can say is cut off.
    fn option(&mut self, code: u16, value: &[u8]) {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.u16(code);
        self.u16(length);
        self.padded(&value[..usize::from(length)]);
    }

    fn end(&mut self, kind: u32) -> io::Result<()> {
        let length = u32::try_from(self.block.len() + 12).map_err(io::Error::other)?.to_le_bytes();
        self.out.write_all(&kind.to_le_bytes())?;
        self.out.write_all(&length)?;
        self.out.write_all(&self.block)?;
        self.block.clear();
        self.out.write_all(&length)
    }
}
