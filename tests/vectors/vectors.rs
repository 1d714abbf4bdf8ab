//! Every packet of the real program: decoded, verified and written again byte for byte.

mod client;
mod record;

use hb_core::auth::{AuthError, Framing, Keyring, MsgFormat, Sealing, VerifyError};
use hb_core::wire::message::{Body, Message};
use hb_core::wire::{self, Algorithm, Compression, Fields, Format, Value, WireError, compress};
use hb_shell::transport::{icmp, udp::IpVersion};
use record::Record;

/// Every line of a file, each failure reported with the vector's name.
fn for_each(file: &str, check: impl Fn(&Record)) {
    let records = record::read(file);
    assert!(!records.is_empty());
    let failed: Vec<String> = records
        .iter()
        .filter(|record| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(record))).is_err())
        .map(|record| record.name.clone())
        .collect();
    assert!(failed.is_empty(), "{} of {} vectors failed: {}", failed.len(), records.len(), failed.join(" "));
}

/// How the sender of a vector was configured, `auth` inside told by the vector itself.
fn sealing(record: &Record) -> (Framing, Sealing) {
    let framing = match (&*record.transport, record.format) {
        ("icmp", _) => Framing::Echo,
        (_, Format::Classic) => Framing::Serial,
        _ => Framing::Datagram,
    };
    let inside = record.fields.text("auth").is_some();
    let msgfmt = if inside { MsgFormat::Classic } else { MsgFormat::Netstring };
    (framing, Sealing { msgfmt, compression: Compression::default() })
}

/// The packet of these fields, with what followed it on the wire.
fn sealed(record: &Record, keyring: &Keyring, fields: Fields<'_>) -> Vec<u8> {
    let (framing, how) = sealing(record);
    let mut packet = keyring.seal(fields, framing, &how).expect("seals").to_vec();
    packet.extend_from_slice(&record.tail);
    packet
}

#[test]
fn every_packet_decodes_to_the_recorded_fields_and_verifies() {
    for_each("packets.jsonl", |record| {
        let decoded = wire::decode(&record.packet).expect("decodes");
        assert_eq!(decoded.format, record.format, "{}", record.name);
        assert_eq!(decoded.fields, record.fields, "{}", record.name);
        let authentic = record.keyring(record.current).verify(&record.packet).expect("verifies");
        assert_eq!(authentic.format(), record.format);
        match record.inner.iter().find(|inner| inner.field.is_empty()) {
            Some(whole) => assert_eq!(authentic.fields(), &whole.fields, "{}", record.name),
            None => assert_eq!(authentic.fields(), &record.fields, "{}", record.name),
        }
    });
}

#[test]
fn every_packet_is_written_again_from_its_fields() {
    for_each("packets.jsonl", |record| {
        // Two crafted packets sign with what no node of ours would: the other entry, or a wrong digest inside.
        let signer = record.signer();
        if record.inner_auth_wrong {
            let decoded = wire::decode(&record.packet).expect("decodes");
            let again = wire::encode(&record.fields, record.format).expect("encodes");
            assert_eq!(decoded.message, again, "{}", record.name);
            return;
        }
        let again = sealed(record, &record.signing(signer), record.fields.clone());
        assert_eq!(again.escape_ascii().to_string(), record.packet.escape_ascii().to_string(), "{}", record.name);
    });
}

#[test]
fn every_packet_is_written_again_from_its_typed_message() {
    for_each("packets.jsonl", |record| {
        if record.inner_auth_wrong {
            return;
        }
        let authentic = record.keyring(record.current).verify(&record.packet).expect("verifies");
        let message = Message::parse(authentic).expect("is a message");
        let expected = match record.inner.iter().find(|inner| inner.field.is_empty()) {
            // Our own compression need not have the same bytes: the expansion is compared instead.
            Some(whole) => {
                let mut fields = whole.fields.clone();
                fields.remove_all("auth");
                assert_eq!(message.to_fields(), fields, "{}", record.name);
                return;
            }
            None => &record.packet,
        };
        let again = sealed(record, &record.signing(record.signer()), message.to_fields());
        assert_eq!(again.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{}", record.name);
    });
}

#[test]
fn every_echo_is_wrapped_and_unwrapped_as_the_original_does() {
    let (mut requests, mut replies) = (0, 0);
    for record in record::read("packets.jsonl").iter().filter(|record| !record.icmp.is_empty()) {
        let [kind, _, _, _, first, second, high, low, data @ ..] = record.icmp.as_slice() else {
            panic!("{}: no echo", record.name)
        };
        let (identifier, sequence) = ([*first, *second], u16::from_be_bytes([*high, *low]));
        assert_eq!(*data, *record.packet, "{}", record.name);
        if *kind == 8 {
            requests += 1;
            assert_eq!(icmp::request(IpVersion::V4, identifier, sequence, data), record.icmp, "{}", record.name);
        } else {
            replies += 1;
            let packet = [&[0x45; 20][..], &record.icmp].concat();
            assert_eq!(icmp::reply(IpVersion::V4, identifier, &packet), Some((sequence, 28)), "{}", record.name);
        }
    }
    assert!(requests > 0 && replies > 0, "{requests} requests, {replies} replies");
}

#[test]
fn every_type_of_the_specification_is_typed() {
    let client_types = ["apptest", "CCM_TYPE_PROTOVERSION", "CCM_TYPE_PROTOVERSION_RESP"];
    let mut seen = std::collections::BTreeSet::new();
    for record in record::read("packets.jsonl") {
        let authentic = record.keyring(record.current).verify(&record.packet).expect("verifies");
        let message = Message::parse(authentic).expect("is a message");
        let kind = message.body.kind().to_owned();
        let is_client = matches!(message.body, Body::Client { .. });
        assert_eq!(is_client, client_types.contains(&&*kind), "{}: {kind}", record.name);
        seen.insert(kind);
    }
    assert_eq!(seen.len(), 22 + client_types.len(), "{seen:?}");
}

#[test]
fn compressed_payloads_expand_to_the_recorded_messages() {
    let mut expanded = 0;
    for record in record::read("packets.jsonl") {
        for inner in &record.inner {
            let name = if inner.field.is_empty() { compress::PAYLOAD } else { &inner.field };
            let Some(Value::Binary(payload) | Value::Compressed(payload)) = record.fields.get(name) else {
                panic!("{}: {name} is not compressed", record.name)
            };
            let algorithm = compress::algorithm_of(&record.fields).expect("names an algorithm");
            let plain = compress::expand(algorithm, payload).expect("expands");
            let mut again = wire::encode(&inner.fields, inner.format).expect("encodes");
            again.extend_from_slice(&inner.tail);
            assert_eq!(plain, again, "{}", record.name);
            expanded += 1;
        }
    }
    assert!(expanded >= 7, "{expanded}");
}

#[test]
fn our_own_compression_expands_to_what_the_original_compressed() {
    for record in record::read("packets.jsonl") {
        let Some(whole) = record.inner.iter().find(|inner| inner.field.is_empty()) else { continue };
        let msgfmt = if record.msgfmt == "classic" { MsgFormat::Classic } else { MsgFormat::Netstring };
        for algorithm in [Algorithm::Zlib, Algorithm::Bz2] {
            let compression = Compression { algorithm, threshold: 2048, traditional: true };
            let keyring = record.keyring(record.current);
            let how = Sealing { msgfmt, compression };
            let packet = keyring.seal(whole.fields.clone(), Framing::Datagram, &how).expect("seals");
            let outside = wire::decode(&packet).expect("decodes");
            let (named, payload) = compress::whole(outside.format, &outside.fields).expect("whole").expect("named");
            assert_eq!(named, algorithm, "{}", record.name);
            let mut plain = wire::encode(&whole.fields, whole.format).expect("encodes");
            plain.extend_from_slice(&whole.tail);
            assert_eq!(compress::expand(algorithm, payload), Ok(plain), "{}", record.name);
            assert_eq!(keyring.verify(&packet).expect("verifies").fields(), &whole.fields, "{}", record.name);
        }
    }
}

#[test]
fn rejected_packets_are_refused_for_the_recorded_reason() {
    for_each("rejected.jsonl", |record| {
        let keyring = record.keyring(record.current);
        if record.name == "rejected/nkey2own" {
            // Ours: signed with another of the receiver's keys, by a node that changed its outbound one first.
            let accepted = keyring.verify(&record.packet).expect("ours accepts it");
            assert!(!accepted.is_heard_by_the_original());
            return;
        }
        let refused = keyring.verify(&record.packet).map(Message::parse);
        let auth = |error| Err(VerifyError::Auth(error));
        let expected = match &*record.name {
            "rejected/unsigned" | "rejected/cunsigned" => auth(AuthError::Unsigned),
            "rejected/crlf" | "rejected/badsig" => auth(AuthError::WrongDigest { key: 1 }),
            "rejected/ts0" => Ok(Some(WireError::BadValue { field: "ts" })),
            "rejected/noseq" => Ok(Some(WireError::Missing { field: "seq" })),
            // The generation is old and the addressee another: only a node's state tells.
            "rejected/oldhg" | "rejected/destbeta" => Ok(None),
            name => panic!("{name}: its reason is not known here"),
        };
        let refused = refused.map(Result::err);
        assert_eq!(refused, expected, "{}: {}", record.name, record.why);
        assert_eq!(expected.is_ok(), record.stage == "protocol", "{}", record.name);
    });
}
