//! The classic format: one field a line, nested messages folded into one. Read WIRE 4 first.
//!
//! A nested message is written with another byte in place of each newline, chosen by the depth of the message around
//! it. Reading and writing it is therefore the same as for the outermost message with another line end.

use super::{DEPTH_MAX, EncodeError, Field, Fields, Sink, Value, WireError, is_name, printable, put_list, unpack_list};
use alloc::borrow::Cow;
use alloc::vec::Vec;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(super) const START: &[u8] = b">>>\n";
/// Stands for a newline inside a text.
const NEWLINE_IN_TEXT: u8 = 0x13;
/// The line end of a message by its depth; the outermost has a real newline.
const LINE_ENDS: [u8; DEPTH_MAX + 1] = [b'\n', 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 15, 16, 17, 18];

/// Reads a message: its fields and what follows the end marker.
pub(super) fn decode(input: &[u8]) -> Result<(Fields<'_>, &[u8]), WireError> {
    decode_at(input, 0)
}

fn decode_at(input: &[u8], depth: usize) -> Result<(Fields<'_>, &[u8]), WireError> {
    let line_end = *LINE_ENDS.get(depth).ok_or(WireError::TooDeep)?;
    let mut rest = input.strip_prefix(&[b'>', b'>', b'>', line_end]).ok_or(WireError::NoMarker)?;
    let mut fields = Fields::with_capacity(if depth == 0 { 14 } else { 0 });
    loop {
        let end = rest.iter().position(|byte| *byte == line_end).ok_or(WireError::Truncated)?;
        let (line, after) = rest.split_at_checked(end).ok_or(WireError::Truncated)?;
        rest = after.get(1..).unwrap_or_default();
        match line {
            b"" => {}
            b"<<<" => return Ok((fields, rest)),
            _ => fields.push_field(decode_line(line, depth)?),
        }
    }
}

fn decode_line(line: &[u8], depth: usize) -> Result<Field<'_>, WireError> {
    let (kind, line) = match line {
        [b'(', kind @ b'1'..=b'4', b')', rest @ ..] => (*kind, rest),
        [b'(', kind @ b'0'..=b'9', b')', ..] => return Err(WireError::BadType(char::from(*kind))),
        [b'(', ..] => return Err(WireError::BadPair),
        _ => (b'0', line),
    };
    let equals = line.iter().position(|byte| *byte == b'=').ok_or(WireError::BadPair)?;
    let (name, value) = line.split_at_checked(equals).ok_or(WireError::BadPair)?;
    let value = value.get(1..).unwrap_or_default();
    if !is_name(name) {
        return Err(WireError::BadName);
    }
    let value = match kind {
        b'1' => Value::Binary(decode_base64(value)?),
        b'2' => {
            let (nested, rest) = decode_at(value, depth.saturating_add(1))?;
            if !rest.is_empty() {
                return Err(WireError::Trailing);
            }
            Value::Struct(nested)
        }
        b'3' => Value::List(unpack_list(value)?),
        b'4' => Value::Compressed(decode_base64(value)?),
        _ if value.contains(&0) => return Err(WireError::NulInText),
        _ if value.contains(&NEWLINE_IN_TEXT) => {
            Value::Text(value.iter().map(|byte| if *byte == NEWLINE_IN_TEXT { b'\n' } else { *byte }).collect())
        }
        _ => Value::Text(Cow::Borrowed(value)),
    };
    Ok(Field { name: Cow::Borrowed(name), value })
}

fn decode_base64(value: &[u8]) -> Result<Cow<'_, [u8]>, WireError> {
    // A message with CR LF line ends fails authentication, not parsing (WIRE 4): its texts keep the CR as data. Here
    // it carries no data, and the signature is made over the value without it.
    let value = value.strip_suffix(b"\r").unwrap_or(value);
    STANDARD.decode(value).map(Cow::Owned).map_err(|_| WireError::BadBase64)
}

/// Refuses what the classic format cannot carry, beyond what neither can.
pub(super) fn check(fields: &Fields<'_>, depth: usize) -> Result<(), EncodeError> {
    // Inside a nested message the line ends of all levels around it would be taken for such.
    let around = LINE_ENDS.get(1..depth.saturating_add(1)).ok_or(EncodeError::TooDeep)?;
    let has_line_end = |bytes: &[u8]| !around.is_empty() && bytes.iter().any(|byte| around.contains(byte));
    for Field { name, value } in fields {
        let survives = !has_line_end(name)
            && match value {
                Value::Text(text) => !has_line_end(text),
                Value::List(items) => !items.iter().any(|item| item.contains(&b'\n') || has_line_end(item)),
                Value::Binary(_) | Value::Compressed(_) => true,
                Value::Struct(nested) => {
                    check(nested, depth.saturating_add(1))?;
                    true
                }
                Value::Uncompressed(_) => {
                    return Err(EncodeError::UncompressedInClassic { name: printable(name) });
                }
            };
        if !survives {
            return Err(EncodeError::NotClassic { name: printable(name) });
        }
    }
    Ok(())
}

/// Writes a message that [`check`] has passed; no NUL at its end.
pub(super) fn encode(fields: &Fields<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    put(&mut out, fields, 0);
    out
}

/// Feeds the lines that an inner signature covers: all but `auth`, without markers (WIRE 6.3).
pub(crate) fn digest_lines(out: &mut impl Sink, fields: &Fields<'_>) {
    for field in fields.iter().filter(|field| *field.name != *b"auth") {
        put_line(out, field, 0);
    }
}

fn put(out: &mut impl Sink, fields: &Fields<'_>, depth: usize) {
    let line_end = [*LINE_ENDS.get(depth).unwrap_or(&b'\n')];
    out.put(b">>>");
    out.put(&line_end);
    for field in fields {
        put_line(out, field, depth);
    }
    out.put(b"<<<");
    out.put(&line_end);
}

fn put_line(out: &mut impl Sink, Field { name, value }: &Field<'_>, depth: usize) {
    if !matches!(value, Value::Text(_)) {
        out.put(&[b'(', b'0' | value.type_number(), b')']);
    }
    out.put(name);
    out.put(b"=");
    match value {
        Value::Text(text) => put_text(out, text),
        Value::Binary(bytes) | Value::Compressed(bytes) => put_base64(out, bytes),
        Value::List(items) => put_list(out, items),
        Value::Struct(nested) | Value::Uncompressed(nested) => put(out, nested, depth.saturating_add(1)),
    }
    out.put(&[*LINE_ENDS.get(depth).unwrap_or(&b'\n')]);
}

fn put_text(out: &mut impl Sink, text: &[u8]) {
    for (position, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if position > 0 {
            out.put(&[NEWLINE_IN_TEXT]);
        }
        out.put(line);
    }
}

/// Writes base64 in pieces, so that a digest needs no copy of the whole.
fn put_base64(out: &mut impl Sink, bytes: &[u8]) {
    let mut text = [0; 64];
    // 48 bytes are 64 digits exactly: padding can come in the last piece only.
    for piece in bytes.chunks(48) {
        let written = STANDARD.encode_slice(piece, &mut text).unwrap_or(0);
        out.put(text.get(..written).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuses(packet: &[u8], why: WireError) {
        assert_eq!(decode(packet).map(|_| ()), Err(why), "{}", packet.escape_ascii());
    }

    #[test]
    fn malformed_lines_are_refused_by_what_is_wrong_with_them() {
        refuses(b">>>\nt=a\n", WireError::Truncated);
        refuses(b">>>\nt=a\n<<<", WireError::Truncated);
        refuses(b">>>\nta\n<<<\n", WireError::BadPair);
        refuses(b">>>\n=a\n<<<\n", WireError::BadName);
        refuses(b">>>\n(0)t=a\n<<<\n", WireError::BadType('0'));
        refuses(b">>>\n(5)t=a\n<<<\n", WireError::BadType('5'));
        refuses(b">>>\n(x)t=a\n<<<\n", WireError::BadPair);
        refuses(b">>>\n(1)(t=aaaa\n<<<\n", WireError::BadName);
        refuses(b">>>\n(1)t=a\n<<<\n", WireError::BadBase64);
        refuses(b">>>\n(1)t=QR==\n<<<\n", WireError::BadBase64);
        refuses(b">>>\n(3)t=0:,\n<<<\n", WireError::BadList);
        refuses(b">>>\nt=a\0\n<<<\n", WireError::NulInText);
        refuses(b">>>\n(2)t=x\n<<<\n", WireError::NoMarker);
        refuses(b">>>\n(2)t=>>>\x14<<<\x14x\n<<<\n", WireError::Trailing);
    }

    #[test]
    fn empty_lines_are_skipped_and_what_follows_the_end_is_left() {
        let (fields, rest) = decode(b">>>\n\nt=a=b\n\n<<<\n\0junk").unwrap();
        assert_eq!(fields.text("t").map(|text| &**text), Some(&b"a=b"[..]));
        assert_eq!(rest, b"\0junk");
    }

    #[test]
    fn the_captured_nesting_is_read_and_written() {
        let packet = b">>>\n(2)sub=>>>\x14t=child\x14info=inner\x13text\x14(2)gc=>>>\x15t=grandchild\x15deep=yes\x15<<<\x15\x14<<<\x14\n<<<\n";
        let (fields, _) = decode(packet).unwrap();
        let Some(Value::Struct(sub)) = fields.get("sub") else { panic!("{fields:?}") };
        assert_eq!(sub.text("info").map(|text| &**text), Some(&b"inner\ntext"[..]));
        let Some(Value::Struct(grandchild)) = sub.get("gc") else { panic!("{sub:?}") };
        assert_eq!(grandchild.text("deep").map(|text| &**text), Some(&b"yes"[..]));
        assert_eq!(encode(&fields), packet);
    }

    #[test]
    fn sixteen_levels_are_written_and_read_and_seventeen_refused() {
        let nested = |levels: usize| {
            (0..levels).fold(Fields::new(), |inner, _| {
                let mut outer = Fields::new();
                outer.push("s", Value::Struct(inner));
                outer
            })
        };
        let deep = nested(16);
        assert_eq!(check(&deep, 0), Ok(()));
        assert_eq!(decode(&encode(&deep)), Ok((deep.clone(), &b""[..])));
        assert_eq!(check(&nested(17), 0), Err(EncodeError::TooDeep));
    }

    #[test]
    fn a_line_end_of_a_level_around_is_refused_and_one_further_in_is_data() {
        let with_byte = |byte: u8| {
            let mut inner = Fields::new();
            inner.push("x", Value::Text(Cow::Owned([byte].to_vec())));
            let mut outer = Fields::new();
            outer.push("s", Value::Struct(inner));
            outer
        };
        assert!(matches!(check(&with_byte(0x14), 0), Err(EncodeError::NotClassic { .. })));
        let harmless = with_byte(0x15);
        assert_eq!(check(&harmless, 0), Ok(()));
        assert_eq!(decode(&encode(&harmless)), Ok((harmless.clone(), &b""[..])));
    }

    #[test]
    fn pieces_of_base64_join_to_the_whole() {
        for length in [0, 1, 47, 48, 49, 96, 97, 200] {
            let bytes = (0..length).map(|byte: u8| byte.wrapping_mul(37)).collect::<Vec<_>>();
            let mut pieces = Vec::new();
            put_base64(&mut pieces, &bytes);
            assert_eq!(pieces, STANDARD.encode(&bytes).into_bytes());
        }
    }
}
