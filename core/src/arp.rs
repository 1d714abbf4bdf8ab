//! Frames that tell a network where a virtual IP address lives now. Read CLUSTER d.7 first.
//!
//! | frame | for | who believes it |
//! |---|---|---|
//! | ARP request, who-has VIP tell VIP | IPv4 | every neighbour that has an entry for the address: it must note the sender |
//! | ARP reply, VIP is-at MAC, broadcast | IPv4 | those that learn from replies only |
//! | unsolicited neighbour advertisement, override set | IPv6 | every neighbour that has an entry (RFC 4861, 7.2.6) |
//!
//! The frames are complete, Ethernet header included, and constant but for two holes: the hardware address and the VIP.

use crate::action::ArpKind;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

/// An Ethernet hardware address.
pub type Mac = [u8; 6];

/// The length of an ARP frame in bytes; the card pads it to the minimum of Ethernet.
pub const ARP_LEN: usize = 42;
/// The length of an unsolicited neighbour advertisement in bytes.
pub const ADVERTISEMENT_LEN: usize = 86;

const BROADCAST: Mac = [0xff; 6];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
/// Ethernet (1) and IPv4 (0x0800), with addresses of six and four bytes.
const ARP_KINDS: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];
const ICMPV6: u8 = 58;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// The override flag: replace what you had. Neither a router speaks nor was anybody asked.
const OVERRIDE: u8 = 0x20;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
/// A neighbour message with any other hop limit may come from beyond a router and is ignored (RFC 4861, 7.1.2).
const HOP_LIMIT: u8 = 255;

/// Makes the ARP frame that announces `address` at `mac`.
///
/// Byte for byte what the original's sender sends, also in the target's hardware address, which receivers ignore: zero in
/// a request, our own in a reply.
pub fn gratuitous(kind: ArpKind, mac: Mac, address: Ipv4Addr) -> [u8; ARP_LEN] {
    let (operation, target) = match kind {
        ArpKind::Request => ([0, 1], Mac::default()),
        ArpKind::Reply => ([0, 2], mac),
    };
    let vip = address.octets();
    fill([&BROADCAST, &mac, &ETHERTYPE_ARP, &ARP_KINDS, &operation, &mac, &vip, &target, &vip])
}

/// Makes the unsolicited neighbour advertisement that announces `address` at `mac` to all nodes of the link.
pub fn advertisement(mac: Mac, address: Ipv6Addr) -> [u8; ADVERTISEMENT_LEN] {
    const VERSION: [u8; 4] = [0x60, 0, 0, 0];
    const PAYLOAD_LEN: [u8; 2] = [0, 32];
    let (source, target) = (address.octets(), ALL_NODES.octets());
    // One option, one unit of eight bytes long.
    let option = [TARGET_LINK_LAYER_ADDRESS, 1];
    let flags = [OVERRIDE, 0, 0, 0];
    let kind = [NEIGHBOUR_ADVERTISEMENT, 0];
    let pseudo_header = [0, 0, 0, 32, 0, 0, 0, ICMPV6];
    let checksum = checksum([&source[..], &target, &pseudo_header, &kind, &flags, &source, &option, &mac]);
    fill([
        &ALL_NODES_MAC,
        &mac,
        &ETHERTYPE_IPV6,
        &VERSION,
        &PAYLOAD_LEN,
        &[ICMPV6, HOP_LIMIT],
        &source,
        &target,
        &kind,
        &checksum.to_be_bytes(),
        &flags,
        &source,
        &option,
        &mac,
    ])
}

/// The Internet checksum (RFC 1071) over `parts`, each of which has an even length except perhaps the last.
pub fn checksum<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u16 {
    let mut sum = 0_u64;
    for part in parts {
        let (pairs, rest) = part.as_chunks::<2>();
        let last = rest.first().map_or(0, |byte| u16::from_be_bytes([*byte, 0]));
        for word in pairs.iter().map(|pair| u16::from_be_bytes(*pair)).chain([last]) {
            sum = sum.saturating_add(u64::from(word));
        }
    }
    // Bytes in memory are fewer than would fill the sum; so three folds of the carry end in sixteen bits.
    for _ in 0..3 {
        sum = (sum & 0xffff).saturating_add(sum >> 16);
    }
    !u16::try_from(sum & 0xffff).unwrap_or(u16::MAX)
}

fn fill<const LEN: usize, const PARTS: usize>(parts: [&[u8]; PARTS]) -> [u8; LEN] {
    let bytes: Vec<u8> = parts.concat();
    let mut frame = [0; LEN];
    for (to, from) in frame.iter_mut().zip(bytes) {
        *to = from;
    }
    frame
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use core::fmt::Write as _;

    use etherparse::{
        ArpHardwareId, ArpOperation, EtherType, Icmpv6Type, LinkSlice, NetSlice, SlicedPacket, TransportSlice,
    };

    use super::*;

    const MAC: Mac = [2, 0, 0, 0xaa, 0xbb, 0xcc];
    const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
    const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x100);

    fn addresses(packet: &SlicedPacket<'_>) -> (Mac, Mac) {
        let Some(LinkSlice::Ethernet2(link)) = &packet.link else { panic!("no Ethernet header") };
        (link.source(), link.destination())
    }

    #[test]
    fn both_kinds_of_arp_bind_the_address_to_our_hardware_address_for_everybody() {
        for (kind, operation) in [(ArpKind::Request, ArpOperation::REQUEST), (ArpKind::Reply, ArpOperation::REPLY)] {
            let frame = gratuitous(kind, MAC, VIP);
            let packet = SlicedPacket::from_ethernet(&frame).unwrap();
            assert_eq!(addresses(&packet), (MAC, BROADCAST));
            let Some(NetSlice::Arp(arp)) = &packet.net else { panic!("{kind:?}: no ARP") };
            assert_eq!((arp.hw_addr_type(), arp.proto_addr_type()), (ArpHardwareId::ETHERNET, EtherType::IPV4));
            assert_eq!(arp.operation(), operation);
            assert_eq!((arp.sender_hw_addr(), arp.sender_protocol_addr()), (&MAC[..], &VIP.octets()[..]));
            assert_eq!(arp.target_protocol_addr(), VIP.octets(), "who-has VIP tell VIP");
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_original_sender() {
        // Captured from send_arp of 3.0.6 for 10.77.0.100 on a card with this address.
        const CARD: Mac = [0xaa, 0x50, 0x8e, 0x51, 0x7d, 0xa0];
        let request = "ffffffffffffaa508e517da008060001080006040001aa508e517da00a4d00640000000000000a4d0064";
        let reply = "ffffffffffffaa508e517da008060001080006040002aa508e517da00a4d0064aa508e517da00a4d0064";
        for (kind, captured) in [(ArpKind::Request, request), (ArpKind::Reply, reply)] {
            let mut ours = String::new();
            for byte in gratuitous(kind, CARD, VIP) {
                write!(ours, "{byte:02x}").unwrap();
            }
            assert_eq!(ours, captured);
        }
    }

    #[test]
    fn an_advertisement_overrides_what_every_neighbour_knew() {
        let frame = advertisement(MAC, VIP6);
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        assert_eq!(addresses(&packet), (MAC, ALL_NODES_MAC));
        let Some(NetSlice::Ipv6(ip)) = &packet.net else { panic!("no IPv6") };
        let header = ip.header();
        assert_eq!((header.source_addr(), header.destination_addr()), (VIP6, ALL_NODES));
        assert_eq!(header.hop_limit(), 255);
        let Some(TransportSlice::Icmpv6(icmp)) = &packet.transport else { panic!("no ICMPv6") };
        assert!(icmp.is_checksum_valid(header.source(), header.destination()));
        let Icmpv6Type::NeighborAdvertisement(flags) = icmp.icmp_type() else { panic!("{:?}", icmp.icmp_type()) };
        assert_eq!((flags.router, flags.solicited, flags.r#override), (false, false, true));
        assert_eq!(icmp.payload(), [&VIP6.octets()[..], &[2, 1], &MAC].concat(), "target, then its link-layer address");
    }

    #[test]
    fn the_checksum_is_the_one_of_rfc_1071() {
        let example = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum([&example[..]]), !0xddf2);
        assert_eq!(checksum([&example[..4], &example[4..]]), !0xddf2, "however it is cut into parts");
        assert_eq!(checksum([&[0x12][..]]), !0x1200, "an odd byte counts as the high one");
    }
}
