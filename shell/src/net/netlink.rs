//! Questions and orders to the kernel about addresses, links and routes (rtnetlink), one at a time.
//!
//! Invariants:
//! - every request is answered before the call returns: by its data, an acknowledgement, an error or [`TIMEOUT`],
//! - an answer to an earlier request that came too late is recognised by its number and dropped,
//! - the socket belongs to the network namespace of the thread that opened it, whoever uses it later.

mod links;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressProtocol, AddressScope,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::sys::socket::{MsgFlags, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};

use hb_core::arp::Mac;

/// How long one answer may take; the kernel gives it while we send, so that this is only ever reached on a bug of somebody.
pub const TIMEOUT: Duration = Duration::from_secs(1);
/// The largest part of a dump that the kernel writes at once.
pub(super) const ANSWER_MAX: usize = 32 * 1024;

/// An open channel to the kernel.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    question: Vec<u8>,
    answer: Box<[u8]>,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number of the interface, unique in its namespace.
    pub index: u32,
    /// The name, at most 15 bytes.
    pub name: String,
    /// The hardware address, if the interface has one of Ethernet's form.
    pub mac: Option<Mac>,
    /// The largest packet in bytes.
    pub mtu: u32,
    /// Whether it was switched on.
    pub is_up: bool,
    /// Whether there is a signal on the cable.
    pub has_carrier: bool,
    /// Whether it leads only to this machine.
    pub is_loopback: bool,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The interface.
    pub link: u32,
    /// The address.
    pub ip: IpAddr,
    /// The length of its network prefix.
    pub prefix: u8,
    /// The broadcast address, if one was given; IPv4 only.
    pub broadcast: Option<Ipv4Addr>,
    /// The name that the old `ifconfig` shows it under; IPv4 only.
    pub label: Option<String>,
    /// Who added it (IFA_PROTO, Linux 5.18): 0 unknown, 1 to 3 the kernel.
    pub protocol: u8,
    /// Whether the kernel removes it together with an earlier address of the same network; IPv4 only.
    pub is_secondary: bool,
}

/// The entry of a routing table that decides where packets to an address go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The interface.
    pub link: u32,
    /// The length of the entry's prefix; 0 is the default route.
    pub prefix: u8,
}

impl Netlink {
    /// Opens a channel into the network namespace of the calling thread.
    pub fn open() -> io::Result<Netlink> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        let timeout = TimeVal::milliseconds(i64::try_from(TIMEOUT.as_millis()).unwrap_or(i64::MAX));
        setsockopt(&socket, sockopt::ReceiveTimeout, &timeout)?;
        setsockopt(&socket, sockopt::SendTimeout, &timeout)?;
        Ok(Netlink { socket, sequence: 0, question: Vec::new(), answer: vec![0; ANSWER_MAX].into_boxed_slice() })
    }

    /// Lists the interfaces.
    pub fn links(&mut self) -> io::Result<Vec<Link>> {
        let answers = self.request(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP)?;
        Ok(answers.into_iter().filter_map(link_of).collect())
    }

    /// Describes the interface called `name`; an error of kind `NotFound` if there is none.
    pub fn link(&mut self, name: &str) -> io::Result<Link> {
        let mut question = LinkMessage::default();
        question.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.one_link(question)
    }

    /// Describes the interface with this number; an error of kind `NotFound` if there is none.
    pub fn link_by_index(&mut self, index: u32) -> io::Result<Link> {
        let mut question = LinkMessage::default();
        question.header.index = index;
        self.one_link(question)
    }

    fn one_link(&mut self, question: LinkMessage) -> io::Result<Link> {
        let answers = self.request(RouteNetlinkMessage::GetLink(question), 0).map_err(|error| {
            // No such device; a name that the kernel cannot even store names none either.
            let absent = [nix::libc::ENODEV, nix::libc::ERANGE].iter().any(|&code| error.raw_os_error() == Some(code));
            if absent { io::ErrorKind::NotFound.into() } else { error }
        })?;
        answers.into_iter().find_map(link_of).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Lists the addresses of all interfaces.
    pub fn addresses(&mut self) -> io::Result<Vec<Address>> {
        let answers = self.request(RouteNetlinkMessage::GetAddress(AddressMessage::default()), NLM_F_DUMP)?;
        Ok(answers.into_iter().filter_map(address_of).collect())
    }

    /// Puts an address on its interface, usable at once: IPv6 without duplicate address detection.
    ///
    /// Fails with EEXIST if the interface has it already. `is_secondary` is the kernel's choice.
    pub fn add_address(&mut self, address: &Address) -> io::Result<()> {
        let mut message = address_message(address);
        message.attributes.push(AddressAttribute::Address(address.ip));
        message.attributes.extend(address.broadcast.map(AddressAttribute::Broadcast));
        message.attributes.extend(address.label.clone().map(AddressAttribute::Label));
        message.attributes.push(AddressAttribute::Protocol(AddressProtocol::from(address.protocol)));
        self.request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL).map(drop)
    }

    /// Takes an address from its interface; fails with EADDRNOTAVAIL if it is not there.
    pub fn remove_address(&mut self, address: &Address) -> io::Result<()> {
        let mut message = address_message(address);
        message.attributes.push(AddressAttribute::Address(address.ip));
        self.request(RouteNetlinkMessage::DelAddress(message), 0).map(drop)
    }

    /// The routing entry that decides where packets to `address` leave, or `None` without one, or if it is our own.
    pub fn route_to(&mut self, address: IpAddr) -> io::Result<Option<Route>> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(address);
        message.header.destination_prefix_length = bits(address);
        message.header.flags = RouteFlags::FibMatch;
        message.attributes.push(RouteAttribute::Destination(RouteAddress::from(address)));
        let answers = match self.request(RouteNetlinkMessage::GetRoute(message), 0) {
            Ok(answers) => answers,
            Err(error) if is_unreachable(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(answers.into_iter().find_map(route_of))
    }

    /// Sends one request and collects what is answered until its end.
    pub(super) fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        if flags & NLM_F_DUMP != NLM_F_DUMP {
            header.flags |= NLM_F_ACK;
        }
        header.sequence_number = self.sequence;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
        packet.finalize();
        self.question.resize(packet.buffer_len(), 0);
        packet.serialize(&mut self.question);
        self.socket.send(&self.question, 0)?;
        self.collect()
    }

    fn collect(&mut self) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut answers = Vec::new();
        loop {
            let flags = MsgFlags::MSG_TRUNC;
            let length = loop {
                match nix::sys::socket::recv(std::os::fd::AsRawFd::as_raw_fd(&self.socket), &mut self.answer, flags) {
                    Err(nix::errno::Errno::EINTR) => {}
                    Err(nix::errno::Errno::EAGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                    other => break other?,
                }
            };
            for packet in packets(self.answer.get(..length).ok_or_else(|| invalid("an answer is too long"))?) {
                let packet = packet?;
                if packet.header.sequence_number != self.sequence {
                    continue;
                }
                match packet.payload {
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                    NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Overrun(_) => return Err(invalid("answers were lost")),
                    _ => {}
                }
            }
        }
    }
}

impl std::fmt::Debug for Netlink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Netlink").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

/// The messages of which a packet of the kernel consists.
pub(super) fn packets(mut rest: &[u8]) -> impl Iterator<Item = io::Result<NetlinkMessage<RouteNetlinkMessage>>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let packet = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(invalid);
        // Messages begin at multiples of four bytes; behind one that is none nothing is found.
        let length = packet.as_ref().map_or(usize::MAX, |packet| packet.header.length as usize);
        rest = rest.get(length.checked_next_multiple_of(4).unwrap_or(usize::MAX).max(4)..).unwrap_or_default();
        Some(packet)
    })
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn is_unreachable(error: &io::Error) -> bool {
    // ENETUNREACH without any entry; a prohibiting or black-hole entry answers with the other three.
    let codes = [nix::libc::ENETUNREACH, nix::libc::EHOSTUNREACH, nix::libc::EACCES, nix::libc::EINVAL];
    codes.iter().any(|&code| error.raw_os_error() == Some(code))
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// The number of bits of an address: its longest prefix.
pub(super) fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn address_message(address: &Address) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address.ip);
    message.header.prefix_len = address.prefix;
    message.header.scope = AddressScope::Universe;
    message.header.index = address.link;
    if address.ip.is_ipv6() {
        message.header.flags = AddressHeaderFlags::Nodad;
    }
    message.attributes.push(AddressAttribute::Local(address.ip));
    message
}

pub(super) fn link_of(message: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mac: None,
        mtu: 0,
        is_up: flags.contains(LinkFlags::Up),
        has_carrier: flags.contains(LinkFlags::LowerUp),
        is_loopback: flags.contains(LinkFlags::Loopback),
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(bytes) => link.mac = Mac::try_from(bytes).ok(),
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            _ => {}
        }
    }
    Some(link)
}

fn address_of(message: RouteNetlinkMessage) -> Option<Address> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    let (mut local, mut remote, mut broadcast, mut label, mut protocol) = (None, None, None, None, 0);
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(address),
            AddressAttribute::Address(address) => remote = Some(address),
            AddressAttribute::Broadcast(address) => broadcast = Some(address),
            AddressAttribute::Label(text) => label = Some(text),
            AddressAttribute::Protocol(value) => protocol = value.into(),
            _ => {}
        }
    }
    Some(Address {
        link: message.header.index,
        // On a point-to-point link the one called "address" is the peer's; IPv6 gives only that one otherwise.
        ip: local.or(remote)?,
        prefix: message.header.prefix_len,
        broadcast,
        label,
        protocol,
        is_secondary: message.header.flags.contains(AddressHeaderFlags::Secondary),
    })
}

fn route_of(message: RouteNetlinkMessage) -> Option<Route> {
    let RouteNetlinkMessage::NewRoute(message) = message else { return None };
    if message.header.kind != RouteType::Unicast {
        return None;
    }
    let link = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(link) => Some(*link),
        _ => None,
    })?;
    Some(Route { link, prefix: message.header.destination_prefix_length })
}
