//! The recorded packets as a user feeds them, and captures made here.

use super::*;
use etherparse::PacketBuilder;
use hb_core::auth::{Framing, Key, Method, Sealing};
use serde_json::{Value as Json, json};

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors");

fn records(file: &str) -> Vec<Json> {
    let text = fs::read_to_string(format!("{VECTORS}/{file}")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The authkeys file of a vector's receiver.
fn authkeys_of(record: &Json) -> String {
    let config = &record["config"];
    let Json::Object(keys) = &config["keys"] else {
        let (number, method) = (&config["authnum"], config["auth"].as_str().unwrap());
        return format!("auth {number}\n{number} {method} {}\n", config["key"].as_str().unwrap_or_default());
    };
    let entries = keys
        .iter()
        .map(|(number, key)| format!("{number} {} {}\n", key[0].as_str().unwrap(), key[1].as_str().unwrap()));
    format!("auth {}\n{}", config["current"], entries.collect::<String>())
}

fn keyring(text: &str) -> Keyring {
    authkeys::parse(SourceText { name: "authkeys", bytes: text.as_bytes() }).0.unwrap()
}

fn decode(authkeys: &str, json: bool, lines: &str) -> String {
    let keyring = keyring(authkeys);
    let mut report = Report { keyring: &keyring, json, out: Vec::new(), packets: 0, authentic: 0 };
    read_lines(lines.as_bytes(), &mut report).unwrap();
    String::from_utf8(report.out).unwrap()
}

fn decode_json(authkeys: &str, lines: &str) -> Vec<Json> {
    decode(authkeys, true, lines).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The packet of a small status, signed with entry `current`.
fn status(authkeys: &str) -> Vec<u8> {
    let mut fields = Fields::new();
    for (name, text) in [("t", "status"), ("st", "active"), ("src", "alpha"), ("seq", "1f"), ("ts", "5")] {
        fields.push_text(name, text);
    }
    keyring(authkeys).seal(fields, Framing::Datagram, &Sealing::default()).unwrap().to_vec()
}

#[test]
fn every_recorded_packet_is_reported_as_recorded() {
    for record in records("packets.jsonl") {
        let found = decode_json(&authkeys_of(&record), record["hex"].as_str().unwrap());
        let mut expected = json!({"format": record["format"], "auth": "ok", "error": null, "fields": record["fields"]});
        if record.get("inner").is_some() {
            expected["inner"] = record["inner"].clone();
        }
        assert_eq!(found, [expected], "{}", record["name"]);
    }
}

#[test]
fn every_rejected_packet_is_reported_with_its_reason() {
    for record in records("rejected.jsonl") {
        let found = decode_json(&authkeys_of(&record), record["hex"].as_str().unwrap());
        let [found] = &found[..] else { panic!("{found:?}") };
        let word = match record["name"].as_str().unwrap() {
            "rejected/unsigned" | "rejected/cunsigned" => "unsigned",
            // Signed with another of the receiver's keys: ours hears it.
            "rejected/nkey2own" => "ok",
            _ if record["stage"] == "auth" => "bad",
            _ => "ok",
        };
        assert_eq!((&found["auth"], found["error"].is_null()), (&json!(word), word == "ok"), "{}", record["name"]);
    }
}

#[test]
fn a_line_that_is_no_packet_is_reported_in_its_place() {
    let good = json::hex(&status("auth 1\n1 sha1 secret\n"));
    let lines = format!("{good}\n\nxyz\nabc\n2323\n  {}\n{}\n", good.to_uppercase(), "0".repeat(5 << 20));
    let found = decode_json("auth 1\n1 sha1 secret\n", &lines);
    let auth: Vec<_> = found.iter().map(|line| line["auth"].as_str()).collect();
    assert_eq!(auth, [Some("ok"), None, None, None, Some("ok"), None]);
    let errors: Vec<_> = found.iter().map(|line| line["error"].as_str().unwrap_or_default()).collect();
    assert!(errors[1].contains("no hex digit"), "{errors:?}");
    assert!(errors[2].contains("odd"), "{errors:?}");
    assert!(errors[3].contains("neither ### nor >>>"), "{errors:?}");
    assert!(errors[5].contains("longer than any packet"), "{errors:?}");
    assert!(found.iter().all(|line| line["fields"].is_array()));
}

#[test]
fn a_refused_signature_says_what_differs_between_the_nodes() {
    let explains = |sender: &str, receiver: &str, what: &str| {
        let found = decode(receiver, false, &json::hex(&status(sender)));
        assert!(found.contains("NOT AUTHENTIC") && found.contains(what), "{found}\nlacks: {what}");
        assert!(found.ends_with("1 packets, 0 authentic, 1 not\n"), "{found}");
    };
    let ours = "auth 1\n1 sha1 one\n2 md5 two\n3 crc\n";
    explains("auth 1\n1 sha1 other\n", ours, "the secret of key 1 (sha1) differs");
    explains("auth 1\n1 md5 one\n", ours, "key 1 is sha1 here, but the sender made a md5 digest");
    explains(
        "auth 4\n4 sha1 one\n",
        ours,
        "signed with key 4, which this authkeys lacks (it has 1 sha1, 2 md5, 3 crc)",
    );
    explains("auth 2\n2 md5 three\n", ours, "the packet names key 2 (md5)");
    explains("auth 1\n1 sha1 two\n", ours, "the secret that is key 2 here");
}

#[test]
fn a_key_that_only_our_own_nodes_hear_is_named() {
    let found = decode("auth 1\n1 sha1 one\n2 md5 two\n", false, &json::hex(&status("auth 2\n2 md5 two\n")));
    assert!(found.contains("authentic (key 2, md5)\n   a 3.0.6 whose auth line says 1 ignores it"), "{found}");
}

#[test]
fn the_readable_form_shows_what_a_receiver_would_see() {
    let authkeys = "auth 1\n1 sha1 secret\n";
    let found = decode(authkeys, false, &json::hex(&status(authkeys)));
    let (title, rest) = found.split_once('\n').unwrap();
    assert_eq!(title, "1: status from alpha, number 31, netstring of 177 bytes, authentic (key 1, sha1)");
    assert!(rest.contains("   seq = 1f (decimal 31)\n"), "{rest}");
    let mut fields = Fields::new();
    fields.push_text("t", "status");
    fields.push_text("text", "\u{1b}[31mred");
    let lacking = keyring(authkeys).seal(fields, Framing::Datagram, &Sealing::default()).unwrap();
    let found = decode(authkeys, false, &json::hex(&lacking));
    assert!(found.contains("a receiver ignores it: field seq is missing"), "{found}");
    assert!(found.contains("\\u{1b}[31mred") && !found.contains('\u{1b}'), "{found}");
}

/// A capture file of the given link type.
fn pcap(link: u32, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, link] {
        file.extend(u32::to_le_bytes(word));
    }
    for frame in frames {
        let length = u32::try_from(frame.len()).unwrap();
        for word in [1, 2, length, length] {
            file.extend(u32::to_le_bytes(word));
        }
        file.extend(frame);
    }
    file
}

fn ethernet_udp(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let headers = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 255], 64).udp(40000, 694);
    headers.write(&mut frame, payload).unwrap();
    frame
}

fn payloads(file: &[u8]) -> anyhow::Result<(Vec<Vec<u8>>, usize)> {
    let mut found = Vec::new();
    let skipped = capture::for_each_payload(file, |payload| {
        found.push(payload.to_vec());
        Ok(())
    })?;
    Ok((found, skipped))
}

#[test]
fn packets_are_found_in_udp_and_echoes_of_both_ip_versions() {
    let mut echo = Vec::new();
    let headers = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 9], 64);
    headers.icmpv4_echo_reply(7, 1).write(&mut echo, b"###\necho").unwrap();
    let mut v6 = Vec::new();
    let headers = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv6([1; 16], [2; 16], 64);
    headers.udp(40000, 694).write(&mut v6, b">>>\nsix").unwrap();
    // Short frames are padded on Ethernet.
    let mut padded = ethernet_udp(b"###\nx");
    padded.resize(64, 0);
    let frames = [ethernet_udp(b"###\nudp"), echo, ethernet_udp(b"something else"), v6, padded, vec![0; 20]];
    let (found, skipped) = payloads(&pcap(1, &frames)).unwrap();
    assert_eq!(found, [&b"###\nudp"[..], b"###\necho", b">>>\nsix", b"###\nx"]);
    assert_eq!(skipped, 2);
}

#[test]
fn a_capture_of_all_interfaces_is_read_too() {
    let ip = &ethernet_udp(b"###\nany")[14..];
    let cooked = |header: &[u8]| pcap(if header.len() == 20 { 276 } else { 113 }, &[[header, ip].concat()]);
    let version_1 = [0, 0, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 8, 0];
    let version_2 = [8, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0];
    for file in [cooked(&version_1), cooked(&version_2)] {
        assert_eq!(payloads(&file).unwrap(), (vec![b"###\nany".to_vec()], 0));
    }
}

#[test]
fn a_fragmented_datagram_is_put_together() {
    let payload = [&b"###\n"[..], &[b'x'; 3000]].concat();
    let whole = ethernet_udp(&payload);
    let (headers, data) = whole.split_at(34);
    let fragments: Vec<Vec<u8>> = data
        .chunks(1480)
        .enumerate()
        .map(|(number, part)| {
            let mut header = etherparse::Ipv4Header::from_slice(&headers[14..]).unwrap().0;
            header.identification = 99;
            header.dont_fragment = false;
            header.more_fragments = number < 2;
            header.fragment_offset = u16::try_from(number * 185).unwrap().try_into().unwrap();
            header.total_len = u16::try_from(20 + part.len()).unwrap();
            header.header_checksum = header.calc_header_checksum();
            [&headers[..14], &header.to_bytes()[..], part].concat()
        })
        .collect();
    assert_eq!(fragments.len(), 3);
    let (found, skipped) = payloads(&pcap(1, &fragments)).unwrap();
    assert_eq!((found, skipped), (vec![payload], 2));
}

#[test]
fn a_damaged_capture_is_an_error_and_not_an_endless_loop() {
    let file = pcap(1, &[ethernet_udp(b"###\nudp")]);
    let error = |file: &[u8]| payloads(file).unwrap_err().to_string();
    assert_eq!(error(b""), "the file is empty");
    assert_eq!(error(&[b'x'; 100]), "the file is neither pcap nor pcapng");
    assert_eq!(error(&file[..file.len() - 1]), "the capture ends within a frame");
    let mut absurd = file[..24].to_vec();
    absurd.extend([0xff; 100]);
    assert!(payloads(&absurd).is_err());
}

#[test]
fn a_missing_or_bad_key_file_is_named() {
    let args = DecodeArgs { authkeys: PathBuf::from("/nonexistent/authkeys"), json: true, pcap: None };
    let error = run(&args, &b""[..], Vec::new()).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/authkeys"), "{error}");
    let args = DecodeArgs { authkeys: PathBuf::from(format!("{VECTORS}/README.md")), json: true, pcap: None };
    let error = run(&args, &b""[..], Vec::new()).unwrap_err();
    assert!(error.to_string().contains("README.md:"), "{error}");
}

#[test]
fn an_unprintable_secret_stays_out_of_every_message() {
    let other = Keyring::new(1, [(1, Key { method: Method::Sha1, secret: b"hush".to_vec() })]).unwrap();
    let packet = status("auth 1\n1 sha1 different\n");
    let finding = Finding::of(&packet, &other);
    assert!(!finding.error.unwrap().contains("hush"));
}
