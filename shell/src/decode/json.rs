//! One JSON object a line, values as in `tests/vectors/README.md`: text as latin-1, binary as hex, lists and nested
//! messages as arrays.

use super::{Expansion, Finding};
use hb_core::auth::AuthError;
use hb_core::wire::{Fields, Format, Value};
use serde_json::{Map, Value as Json, json};
use std::fmt::Write as _;
use std::io::{self, Write};

/// Writes what is known about one packet.
///
/// `format` is null if the first bytes name none, `auth` if the packet is no message; `inner` is there for compressed
/// packets only.
pub(super) fn write(out: &mut impl Write, finding: &Finding<'_>) -> io::Result<()> {
    let mut object = Map::new();
    object.insert("format".to_owned(), finding.format.map(format_name).into());
    object.insert("auth".to_owned(), finding.auth.map(auth_word).into());
    object.insert("error".to_owned(), finding.error.as_deref().into());
    let fields = finding.message.as_ref().map_or_else(|| json!([]), |message| fields_json(&message.fields));
    object.insert("fields".to_owned(), fields);
    if !finding.expansions.is_empty() {
        let inner = finding.expansions.iter().map(|expansion| (latin1(&expansion.field), inner_json(expansion)));
        object.insert("inner".to_owned(), Json::Object(inner.collect()));
    }
    serde_json::to_writer(&mut *out, &object).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

fn auth_word(auth: Result<u8, AuthError>) -> &'static str {
    match auth {
        Ok(_) => "ok",
        Err(AuthError::Unsigned) => "unsigned",
        Err(AuthError::BadSignatureForm) => "bad-form",
        Err(AuthError::NoSuchKey(_)) => "no-such-key",
        Err(AuthError::WrongDigest { .. }) => "bad",
    }
}

pub(super) fn format_name(format: Format) -> &'static str {
    match format {
        Format::Netstring => "netstring",
        Format::Classic => "classic",
    }
}

fn inner_json(expansion: &Expansion) -> Json {
    json!({
        "format": format_name(expansion.format),
        "tail": hex(&expansion.tail),
        "fields": fields_json(&expansion.fields),
    })
}

fn fields_json(fields: &Fields<'_>) -> Json {
    fields
        .iter()
        .map(|field| json!([latin1(&field.name), field.value.type_number(), value_json(&field.value)]))
        .collect()
}

fn value_json(value: &Value<'_>) -> Json {
    match value {
        Value::Text(text) => latin1(text).into(),
        Value::Binary(bytes) | Value::Compressed(bytes) => hex(bytes).into(),
        Value::List(items) => items.iter().map(|item| latin1(item)).collect(),
        Value::Struct(fields) | Value::Uncompressed(fields) => fields_json(fields),
    }
}

/// One character for each byte.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}
