//! What a header needs, what bodies refuse, and that every body survives its fields.

use super::*;
use crate::wire::{NODE_NAME_MAX, STATUS_WORD_MAX};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

fn fields<'a>(texts: &[(&'a str, &'a str)]) -> Fields<'a> {
    let mut fields = Fields::new();
    for (name, text) in texts {
        fields.push_text(name, *text);
    }
    fields
}

/// A message of type `kind` with a complete header and the given body fields.
fn parse<'a>(kind: &'a str, body: &[(&'a str, &'a str)]) -> Result<Message<'a>, WireError> {
    let mut all = fields(&[("t", kind), ("src", "alpha"), ("seq", "1f"), ("hg", "6b00fe46"), ("ts", "6b00fe47")]);
    for (name, text) in body {
        all.set(name, Value::text(*text));
    }
    Message::from_fields(all)
}

#[test]
fn a_message_needs_type_source_time_and_number() {
    let complete = [("t", "starting"), ("src", "alpha"), ("seq", "1"), ("ts", "5")];
    assert!(Message::from_fields(fields(&complete)).is_ok());
    for (position, (field, _)) in complete.iter().enumerate() {
        let mut lacking = complete.to_vec();
        lacking.remove(position);
        assert_eq!(Message::from_fields(fields(&lacking)), Err(WireError::Missing { field }));
    }
    assert_eq!(parse("starting", &[("ts", "0")]), Err(WireError::BadValue { field: "ts" }));
    assert_eq!(parse("starting", &[("src", "")]), Err(WireError::BadValue { field: "src" }));
    let unsequenced = [("t", "NS_ackmsg"), ("src", "alpha"), ("ts", "5"), ("ackseq", "a")];
    assert!(Message::from_fields(fields(&unsequenced)).is_ok());
}

#[test]
fn numbers_are_hexadecimal_but_for_retransmission_requests() {
    let header = parse("starting", &[("ttl", "3")]).unwrap().header;
    assert_eq!((header.seq, header.generation), (Some(Seq(0x1f)), Some(Generation(0x6b00_fe46))));
    assert_eq!((header.ts, header.ttl), (UnixTime(0x6b00_fe47), Some(3)));
    let range = [("firstseq", "10"), ("lastseq", "12")];
    assert_eq!(parse("NS_rexmit", &range).unwrap().body, Body::Rexmit(Rexmit { first: Seq(10), last: Seq(12) }));
    let nak = parse("NS_nak_rexmit", &[("firstseq", "10"), ("info", "seqno too low")]).unwrap().body;
    assert!(matches!(nak, Body::Nak(Nak { first: Seq(16), .. })));
    for bad in ["", "0x1", "-1", "g", "11112222333344445"] {
        assert_eq!(parse("starting", &[("seq", bad)]), Err(WireError::BadNumber { field: "seq" }));
    }
    for bad in ["", "a", "-1", "+1", "99999999999999999999"] {
        let range = [("firstseq", bad), ("lastseq", "12")];
        assert_eq!(parse("NS_rexmit", &range), Err(WireError::BadNumber { field: "firstseq" }));
    }
}

#[test]
fn names_and_status_words_have_a_longest_length() {
    let name = |bytes| "n".repeat(bytes);
    let (longest, beyond) = (name(NODE_NAME_MAX), name(NODE_NAME_MAX + 1));
    assert!(parse("starting", &[("src", &longest), ("dest", &longest)]).is_ok());
    for field in ["src", "dest"] {
        assert_eq!(parse("starting", &[(field, &beyond)]), Err(WireError::FieldTooLong { field }));
    }
    assert_eq!(parse("addnode", &[("nodelist", &beyond)]), Err(WireError::FieldTooLong { field: "nodelist" }));
    let (longest, beyond) = (name(STATUS_WORD_MAX), name(STATUS_WORD_MAX + 1));
    assert!(parse("status", &[("st", &longest)]).is_ok());
    assert_eq!(parse("status", &[("st", &beyond)]), Err(WireError::FieldTooLong { field: "st" }));
}

/// A type, its body's fields and why they are refused.
type Case = (&'static str, &'static [(&'static str, &'static str)], WireError);

#[test]
fn bodies_name_the_field_they_refuse() {
    let cases: [Case; 9] = [
        ("status", &[], WireError::Missing { field: "st" }),
        ("status", &[("st", "up"), ("dt", "x")], WireError::BadNumber { field: "dt" }),
        ("resource", &[("rsc_hold", "both")], WireError::BadValue { field: "rsc_hold" }),
        ("resource", &[("rsc_hold", "all"), ("isstable", "2")], WireError::BadValue { field: "isstable" }),
        ("ask_resources", &[("rsc_hold", "all"), ("info", "you")], WireError::BadValue { field: "info" }),
        ("ip-request-resp", &[("ipaddr", "x"), ("ok", "OK")], WireError::Missing { field: "weown" }),
        ("stonith", &[("node", "a")], WireError::Missing { field: "result" }),
        ("setweight", &[("node", "a"), ("weight", "-5")], WireError::BadNumber { field: "weight" }),
        ("hbapi-clstat", &[("st", "sleep")], WireError::BadValue { field: "st" }),
    ];
    for (kind, body, why) in cases {
        assert_eq!(parse(kind, body), Err(why), "{kind}");
    }
    let mut short = fields(&[("t", "starting"), ("src", "alpha"), ("seq", "1"), ("ts", "5")]);
    short.push("srcuuid", Value::Binary(Cow::Borrowed(b"short")));
    assert_eq!(Message::from_fields(short), Err(WireError::BadValue { field: "srcuuid" }));
    let mut latin = fields(&[("t", "starting"), ("seq", "1"), ("ts", "5")]);
    latin.push("src", Value::Text(Cow::Borrowed(b"caf\xe9")));
    assert_eq!(Message::from_fields(latin), Err(WireError::BadValue { field: "src" }));
}

#[test]
fn unknown_fields_of_a_status_are_tolerated() {
    let status = parse("status", &[("st", "resting"), ("mood", "fine")]).unwrap();
    let word = StatusWord::Other(Cow::Borrowed("resting"));
    assert_eq!(status.body, Body::Status(Status { word, deadtime: None, protocol: None, native: None, hears: None }));
}

#[test]
fn the_header_of_a_message_with_a_bad_body_can_still_be_read() {
    let all = fields(&[("t", "status"), ("src", "alpha"), ("seq", "7"), ("ts", "5"), ("dt", "?")]);
    assert_eq!(Header::read(&all).unwrap().seq, Some(Seq(7)));
    assert!(Message::from_fields(all).is_err());
}

fn bodies() -> Vec<Body<'static>> {
    let word = |word: &'static str| Cow::Borrowed(word);
    let mut client = Fields::new();
    client.push_text("payload", "x");
    client.push("blob", Value::Binary(Cow::Borrowed(&[0, 1])));
    vec![
        Body::Status(Status {
            word: StatusWord::Active,
            deadtime: Some(Duration::from_secs(5)),
            protocol: Some(1),
            native: None,
            hears: None,
        }),
        Body::PingStatus(PingStatus { word: StatusWord::Ping, info: word("ping_group") }),
        Body::Rexmit(Rexmit { first: Seq(66), last: Seq(66) }),
        Body::Nak(Nak { first: Seq(66), info: word("seqno too low") }),
        Body::Ack(Ack { seq: Seq(66) }),
        Body::ReqNodes,
        Body::RepNodes(RepNodes { nodes: vec![word("alpha"), word("beta")], deleted: Vec::new() }),
        Body::Starting,
        Body::Resource(Resource {
            holding: Holding::ALL,
            full: true,
            stable: Some(false),
            info: Some(word("shutdown")),
        }),
        Body::Resource(Resource { holding: Holding::FOREIGN, full: false, stable: None, info: None }),
        Body::AskResources(AskResources { holding: Holding::LOCAL, step: StandbyStep::Other }),
        Body::Takeover(Holding::NONE),
        Body::IpRequest(IpRequest { group: word("10.0.0.1") }),
        Body::IpResponse(IpResponse { group: word("10.0.0.1"), we_own: false, ok: word("OK") }),
        Body::Shutdone,
        Body::Stonith(Stonith { node: word("beta"), result: StonithResult::NoDevice, life: None }),
        Body::Stonith(Stonith { node: word("beta"), result: StonithResult::Ok, life: Some(Generation(0x1f)) }),
        Body::AddNode(vec![word("gamma"), word("delta")]),
        Body::DelNode(vec![word("gamma")]),
        Body::SetWeight(SetWeight { node: word("beta"), weight: 150 }),
        Body::SetSite(SetSite { node: word("beta"), site: word("") }),
        Body::ClientStatus(ClientStatus {
            joined: false,
            from_id: word("app"),
            to_id: word("app"),
            info: word("EOF"),
            client_gen: word("0"),
        }),
        Body::QueryClient(QueryClient { client: word("app"), from_id: word("me") }),
        Body::RespondClient(RespondClient {
            result: word("OK"),
            client: word("app"),
            to_id: word("me"),
            status: word("online"),
        }),
        Body::Client { kind: word("app"), fields: client },
    ]
}

#[test]
fn every_body_survives_its_fields_with_and_without_addressee() {
    for body in bodies() {
        let mut header = Header::new("alpha", UnixTime(7));
        header.src_uuid = Some(NodeUuid([3; 16]));
        header.generation = Some(Generation(9));
        header.ttl = Some(3);
        if !body.is_unsequenced() {
            header.seq = Some(Seq(255));
            header.load = Some(Cow::Borrowed("0.1 0.2 0.3 1/2 3"));
        }
        for dest in [None, Some("beta")] {
            header.dest = dest.map(Cow::Borrowed);
            header.dest_uuid = dest.map(|_| NodeUuid::ZERO);
            let message = Message { header: header.clone(), body: body.clone() };
            let written = message.to_fields();
            let again = Message::from_fields(written.clone()).unwrap();
            assert_eq!(again.header, message.header);
            match &again.body {
                // A client's message keeps all fields, and `t` among them.
                Body::Client { fields, .. } => assert_eq!(fields, &written),
                body => assert_eq!(*body, message.body),
            }
            assert_eq!(again.to_fields(), written);
        }
    }
}

#[test]
fn an_unusual_addressee_follows_the_body_and_precedes_the_header() {
    let mut header = Header::new("alpha", UnixTime(7));
    header.seq = Some(Seq(1));
    header.dest = Some(Cow::Borrowed("beta"));
    let message = Message { header, body: Body::Takeover(Holding::ALL) };
    let names: Vec<_> =
        message.to_fields().into_iter().map(|field| String::from_utf8_lossy(&field.name).into_owned()).collect();
    assert_eq!(names, ["t", "rsc_hold", "dest", "src", "seq", "ts"]);
}

#[test]
fn the_other_nodes_view_exchanges_local_and_foreign() {
    assert_eq!(Holding::LOCAL.exchanged(), Holding::FOREIGN);
    assert_eq!(Holding::ALL.exchanged(), Holding::ALL);
    assert_eq!(Holding::LOCAL.union(Holding::FOREIGN), Holding::ALL);
}
