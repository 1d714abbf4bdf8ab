//! Heartbeat's packets out of a capture file: UDP payloads and ICMP echo data. Serial bytes are in no capture.

use etherparse::defrag::IpDefragPool;
use etherparse::{EtherType, IpNumber, SlicedPacket, TransportSlice, UdpSlice};
use pcap_parser::data::{PacketData, get_packetdata};
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};
use std::collections::BTreeMap;
use std::io::{self, Read};

/// The reader's buffer: more than any frame that a capture may hold (tcpdump's largest is 256 KiB).
const BUFFER: usize = 1024 * 1024;
/// How many frames later the rest of a fragmented packet is no longer waited for; bounds what fragments may occupy.
const FRAGMENT_PATIENCE: u64 = 4096;

/// Calls `on_payload` for each packet of Heartbeat in a capture and returns how many frames held none.
pub(super) fn for_each_payload(
    file: impl Read + Send,
    mut on_payload: impl FnMut(&[u8]) -> io::Result<()>,
) -> anyhow::Result<usize> {
    let mut reader = create_reader(BUFFER, file).map_err(|error| unreadable(&error))?;
    let mut frames = Frames::default();
    let mut skipped = 0;
    let mut exhausted = false;
    loop {
        match reader.next() {
            Ok((length, block)) => {
                match frames.payload(&block) {
                    Found::Packet(payload) => on_payload(&payload)?,
                    Found::Other => skipped += 1,
                    Found::NoFrame => {}
                }
                reader.consume(length);
            }
            Err(PcapError::Eof) => return Ok(skipped),
            Err(PcapError::Incomplete(_)) if !exhausted => {
                reader.refill().map_err(|error| unreadable(&error))?;
                exhausted = reader.reader_exhausted();
            }
            Err(error) => return Err(unreadable(&error)),
        }
    }
}

/// The message of an error that borrows from the reader.
fn unreadable(error: &PcapError<&[u8]>) -> anyhow::Error {
    match error {
        PcapError::Eof => anyhow::anyhow!("the file is empty"),
        PcapError::HeaderNotRecognized => anyhow::anyhow!("the file is neither pcap nor pcapng"),
        PcapError::Incomplete(_) | PcapError::UnexpectedEof => anyhow::anyhow!("the capture ends within a frame"),
        PcapError::ReadError => anyhow::anyhow!("the file cannot be read"),
        _ => anyhow::anyhow!("the capture is damaged"),
    }
}

enum Found {
    Packet(Vec<u8>),
    Other,
    /// A block of the file that is no frame.
    NoFrame,
}

/// What must be remembered between frames: link types, and fragments.
#[derive(Default)]
struct Frames {
    legacy: Option<Linktype>,
    /// Of pcapng: link type and snap length by interface.
    interfaces: BTreeMap<u32, (Linktype, u32)>,
    fragments: IpDefragPool<u64>,
    count: u64,
}

impl Frames {
    fn payload(&mut self, block: &PcapBlockOwned<'_>) -> Found {
        let (link, data, length) = match block {
            PcapBlockOwned::LegacyHeader(header) => {
                self.legacy = Some(header.network);
                return Found::NoFrame;
            }
            PcapBlockOwned::NG(Block::SectionHeader(_)) => {
                self.interfaces.clear();
                return Found::NoFrame;
            }
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                let number = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
                self.interfaces.insert(number, (interface.linktype, interface.snaplen));
                return Found::NoFrame;
            }
            PcapBlockOwned::Legacy(frame) => (self.legacy, frame.data, frame.caplen),
            PcapBlockOwned::NG(Block::EnhancedPacket(frame)) => {
                (self.interfaces.get(&frame.if_id).map(|(link, _)| *link), frame.data, frame.caplen)
            }
            PcapBlockOwned::NG(Block::SimplePacket(frame)) => {
                let first = self.interfaces.get(&0);
                let snaplen = first.map_or(0, |(_, snaplen)| *snaplen);
                let limit = if snaplen == 0 { u32::MAX } else { snaplen };
                (first.map(|(link, _)| *link), frame.data, frame.origlen.min(limit))
            }
            PcapBlockOwned::NG(_) => return Found::NoFrame,
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(data.len());
        self.count += 1;
        let found = link.and_then(|link| get_packetdata(data, link, length)).and_then(|frame| self.within(&frame));
        if self.count.is_multiple_of(FRAGMENT_PATIENCE) {
            let oldest = self.count - FRAGMENT_PATIENCE;
            self.fragments.retain(|seen| *seen > oldest);
        }
        found.filter(|payload| is_heartbeat(payload)).map_or(Found::Other, Found::Packet)
    }

    /// The payload of a frame, or of the packet it completes.
    fn within(&mut self, frame: &PacketData<'_>) -> Option<Vec<u8>> {
        let packet = match frame {
            PacketData::L2(data) => SlicedPacket::from_ethernet(data).ok()?,
            PacketData::L3(ether_type, data) => SlicedPacket::from_ether_type(EtherType(*ether_type), data).ok()?,
            _ => return None,
        };
        if let Some(transport) = &packet.transport {
            return match transport {
                TransportSlice::Udp(udp) => Some(udp.payload().to_vec()),
                TransportSlice::Icmpv4(echo) => Some(echo.payload().to_vec()),
                TransportSlice::Icmpv6(echo) => Some(echo.payload().to_vec()),
                _ => None,
            };
        }
        let whole = self.fragments.process_sliced_packet(&packet, self.count, ()).ok()??;
        let payload = match whole.ip_number {
            IpNumber::UDP => UdpSlice::from_slice(&whole.payload).ok()?.payload().to_vec(),
            // An echo has a header of eight bytes.
            IpNumber::ICMP | IpNumber::IPV6_ICMP => whole.payload.get(8..)?.to_vec(),
            _ => return None,
        };
        self.fragments.return_buf(whole);
        Some(payload)
    }
}

fn is_heartbeat(payload: &[u8]) -> bool {
    payload.starts_with(b"###\n") || payload.starts_with(b">>>\n")
}
