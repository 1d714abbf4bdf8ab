//! Laws of both formats.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn field(name: &str, value: Value<'static>) -> Fields<'static> {
    let mut fields = Fields::new();
    fields.push(String::from(name), value);
    fields
}

fn list(items: &[&'static [u8]]) -> Value<'static> {
    Value::List(items.iter().map(|item| Cow::Borrowed(*item)).collect())
}

#[test]
fn what_must_never_be_sent_is_refused_in_both_formats() {
    let text = |text: &'static [u8]| Value::Text(Cow::Borrowed(text));
    let name = String::from;
    let twice: Fields = field("l", list(&[b"a"])).into_iter().chain(field("l", list(&[b"b"]))).collect();
    let cases = [
        (field("", text(b"")), EncodeError::BadName { name: name("") }),
        (field("a=b", text(b"")), EncodeError::BadName { name: name("a=b") }),
        (field("a\nb", text(b"")), EncodeError::BadName { name: name("a\nb") }),
        (field("a\0b", text(b"")), EncodeError::BadName { name: name("a\0b") }),
        (field("(1)a", text(b"")), EncodeError::BadName { name: name("(1)a") }),
        (field(">>>a", text(b"")), EncodeError::BadName { name: name(">>>a") }),
        (field("<<<a", text(b"")), EncodeError::BadName { name: name("<<<a") }),
        (field("a", text(b"x\0y")), EncodeError::NulInText { name: name("a") }),
        (field("a", list(&[b"x", b""])), EncodeError::EmptyElement { name: name("a") }),
        (field("a", list(&[b"x\0"])), EncodeError::NulInText { name: name("a") }),
        (twice, EncodeError::DuplicateList { name: name("l") }),
        (field("a", Value::Struct(field("", text(b"")))), EncodeError::BadName { name: name("") }),
    ];
    for (fields, why) in cases {
        assert_eq!(encode(&fields, Format::Netstring), Err(why.clone()));
        assert_eq!(encode(&fields, Format::Classic), Err(why));
    }
}

#[test]
fn what_only_netstrings_carry_is_refused_in_classic() {
    let lines = field("l", list(&[b"two\nlines"]));
    assert!(encode(&lines, Format::Netstring).is_ok());
    assert_eq!(encode(&lines, Format::Classic), Err(EncodeError::NotClassic { name: String::from("l") }));
    let marked = field("m", Value::Uncompressed(Fields::new()));
    assert!(encode(&marked, Format::Netstring).is_ok());
    assert_eq!(encode(&marked, Format::Classic), Err(EncodeError::UncompressedInClassic { name: String::from("m") }));
}

#[test]
fn a_packet_beyond_the_receive_buffer_is_not_looked_at() {
    let mut packet = b"###\n".to_vec();
    packet.resize(PACKET_MAX + 1, b'x');
    assert_eq!(decode(&packet).map(|_| ()), Err(WireError::TooLong));
    packet.truncate(PACKET_MAX);
    assert_eq!(decode(&packet).map(|_| ()), Err(WireError::BadNetstring));
}

#[test]
fn decoding_a_netstring_copies_nothing() {
    let packet = b"###\n6:(0)t=a,8:(1)b=\0\n\0,%%%\nrest";
    let decoded = decode(packet).unwrap();
    assert_eq!((decoded.message, decoded.rest), (&packet[..28], &b"rest"[..]));
    assert!(decoded.fields.iter().all(|field| match &field.value {
        Value::Text(bytes) | Value::Binary(bytes) => matches!(bytes, Cow::Borrowed(_)),
        _ => false,
    }));
}

/// Bytes that both formats carry at every depth: no NUL, no line end of any level, no substitute of a newline.
fn plain_byte() -> impl Strategy<Value = u8> {
    prop_oneof![4 => 0x20_u8..0x7f, 1 => 0x80_u8..=0xff, 1 => Just(b'=')]
}

fn name() -> impl Strategy<Value = Cow<'static, [u8]>> {
    "[a-zA-Z_][a-zA-Z_0-9:(), -]{0,8}".prop_map(|name| Cow::Owned(name.into_bytes()))
}

/// A message of unique names, so that lists never repeat one; `newline` as the format carries it.
pub(crate) fn fields(classic: bool) -> impl Strategy<Value = Fields<'static>> {
    let text = vec(prop_oneof![8 => plain_byte(), 1 => Just(b'\n')], 0..20);
    let binary = vec(any::<u8>(), 0..20);
    let item = vec(plain_byte(), 1..8).prop_map(Cow::Owned);
    let leaf = prop_oneof![
        text.prop_map(|text| Value::Text(Cow::Owned(text))),
        binary.clone().prop_map(|bytes| Value::Binary(Cow::Owned(bytes))),
        binary.prop_map(|bytes| Value::Compressed(Cow::Owned(bytes))),
        vec(item, 0..4).prop_map(Value::List),
    ];
    let value = leaf.prop_recursive(4, 24, 4, move |value| {
        let nested = || proptest::collection::btree_map(name(), value.clone(), 0..4);
        let of = |map: alloc::collections::BTreeMap<_, _>| -> Fields<'static> {
            map.into_iter().map(|(name, value)| Field { name, value }).collect()
        };
        if classic {
            nested().prop_map(move |map| Value::Struct(of(map))).boxed()
        } else {
            prop_oneof![
                nested().prop_map(move |map| Value::Struct(of(map))),
                nested().prop_map(move |map| Value::Uncompressed(of(map)))
            ]
            .boxed()
        }
    });
    proptest::collection::hash_map(name(), value, 0..8)
        .prop_map(|map| map.into_iter().map(|(name, value)| Field { name, value }).collect())
}

const STARTS: &[&[u8]] = &[b"###\n", b">>>\n", b""];

proptest! {
    #[test]
    fn netstrings_survive(fields in fields(false), rest in vec(any::<u8>(), 0..5)) {
        let mut packet = encode(&fields, Format::Netstring).unwrap();
        prop_assert!(packet.capacity() >= packet.len() + 48, "the size was computed wrongly");
        packet.extend_from_slice(&rest);
        let decoded = decode(&packet).unwrap();
        prop_assert_eq!(&decoded.fields, &fields);
        prop_assert_eq!((decoded.format, decoded.rest), (Format::Netstring, &rest[..]));
    }

    #[test]
    fn classic_lines_survive(fields in fields(true), rest in vec(any::<u8>(), 0..5)) {
        let mut packet = encode(&fields, Format::Classic).unwrap();
        packet.extend_from_slice(&rest);
        let decoded = decode(&packet).unwrap();
        prop_assert_eq!(&decoded.fields, &fields);
        prop_assert_eq!((decoded.format, decoded.rest), (Format::Classic, &rest[..]));
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_what_decodes_encodes(
        start in prop::sample::select(STARTS),
        bytes in vec(prop_oneof![any::<u8>(), prop::sample::select(&b"0123456789:(),=\n#%<>\x14"[..])], 0..200),
    ) {
        let packet = [start, &bytes].concat();
        if let Ok(decoded) = decode(&packet)
            && let Ok(again) = encode(&decoded.fields, decoded.format)
        {
            prop_assert_eq!(decode(&again).map(|decoded| decoded.fields), Ok(decoded.fields));
        }
    }

    #[test]
    fn a_damaged_packet_never_panics(fields in fields(true), at in any::<prop::sample::Index>(), byte: u8) {
        for format in [Format::Netstring, Format::Classic] {
            let mut packet = encode(&fields, format).unwrap();
            *at.get_mut(&mut packet) = byte;
            if let Ok(decoded) = decode(&packet) {
                prop_assert!(decoded.message.len() + decoded.rest.len() == packet.len());
            }
        }
    }
}
