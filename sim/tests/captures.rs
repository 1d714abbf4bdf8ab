//! What a run writes for other programs: captures that others read, JSON as documented, documents that are true.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use hb_sim::{Detail, Plan, Recording, json, pcap};
use pcap_parser::traits::PcapReaderIterator as _;
use pcap_parser::{Block, PcapBlockOwned, PcapNGOption, PcapNGReader};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

const DOCS: &str = include_str!("../../docs/hbsim.md");

/// Every kind of medium, and loss on one of them.
const MEDIA: &str = "title all kinds of media\nbase C2\nha.cf:\n  node h1 h2\n  udpport 700\n  bcast eth1\n\
    \x20 mcast eth2 239.129.2.3 695 1 0\n  ucast eth3 10.9.8.1\n  ucast eth3 10.9.8.2\n  keepalive 1\n  deadtime 5\n  initdead 12\n\
    \x20 logfacility none\nboot h1 h2\nnet eth2 loss 0.5\nend 20\n";

/// Most of what can happen.
const RICH: &str = "title most of what can happen\nbase C2\nset auto_failback on\nboot h1 h2\nsettle\nwatchdog h1 5\n\
    at 0 cut h1\nat 1 standby h2 all\nat 5 heal h1\nat 12 suspend h1\nat 30 freeze h2\nat 31 resume h2\nend 32\n";

fn played(text: &str) -> (Plan, Recording) {
    let plan = Plan::parse("test", text).unwrap_or_else(|problems| panic!("{}", hb_sim::render_all(&problems, text)));
    let (world, _) = hb_sim::run::play(&plan, 1, Detail::Packets);
    (plan, world.recording)
}

/// A record as an independent reader sees it.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    interface: String,
    nanos: u64,
    source: (Ipv4Addr, u16),
    destination: (Ipv4Addr, u16),
    payload: Vec<u8>,
    comment: Option<String>,
}

fn read(file: &[u8]) -> Vec<Record> {
    let mut reader = PcapNGReader::new(1 << 20, file).unwrap();
    let (mut interfaces, mut records) = (Vec::new(), Vec::new());
    loop {
        match reader.next() {
            Ok((length, block)) => {
                match block {
                    PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                        assert_eq!(interface.ts_resolution(), Some(1_000_000_000));
                        let name = interface.options.iter().find_map(|option| option.as_str().ok()).unwrap();
                        interfaces.push(name.to_owned());
                    }
                    PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                        let data = &packet.data[..usize::try_from(packet.caplen).unwrap()];
                        records.push(record(
                            &interfaces[usize::try_from(packet.if_id).unwrap()],
                            (u64::from(packet.ts_high) << 32) + u64::from(packet.ts_low),
                            data,
                            &packet.options,
                        ));
                    }
                    _ => {}
                }
                reader.consume(length);
            }
            Err(pcap_parser::PcapError::Eof) => return records,
            Err(pcap_parser::PcapError::Incomplete(_)) => reader.refill().unwrap(),
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn record(interface: &str, nanos: u64, data: &[u8], options: &[PcapNGOption<'_>]) -> Record {
    let packet = SlicedPacket::from_ethernet(data).unwrap();
    let Some(NetSlice::Ipv4(ip)) = &packet.net else { panic!("no IPv4") };
    let Some(TransportSlice::Udp(udp)) = &packet.transport else { panic!("no UDP") };
    let header = ip.header();
    assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
    let checksum = udp.to_header().calc_checksum_ipv4_raw(header.source(), header.destination(), udp.payload());
    assert_eq!(checksum.unwrap(), udp.checksum());
    Record {
        interface: interface.to_owned(),
        nanos,
        source: (header.source_addr(), udp.source_port()),
        destination: (header.destination_addr(), udp.destination_port()),
        payload: udp.payload().to_vec(),
        comment: options.iter().find(|option| option.code.0 == 1).map(|option| option.as_str().unwrap().to_owned()),
    }
}

fn capture(text: &str) -> (Recording, Vec<Record>) {
    let (plan, recording) = played(text);
    let mut file = Vec::new();
    let written = pcap::write(&recording, plan.configs(), &mut file).unwrap();
    let records = read(&file);
    assert_eq!((written.packets, written.too_long), (records.len(), 0));
    (recording, records)
}

#[test]
fn a_capture_has_every_transmission_once_and_its_bytes() {
    let (recording, records) = capture(MEDIA);
    let mut sent: BTreeMap<u64, _> = BTreeMap::new();
    for packet in &recording.packets {
        sent.entry(packet.transmission).or_insert(packet);
    }
    assert_eq!(sent.len(), records.len());
    for (packet, record) in sent.values().zip(&records) {
        assert_eq!(record.payload, *packet.frame);
        assert_eq!(record.nanos, 1_700_000_000_000_000_000 + packet.at.as_nanos());
        let host = u8::try_from(packet.from + 1).unwrap();
        assert_eq!(record.source.0.octets()[3], host);
    }
    let ways: BTreeSet<String> = records
        .iter()
        .map(|record| format!("{} {}:{}", record.interface, record.destination.0, record.destination.1))
        .collect();
    let all = ["eth1 10.0.0.255:700", "eth2 239.129.2.3:695", "eth3 10.9.8.1:700", "eth3 10.9.8.2:700"];
    assert!(ways.iter().map(String::as_str).eq(all), "{ways:?}");
}

#[test]
fn whom_a_packet_did_not_reach_is_its_comment() {
    let (recording, records) = capture(MEDIA);
    let lost = recording.packets.iter().filter(|packet| packet.fate.is_err()).count();
    let comments: Vec<&Record> = records.iter().filter(|record| record.comment.is_some()).collect();
    let first = records[0].nanos;
    assert!(lost > 10 && comments.len() == lost, "{lost} were lost, {} have comments", comments.len());
    for record in comments {
        let (comment, to) = (record.comment.as_deref(), 3 - record.source.0.octets()[3]);
        if record.interface == "eth2" && record.nanos > first {
            assert_eq!(comment, Some(&*format!("to h{to}: lost")));
        } else if record.interface != "eth2" {
            // The other machine was not switched on yet.
            assert_eq!((comment, record.nanos), (Some("to h2: nobody there"), first));
        }
    }
    let (_, records) = capture("base C2\nboot h1 h2\nat 10 cut h1\nat 20 crash h2\nend 22\n");
    let comments: BTreeSet<&str> = records.iter().filter_map(|record| record.comment.as_deref()).collect();
    assert!(comments.contains("to h2: cut"), "{comments:?}");
}

#[test]
fn a_packet_that_arrives_twice_was_sent_once() {
    let (_, once) = capture("base C2\nboot h1 h2\nend 3\n");
    let (recording, records) = capture("base C2\nboot h1 h2\nnet duplicate 1\nend 3\n");
    assert!(recording.packets.len() > records.len() * 2);
    assert!(records.len() < once.len() * 2);
}

#[test]
fn json_lines_are_as_documented() {
    let documented: BTreeMap<&str, BTreeSet<&str>> = DOCS
        .lines()
        .skip_while(|line| !line.starts_with("| `run` |"))
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            (cells[1].trim_matches('`'), cells[2].split(", ").map(|field| field.trim_matches('`')).collect())
        })
        .collect();
    let mut seen = BTreeSet::new();
    for text in [RICH, "base C2\nset auto_failback on\nboot h1 h2\nsettle\nat 0 cut h1\nend 6\n"] {
        let report = hb_sim::run(&Plan::parse("test", text).unwrap(), 1, Detail::Lines);
        for value in json::report(&report, "test", 1) {
            let object = value.as_object().unwrap();
            let kind = object["kind"].as_str().unwrap().to_owned();
            let fields: BTreeSet<&str> = object.keys().map(String::as_str).filter(|key| *key != "kind").collect();
            assert_eq!(Some(&fields), documented.get(&*kind), "{value}");
            seen.insert(kind);
        }
    }
    assert!(seen.iter().map(String::as_str).eq(documented.keys().copied()), "{seen:?}");
}

#[test]
fn the_document_lists_all_forms_of_the_language() {
    let block = |text: &str, begin: &str, end: &str| -> String {
        text.lines().skip_while(|line| *line != begin).skip(1).take_while(|line| *line != end).fold(
            String::new(),
            |mut text, line| {
                text += line.strip_prefix("//!").map_or(line, |line| line.strip_prefix(' ').unwrap_or(line));
                text.push('\n');
                text
            },
        )
    };
    let forms = block(include_str!("../src/plan/script.rs"), "//! ```text", "//! ```");
    let listed = block(DOCS, "```text", "```");
    assert!(forms.contains("ha.cf [NODE]:") && forms == listed, "docs/hbsim.md must list:\n{forms}");
}
