//! Fields to values, with the field's name in every error.

use crate::ids::NodeUuid;
use crate::wire::{Fields, NODE_NAME_MAX, WireError};
use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::str::FromStr;

/// A text that must be there.
pub(super) fn text<'a>(fields: &Fields<'a>, field: &'static str) -> Result<Cow<'a, str>, WireError> {
    fields.utf8(field)?.ok_or(WireError::Missing { field })
}

/// A node's name, neither empty nor longer than 99 bytes (WIRE 8).
pub(super) fn node_name<'a>(fields: &Fields<'a>, field: &'static str) -> Result<Option<Cow<'a, str>>, WireError> {
    match fields.utf8(field)? {
        Some(name) if name.is_empty() => Err(WireError::BadValue { field }),
        Some(name) if name.len() > NODE_NAME_MAX => Err(WireError::FieldTooLong { field }),
        name => Ok(name),
    }
}

/// A node's name that must be there.
pub(super) fn required_name<'a>(fields: &Fields<'a>, field: &'static str) -> Result<Cow<'a, str>, WireError> {
    node_name(fields, field)?.ok_or(WireError::Missing { field })
}

/// Names separated by blanks; a list of nothing is blanks or an absent field.
pub(super) fn node_list<'a>(fields: &Fields<'a>, field: &'static str) -> Result<Vec<Cow<'a, str>>, WireError> {
    let names: Vec<Cow<'a, str>> = match fields.utf8(field)? {
        None => Vec::new(),
        Some(Cow::Borrowed(names)) => names.split_ascii_whitespace().map(Cow::Borrowed).collect(),
        Some(Cow::Owned(names)) => names.split_ascii_whitespace().map(|name| Cow::Owned(name.into())).collect(),
    };
    if names.iter().any(|name| name.len() > NODE_NAME_MAX) {
        return Err(WireError::FieldTooLong { field });
    }
    Ok(names)
}

/// A number in hexadecimal, either case, no prefix.
pub(super) fn hex(fields: &Fields<'_>, field: &'static str) -> Result<Option<u64>, WireError> {
    let Some(digits) = fields.text(field) else { return Ok(None) };
    if digits.is_empty() || digits.len() > 16 {
        return Err(WireError::BadNumber { field });
    }
    let mut number: u64 = 0;
    for digit in digits.iter() {
        let digit = char::from(*digit).to_digit(16).ok_or(WireError::BadNumber { field })?;
        number = (number << 4) | u64::from(digit);
    }
    Ok(Some(number))
}

/// A number in decimal, digits only.
pub(super) fn decimal<T: FromStr>(fields: &Fields<'_>, field: &'static str) -> Result<Option<T>, WireError> {
    let Some(digits) = fields.text(field) else { return Ok(None) };
    let bad = WireError::BadNumber { field };
    // `parse` would take a sign too.
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(bad);
    }
    let digits = core::str::from_utf8(digits).map_err(|_| bad)?;
    digits.parse().map(Some).map_err(|_| bad)
}

/// A uuid in its raw 16 bytes.
pub(super) fn uuid(fields: &Fields<'_>, field: &'static str) -> Result<Option<NodeUuid>, WireError> {
    let Some(bytes) = fields.binary(field) else { return Ok(None) };
    let bytes = <[u8; 16]>::try_from(&**bytes).map_err(|_| WireError::BadValue { field })?;
    Ok(Some(NodeUuid(bytes)))
}

/// One of two words.
pub(super) fn either(
    fields: &Fields<'_>,
    field: &'static str,
    yes: &'static str,
    no: &'static str,
) -> Result<Option<bool>, WireError> {
    match fields.utf8(field)? {
        None => Ok(None),
        Some(word) if word == yes => Ok(Some(true)),
        Some(word) if word == no => Ok(Some(false)),
        Some(_) => Err(WireError::BadValue { field }),
    }
}
