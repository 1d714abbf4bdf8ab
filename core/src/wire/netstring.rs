//! The netstring format: everything on UDP and ICMP. Read WIRE 3 first.

use super::{
    DEPTH_MAX, Field, Fields, Sink as _, Value, WireError, is_name, list_len, put_decimal, put_list, unpack_list,
};
use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

pub(super) const START: &[u8] = b"###\n";
const END: &[u8] = b"%%%\n";

/// Splits `LEN:BYTES,` off the front: the bytes and what follows the comma.
pub(crate) fn split(input: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let mut length: usize = 0;
    let mut rest = input;
    loop {
        match rest.split_first() {
            Some((digit @ b'0'..=b'9', after)) => {
                // A saturated length lies beyond every buffer.
                length = length.saturating_mul(10).saturating_add(usize::from(digit & 0x0f));
                rest = after;
            }
            Some((b':', after)) if rest.len() < input.len() => {
                rest = after;
                break;
            }
            Some(_) => return Err(WireError::BadNetstring),
            None => return Err(WireError::Truncated),
        }
    }
    let (bytes, rest) = rest.split_at_checked(length).ok_or(WireError::Truncated)?;
    match rest.split_first() {
        Some((b',', rest)) => Ok((bytes, rest)),
        Some(_) => Err(WireError::BadNetstring),
        None => Err(WireError::Truncated),
    }
}

/// Reads a message: its fields and what follows the end marker.
pub(super) fn decode(input: &[u8], depth: usize) -> Result<(Fields<'_>, &[u8]), WireError> {
    if depth > DEPTH_MAX {
        return Err(WireError::TooDeep);
    }
    let mut rest = input.strip_prefix(START).ok_or(WireError::NoMarker)?;
    // A status has 12 fields, most others fewer.
    let mut fields = Fields::with_capacity(if depth == 0 { 14 } else { 0 });
    let mut lists = Lists::default();
    loop {
        if let Some(rest) = rest.strip_prefix(END) {
            return Ok((lists.merge(fields), rest));
        }
        let (pair, after) = split(rest)?;
        let field = decode_pair(pair, depth)?;
        lists.note(&field, fields.len());
        fields.push_field(field);
        rest = after;
    }
}

fn decode_pair(pair: &[u8], depth: usize) -> Result<Field<'_>, WireError> {
    let [b'(', kind, b')', pair @ ..] = pair else { return Err(WireError::BadPair) };
    let equals = pair.iter().position(|byte| *byte == b'=').ok_or(WireError::BadPair)?;
    let (name, value) = pair.split_at_checked(equals).ok_or(WireError::BadPair)?;
    let Some((_, value)) = value.split_first() else { return Err(WireError::BadPair) };
    if !is_name(name) {
        return Err(WireError::BadName);
    }
    let value = match kind {
        b'0' if value.contains(&0) => return Err(WireError::NulInText),
        b'0' => Value::Text(Cow::Borrowed(value)),
        b'1' => Value::Binary(Cow::Borrowed(value)),
        b'2' => Value::Struct(decode_nested(value, depth)?),
        b'3' => Value::List(unpack_list(value)?),
        b'4' => Value::Compressed(Cow::Borrowed(value)),
        b'5' => Value::Uncompressed(decode_nested(value, depth)?),
        b'6'..=b'9' => return Err(WireError::BadType(char::from(*kind))),
        _ => return Err(WireError::BadPair),
    };
    Ok(Field { name: Cow::Borrowed(name), value })
}

fn decode_nested(value: &[u8], depth: usize) -> Result<Fields<'_>, WireError> {
    let (fields, rest) = decode(value, depth.saturating_add(1))?;
    if rest.is_empty() { Ok(fields) } else { Err(WireError::Trailing) }
}

/// The lists seen in a message, so that those of one name become one (WIRE 2), in less than quadratic time.
#[derive(Default)]
struct Lists<'a> {
    first: BTreeMap<Cow<'a, [u8]>, usize>,
    repeated: bool,
}

impl<'a> Lists<'a> {
    fn note(&mut self, field: &Field<'a>, position: usize) {
        if matches!(field.value, Value::List(_)) {
            let first = *self.first.entry(field.name.clone()).or_insert(position);
            self.repeated |= first != position;
        }
    }

    fn merge(self, fields: Fields<'a>) -> Fields<'a> {
        if !self.repeated {
            return fields;
        }
        let mut gathered: BTreeMap<Cow<'a, [u8]>, Vec<Cow<'a, [u8]>>> = BTreeMap::new();
        for field in &fields {
            if let Value::List(items) = &field.value {
                gathered.entry(field.name.clone()).or_default().extend(items.iter().cloned());
            }
        }
        let merge_into_first = |field: Field<'a>| match field.value {
            Value::List(_) => {
                gathered.remove(&field.name).map(|items| Field { name: field.name, value: Value::List(items) })
            }
            _ => Some(field),
        };
        fields.into_iter().filter_map(merge_into_first).collect()
    }
}

/// Writes a message that [`check`](super::check) has passed.
pub(super) fn encode(fields: &Fields<'_>) -> Vec<u8> {
    // Room for the signature too, so that signing does not move the packet.
    let mut out = Vec::with_capacity(encoded_len(fields).saturating_add(48));
    put(&mut out, fields);
    out
}

fn put(out: &mut Vec<u8>, fields: &Fields<'_>) {
    out.put(START);
    for Field { name, value } in fields {
        put_decimal(out, pair_len(name, value));
        out.put(&[b':', b'(', b'0' | value.type_number(), b')']);
        out.put(name);
        out.put(b"=");
        match value {
            Value::Text(bytes) | Value::Binary(bytes) | Value::Compressed(bytes) => out.put(bytes),
            Value::List(items) => put_list(out, items),
            Value::Struct(nested) | Value::Uncompressed(nested) => put(out, nested),
        }
        out.put(b",");
    }
    out.put(END);
}

/// Appends `bytes` as a netstring.
pub(crate) fn put_wrapped(out: &mut Vec<u8>, bytes: &[u8]) {
    put_decimal(out, bytes.len());
    out.put(b":");
    out.put(bytes);
    out.put(b",");
}

/// How long `LEN:BYTES,` is for that many bytes.
pub(super) fn wrapped_len(bytes: usize) -> usize {
    let digits = usize::try_from(bytes.checked_ilog10().unwrap_or(0)).unwrap_or(0);
    bytes.saturating_add(digits).saturating_add(3)
}

fn encoded_len(fields: &Fields<'_>) -> usize {
    let pairs = fields.iter().map(|field| wrapped_len(pair_len(&field.name, &field.value)));
    pairs.fold(8, usize::saturating_add)
}

fn pair_len(name: &[u8], value: &Value<'_>) -> usize {
    let value = match value {
        Value::Text(bytes) | Value::Binary(bytes) | Value::Compressed(bytes) => bytes.len(),
        Value::List(items) => list_len(items),
        Value::Struct(nested) | Value::Uncompressed(nested) => encoded_len(nested),
    };
    name.len().saturating_add(value).saturating_add(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuses(packet: &[u8], why: WireError) {
        assert_eq!(decode(packet, 0).map(|_| ()), Err(why), "{}", packet.escape_ascii());
    }

    #[test]
    fn malformed_pairs_are_refused_by_what_is_wrong_with_them() {
        refuses(b"###\n", WireError::Truncated);
        refuses(b"###\n6:(0)t=a,", WireError::Truncated);
        refuses(b"###\n6:(0)t=a%%%\n", WireError::BadNetstring);
        refuses(b"###\n:(0)t=a,%%%\n", WireError::BadNetstring);
        refuses(b"###\n-6:(0)t=a,%%%\n", WireError::BadNetstring);
        refuses(b"###\n99:(0)t=a,%%%\n", WireError::Truncated);
        refuses(b"###\n99999999999999999999999999:(0)t=a,%%%\n", WireError::Truncated);
        refuses(b"###\n3:t=a,%%%\n", WireError::BadPair);
        refuses(b"###\n6:(x)t=a,%%%\n", WireError::BadPair);
        refuses(b"###\n6:(6)t=a,%%%\n", WireError::BadType('6'));
        refuses(b"###\n5:(0)ta,%%%\n", WireError::BadPair);
        refuses(b"###\n5:(0)=a,%%%\n", WireError::BadName);
        refuses(b"###\n7:(0)(t=a,%%%\n", WireError::BadName);
        refuses(b"###\n7:(0)t=a\0,%%%\n", WireError::NulInText);
        refuses(b"###\n7:(2)s=ab,%%%\n", WireError::NoMarker);
        refuses(b"###\n14:(2)s=###\n%%%\nx,%%%\n", WireError::Trailing);
        refuses(b"###\n7:(3)l=x:,%%%\n", WireError::BadList);
        refuses(b"###\n9:(3)l=2:a,,%%%\n", WireError::BadList);
        refuses(b"###\n8:(3)l=0:,,%%%\n", WireError::BadList);
    }

    #[test]
    fn two_lists_of_one_name_become_one() {
        let mut packet = START.to_vec();
        for pair in [&b"(3)l=1:a,"[..], b"(0)x=1", b"(3)l=1:b,1:c,", b"(3)m=1:d,"] {
            put_wrapped(&mut packet, pair);
        }
        packet.put(END);
        let (fields, rest) = decode(&packet, 0).unwrap();
        assert!(rest.is_empty());
        let list = |items: &[&'static [u8]]| Value::List(items.iter().map(|item| Cow::Borrowed(*item)).collect());
        assert_eq!(fields.len(), 3);
        assert_eq!(fields.get("l"), Some(&list(&[b"a", b"b", b"c"])));
        assert_eq!(fields.get("m"), Some(&list(&[b"d"])));
    }

    #[test]
    fn sixteen_levels_are_read_and_seventeen_refused() {
        let nested = |levels: usize| {
            let mut packet = [START, END].concat();
            for _ in 0..levels {
                let mut outer = START.to_vec();
                put_wrapped(&mut outer, &[b"(2)s=", &packet[..]].concat());
                outer.put(END);
                packet = outer;
            }
            packet
        };
        assert!(decode(&nested(16), 0).is_ok());
        refuses(&nested(17), WireError::TooDeep);
    }
}
