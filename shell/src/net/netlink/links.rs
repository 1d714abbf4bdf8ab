//! Making and changing interfaces and routes, for the laboratories of [`namespace`](crate::net::namespace).

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgePortState, In6AddrGenMode, InfoBridgePort, InfoData, InfoKind, InfoPortData,
    InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};

use super::Netlink;

impl Netlink {
    /// Makes a cable with two ends: `name` here, `peer` in the network namespace `elsewhere`.
    pub fn create_veth(&mut self, name: &str, peer: &str, elsewhere: BorrowedFd<'_>) -> io::Result<()> {
        let mut far_end = named(peer);
        far_end.attributes.push(LinkAttribute::NetNsFd(elsewhere.as_raw_fd()));
        let data = LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(far_end)));
        let mut message = named(name);
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), data]));
        self.create(message)
    }

    /// Makes a bridge, the switch that cables are plugged into.
    pub fn create_bridge(&mut self, name: &str) -> io::Result<()> {
        let mut message = named(name);
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
        self.create(message)
    }

    /// Plugs the interface `link` into `bridge`, or pulls it out with `None`.
    pub fn set_bridge(&mut self, link: u32, bridge: Option<u32>) -> io::Result<()> {
        self.change(link, |message| message.attributes.push(LinkAttribute::Controller(bridge.unwrap_or(0))))
    }

    /// Whether the port `link` of a bridge passes packets on; after its cable is plugged in that takes the kernel a moment.
    pub fn is_forwarding(&mut self, link: u32) -> io::Result<bool> {
        let mut question = LinkMessage::default();
        question.header.index = link;
        let answers = self.request(RouteNetlinkMessage::GetLink(question), 0)?;
        let attributes = answers.into_iter().flat_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(message) => message.attributes,
            _ => Vec::new(),
        });
        let facts = attributes.flat_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(facts) => facts,
            _ => Vec::new(),
        });
        let forwarding = InfoBridgePort::State(BridgePortState::Forwarding);
        Ok(facts.into_iter().any(
            |fact| matches!(fact, LinkInfo::PortData(InfoPortData::BridgePort(port)) if port.contains(&forwarding)),
        ))
    }

    /// Switches an interface on or off.
    pub fn set_up(&mut self, link: u32, up: bool) -> io::Result<()> {
        self.change(link, |message| {
            message.header.change_mask = LinkFlags::Up;
            message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        })
    }

    /// Removes an interface, and with one end of a pair the other.
    pub fn remove_link(&mut self, link: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = link;
        self.request(RouteNetlinkMessage::DelLink(message), 0).map(drop)
    }

    /// Stops the kernel from giving the interface a link-local IPv6 address, and so from looking for duplicates and routers.
    ///
    /// On a kernel without IPv6 there is nothing to stop, which is no error.
    pub fn without_link_local(&mut self, link: u32) -> io::Result<()> {
        let mode = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
        match self.change(link, |message| message.attributes.push(LinkAttribute::AfSpecUnspec(vec![mode]))) {
            Err(error) if error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT) => Ok(()),
            other => other,
        }
    }

    /// Adds a route to `network` through `gateway`.
    pub fn add_route(&mut self, network: IpAddr, prefix: u8, gateway: IpAddr) -> io::Result<()> {
        let mut message = RouteMessage::default();
        message.header.address_family = super::family(network);
        message.header.destination_prefix_length = prefix;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Static;
        message.header.scope = RouteScope::Universe;
        message.header.kind = RouteType::Unicast;
        if prefix > 0 {
            message.attributes.push(RouteAttribute::Destination(RouteAddress::from(network)));
        }
        message.attributes.push(RouteAttribute::Gateway(RouteAddress::from(gateway)));
        self.request(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL).map(drop)
    }

    fn create(&mut self, message: LinkMessage) -> io::Result<()> {
        self.request(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL).map(drop)
    }

    fn change(&mut self, link: u32, edit: impl FnOnce(&mut LinkMessage)) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = link;
        edit(&mut message);
        self.request(RouteNetlinkMessage::SetLink(message), 0).map(drop)
    }
}

fn named(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}
