//! Bytes to messages and back: the netstring format, the classic format, compression, typed messages.
//!
//! Read WIRE 2 to 5 first. Three layers, each usable alone:
//!
//! | layer | from | to |
//! |---|---|---|
//! | [`decode`], [`encode`] | bytes | [`Fields`]: names, types and order as they travel |
//! | [`Keyring`](crate::auth::Keyring) | bytes | [`Authentic`](crate::auth::Authentic) fields, compressed wholes expanded |
//! | [`Message`] | authentic fields | a typed header and body |
//!
//! Invariants:
//! - decoding never panics, never recurses deeper than [`DEPTH_MAX`] and borrows from its input,
//! - encoding refuses everything the original must never be sent (WIRE 2, 3, 15), so there is no way to crash a peer.

pub mod compress;
mod fields;
mod lines;
pub mod message;
mod netstring;
pub mod serial;

pub use compress::{Algorithm, Compression};
pub use fields::{Field, Fields, Value};
pub(crate) use lines::digest_lines;
pub use message::{Body, Header, Message};
pub(crate) use netstring::{put_wrapped as put_netstring, split as split_netstring};

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// The largest packet in bytes, and the largest compressed payload: the original's receive buffer (WIRE 13, 14).
pub const PACKET_MAX: usize = 256 * 1024;
/// The largest expansion of a compressed payload in bytes (WIRE 14).
pub const EXPANDED_MAX: usize = 2 * 1024 * 1024;
/// How deep messages may nest: the classic format has line ends for 16 levels only (WIRE 4, 14).
pub const DEPTH_MAX: usize = 16;
/// The longest node name in bytes (WIRE 14).
pub const NODE_NAME_MAX: usize = 99;
/// The longest status word in bytes (WIRE 14).
pub const STATUS_WORD_MAX: usize = 31;

/// Which of the two formats a packet has; its first four bytes tell (WIRE 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// `###\n` ... `%%%\n`: everything on UDP and ICMP (WIRE 3).
    Netstring,
    /// `>>>\n` ... `<<<\n`: serial lines; accepted everywhere (WIRE 4).
    Classic,
}

/// What ha.cf calls `msgfmt`: not the format on UDP, which is always netstring (WIRE 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MsgFormat {
    /// Messages carry a signature of their own inside, too, and are classic text inside compressed payloads.
    #[default]
    Classic,
    /// Messages carry the outer signature only, and are netstrings everywhere but on serial lines.
    Netstring,
}

/// Why bytes are not a message, or a message not one of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WireError {
    /// The first four bytes name neither format.
    #[error("begins with neither ### nor >>>")]
    NoMarker,
    /// The end marker, or a byte that a length promised, is not there.
    #[error("ends before its end marker")]
    Truncated,
    /// More than [`PACKET_MAX`] bytes, or [`EXPANDED_MAX`] for an expansion.
    #[error("longer than a message may be")]
    TooLong,
    /// Messages nested deeper than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// A netstring without a decimal length, or without the comma its length leads to.
    #[error("a netstring is not LENGTH:BYTES,")]
    BadNetstring,
    /// A pair that does not begin with a type in parentheses, or has no `=`.
    #[error("a field is not (TYPE)NAME=VALUE")]
    BadPair,
    /// A type this format does not have.
    #[error("a field has type {0:?}, which this format does not have")]
    BadType(char),
    /// A name that is empty, begins with `(` or `>>>`, or contains a newline or NUL.
    #[error("a field's name is empty or contains what no name may")]
    BadName,
    /// A text that contains NUL.
    #[error("a text contains NUL")]
    NulInText,
    /// A list that is not a sequence of `LENGTH:BYTES,` with non-empty elements.
    #[error("a list is not a sequence of non-empty LENGTH:BYTES,")]
    BadList,
    /// A binary or compressed value of the classic format that is not padded base64.
    #[error("a value is not base64")]
    BadBase64,
    /// A nested message followed by further bytes.
    #[error("bytes follow the end of a nested message")]
    Trailing,
    /// A compressed payload that does not expand.
    #[error("compressed with {0}, but the payload does not expand")]
    BadCompression(Algorithm),
    /// A compression algorithm that is missing or not one of ours.
    #[error("_compression_algorithm is neither zlib nor bz2")]
    UnknownCompression,
    /// Compressed, and this build has no feature `compression`.
    #[error("compressed, which this build cannot read")]
    CompressionNotBuilt,
    /// A field without which the message means nothing.
    #[error("field {field} is missing")]
    Missing {
        /// The field's name.
        field: &'static str,
    },
    /// A field that should hold a number and does not.
    #[error("field {field} is not a number of its base and range")]
    BadNumber {
        /// The field's name.
        field: &'static str,
    },
    /// A field whose value is none of those it may have.
    #[error("field {field} has a value it cannot have")]
    BadValue {
        /// The field's name.
        field: &'static str,
    },
    /// A field longer than [`NODE_NAME_MAX`] or [`STATUS_WORD_MAX`] allows.
    #[error("field {field} is too long")]
    FieldTooLong {
        /// The field's name.
        field: &'static str,
    },
}

/// Why a message cannot be put on the wire; the message was made wrongly or by a client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A name that is empty, begins with `(`, `>>>` or `<<<`, or contains `=`, a newline or NUL.
    #[error("{name:?} cannot be the name of a field")]
    BadName {
        /// The name.
        name: String,
    },
    /// A text or list element that contains NUL.
    #[error("field {name}: a text must not contain NUL")]
    NulInText {
        /// The field's name.
        name: String,
    },
    /// A list element of length 0, on which the original refuses the whole field (WIRE 2).
    #[error("field {name}: an element of a list must not be empty")]
    EmptyElement {
        /// The field's name.
        name: String,
    },
    /// Two lists of one name, which the original merges (WIRE 2).
    #[error("field {name}: two lists of the same name")]
    DuplicateList {
        /// The field's name.
        name: String,
    },
    /// A value with bytes that mean a line end of the classic format at its place.
    #[error("field {name}: its bytes cannot be written in the classic format")]
    NotClassic {
        /// The field's name.
        name: String,
    },
    /// A field of type 5, on which the original's serial writer fails for good (WIRE 15).
    #[error("field {name}: an uncompressed field cannot be written in the classic format")]
    UncompressedInClassic {
        /// The field's name.
        name: String,
    },
    /// Messages nested deeper than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// The packet would have more than [`PACKET_MAX`] bytes.
    #[error("the packet would have {bytes} bytes, more than {PACKET_MAX}")]
    TooLong {
        /// The size it would have.
        bytes: usize,
    },
    /// The message asks for compression, and this build has no feature `compression`.
    #[error("the message asks for compression, which this build cannot do")]
    CompressionNotBuilt,
}

/// A packet taken apart, nothing about it believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// Which format the bytes had.
    pub format: Format,
    /// The message.
    pub fields: Fields<'a>,
    /// From the start marker to the end marker's newline: what an outer signature covers (WIRE 6.3).
    pub message: &'a [u8],
    /// What follows the end marker: the signature of a netstring packet, else bytes without meaning.
    pub rest: &'a [u8],
}

/// Takes a packet of either format apart.
///
/// Values borrow from `bytes`; only base64 and text with a substituted newline are copied. Duplicate lists of the
/// netstring format are merged (WIRE 2).
pub fn decode(bytes: &[u8]) -> Result<Decoded<'_>, WireError> {
    decode_up_to(PACKET_MAX, bytes)
}

/// [`decode`] for the expansion of a compressed payload, which may be larger than a packet.
pub(crate) fn decode_expansion(bytes: &[u8]) -> Result<Decoded<'_>, WireError> {
    decode_up_to(EXPANDED_MAX, bytes)
}

fn decode_up_to(limit: usize, bytes: &[u8]) -> Result<Decoded<'_>, WireError> {
    if bytes.len() > limit {
        return Err(WireError::TooLong);
    }
    let (format, fields, rest) = if bytes.starts_with(netstring::START) {
        let (fields, rest) = netstring::decode(bytes, 0)?;
        (Format::Netstring, fields, rest)
    } else if bytes.starts_with(lines::START) {
        let (fields, rest) = lines::decode(bytes)?;
        (Format::Classic, fields, rest)
    } else {
        return Err(WireError::NoMarker);
    };
    let message = bytes.get(..bytes.len().saturating_sub(rest.len())).unwrap_or(bytes);
    Ok(Decoded { format, fields, message, rest })
}

/// Writes a message without signature: from the start marker to the end marker's newline, no NUL.
///
/// Fails if the message holds something that must never be sent; then nothing is written.
pub fn encode(fields: &Fields<'_>, format: Format) -> Result<Vec<u8>, EncodeError> {
    match format {
        Format::Netstring => {
            check(fields, 0)?;
            Ok(netstring::encode(fields))
        }
        Format::Classic => {
            check(fields, 0)?;
            lines::check(fields, 0)?;
            Ok(lines::encode(fields))
        }
    }
}

/// Writes a message as the original does inside a compressed payload (WIRE 4, end).
///
/// What only netstrings can carry becomes a netstring here too, so that the receiver gets what the sender had.
pub(crate) fn internal_form(fields: &Fields<'_>, msgfmt: MsgFormat) -> Result<Vec<u8>, EncodeError> {
    check(fields, 0)?;
    if msgfmt == MsgFormat::Netstring || fields.is_structured() || lines::check(fields, 0).is_err() {
        return Ok(netstring::encode(fields));
    }
    let mut plain = lines::encode(fields);
    plain.push(0);
    Ok(plain)
}

/// Refuses what neither format may carry.
fn check(fields: &Fields<'_>, depth: usize) -> Result<(), EncodeError> {
    if depth > DEPTH_MAX {
        return Err(EncodeError::TooDeep);
    }
    let mut lists: Vec<&[u8]> = Vec::new();
    for Field { name, value } in fields {
        if !may_be_sent(name) {
            return Err(EncodeError::BadName { name: printable(name) });
        }
        match value {
            Value::Text(text) if text.contains(&0) => return Err(EncodeError::NulInText { name: printable(name) }),
            Value::Text(_) | Value::Binary(_) | Value::Compressed(_) => {}
            Value::List(items) => {
                if lists.contains(&&**name) {
                    return Err(EncodeError::DuplicateList { name: printable(name) });
                }
                lists.push(name);
                if items.iter().any(|item| item.is_empty()) {
                    return Err(EncodeError::EmptyElement { name: printable(name) });
                }
                if items.iter().any(|item| item.contains(&0)) {
                    return Err(EncodeError::NulInText { name: printable(name) });
                }
            }
            Value::Struct(nested) | Value::Uncompressed(nested) => check(nested, depth.saturating_add(1))?,
        }
    }
    Ok(())
}

/// Whether a received name is one (WIRE 2).
fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && !name.starts_with(b"(")
        && !name.starts_with(b">>>")
        && !name.iter().any(|byte| matches!(byte, 0 | b'\n'))
}

/// Whether a name may be sent; `<<<` ends a message on a serial line, whatever follows it (WIRE 13).
fn may_be_sent(name: &[u8]) -> bool {
    is_name(name) && !name.starts_with(b"<<<") && !name.contains(&b'=')
}

fn printable(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// Splits the packed form `5:alpha,5:be ta,` (WIRE 2).
fn unpack_list(mut packed: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, WireError> {
    let mut items = Vec::new();
    while !packed.is_empty() {
        let (item, rest) = netstring::split(packed).map_err(|_| WireError::BadList)?;
        if item.is_empty() || item.contains(&0) {
            return Err(WireError::BadList);
        }
        items.push(Cow::Borrowed(item));
        packed = rest;
    }
    Ok(items)
}

/// Where encoded bytes go: a packet, or a digest that needs no copy of it.
pub(crate) trait Sink {
    /// Takes the next bytes.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

fn put_list(out: &mut impl Sink, items: &[Cow<'_, [u8]>]) {
    for item in items {
        put_decimal(out, item.len());
        out.put(b":");
        out.put(item);
        out.put(b",");
    }
}

fn list_len(items: &[Cow<'_, [u8]>]) -> usize {
    items.iter().fold(0, |sum: usize, item| sum.saturating_add(netstring::wrapped_len(item.len())))
}

/// Writes a length in decimal without leading zeros.
pub(crate) fn put_decimal(out: &mut impl Sink, number: usize) {
    let mut digits = [0_u8; 20];
    let mut rest = number;
    let mut used: usize = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' | u8::try_from(rest.checked_rem(10).unwrap_or(0)).unwrap_or(0);
        rest = rest.checked_div(10).unwrap_or(0);
        used = used.saturating_add(1);
        if rest == 0 {
            break;
        }
    }
    out.put(digits.get(digits.len().saturating_sub(used)..).unwrap_or_default());
}

#[cfg(test)]
pub(crate) mod tests;
