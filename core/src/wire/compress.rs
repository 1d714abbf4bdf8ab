//! Compression of whole messages and of single fields. Read WIRE 5 first.
//!
//! The algorithm travels with the message, so both must be readable whichever is configured. Without the feature
//! `compression` compressed messages end in a typed error instead.

use super::{EncodeError, Fields, Format, MsgFormat, Value, WireError};
use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

/// The field that holds a whole message, compressed.
pub const PAYLOAD: &str = "_compressed_payload";
/// The field that names the algorithm of all compressed bytes beside it.
pub const ALGORITHM: &str = "_compression_algorithm";

/// How bytes are compressed (ha.cf `compression`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// A zlib stream (RFC 1950).
    #[default]
    Zlib,
    /// A complete .bz2 stream.
    Bz2,
}

impl Algorithm {
    /// The name on the wire and in ha.cf.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Zlib => "zlib",
            Algorithm::Bz2 => "bz2",
        }
    }

    /// The algorithm of that name.
    pub fn named(name: &[u8]) -> Option<Algorithm> {
        [Algorithm::Zlib, Algorithm::Bz2].into_iter().find(|algorithm| algorithm.name().as_bytes() == name)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What ha.cf says about compression of messages we send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Compression {
    /// `compression zlib|bz2`.
    pub algorithm: Algorithm,
    /// `compression_threshold` in bytes: a longer message is compressed as a whole, if `traditional`.
    pub threshold: usize,
    /// `traditional_compression on|off`: whole messages rather than the fields clients marked.
    pub traditional: bool,
}

impl Default for Compression {
    /// What 3.0.6 does without any directive (WIRE 5).
    fn default() -> Compression {
        Compression { algorithm: Algorithm::Zlib, threshold: 2 * 1024, traditional: false }
    }
}

/// The algorithm and bytes of a message compressed as a whole, `None` for any other.
///
/// Such a message has exactly these two fields and travels in the netstring format (WIRE 5).
pub fn whole<'f>(format: Format, fields: &'f Fields<'_>) -> Option<Result<(Algorithm, &'f [u8]), WireError>> {
    if format != Format::Netstring || fields.len() != 2 {
        return None;
    }
    let payload = fields.binary(PAYLOAD)?;
    Some(algorithm_of(fields).map(|algorithm| (algorithm, &**payload)))
}

/// The algorithm a message names for the compressed fields in it.
pub fn algorithm_of(fields: &Fields<'_>) -> Result<Algorithm, WireError> {
    fields.text(ALGORITHM).and_then(|name| Algorithm::named(name)).ok_or(WireError::UnknownCompression)
}

/// Replaces each field marked for compression by its compressed form and names the algorithm (WIRE 5, "single fields").
pub(crate) fn compress_fields(
    fields: &mut Fields<'_>,
    algorithm: Algorithm,
    msgfmt: MsgFormat,
) -> Result<(), EncodeError> {
    // A client may have compressed other fields already: one name serves all fields of a message.
    let named = algorithm_of(fields).ok();
    let algorithm = named.unwrap_or(algorithm);
    let mut compressed = false;
    for value in fields.values_mut() {
        if let Value::Uncompressed(nested) = value {
            let plain = super::internal_form(nested, msgfmt)?;
            *value = Value::Compressed(Cow::Owned(compress(algorithm, &plain)?));
            compressed = true;
        }
    }
    if compressed && named.is_none() {
        fields.set(ALGORITHM, Value::text(algorithm.name()));
    }
    Ok(())
}

/// The message that stands for a whole one, given in its unsigned form (WIRE 5, "the whole message").
pub(crate) fn compress_whole(algorithm: Algorithm, plain: &[u8]) -> Result<Fields<'static>, EncodeError> {
    if plain.len() > super::EXPANDED_MAX {
        return Err(EncodeError::TooLong { bytes: plain.len() });
    }
    let mut fields = Fields::with_capacity(2);
    fields.push(PAYLOAD, Value::Binary(Cow::Owned(compress(algorithm, plain)?)));
    fields.push_text(ALGORITHM, algorithm.name());
    Ok(fields)
}

/// Compresses bytes; fails without the feature `compression`.
#[cfg(feature = "compression")]
pub fn compress(algorithm: Algorithm, plain: &[u8]) -> Result<Vec<u8>, EncodeError> {
    use std::io::Write as _;
    // Writing into a vector cannot fail, so an error can only say that the algorithm cannot do it.
    let written = match algorithm {
        Algorithm::Zlib => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(plain).and_then(|()| encoder.finish())
        }
        Algorithm::Bz2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(1));
            encoder.write_all(plain).and_then(|()| encoder.finish())
        }
    };
    let compressed = written.map_err(|_| EncodeError::TooLong { bytes: plain.len() })?;
    if compressed.len() > super::PACKET_MAX {
        return Err(EncodeError::TooLong { bytes: compressed.len() });
    }
    Ok(compressed)
}

/// Compresses bytes; fails without the feature `compression`.
#[cfg(not(feature = "compression"))]
pub fn compress(_: Algorithm, _: &[u8]) -> Result<Vec<u8>, EncodeError> {
    Err(EncodeError::CompressionNotBuilt)
}

/// Expands a compressed payload of at most [`PACKET_MAX`](super::PACKET_MAX) bytes to at most
/// [`EXPANDED_MAX`](super::EXPANDED_MAX); fails without the feature `compression`.
#[cfg(feature = "compression")]
pub fn expand(algorithm: Algorithm, payload: &[u8]) -> Result<Vec<u8>, WireError> {
    use std::io::Read as _;
    if payload.len() > super::PACKET_MAX {
        return Err(WireError::TooLong);
    }
    // One byte more than allowed tells a payload at the limit from one beyond it.
    let limit = u64::try_from(super::EXPANDED_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut plain = Vec::new();
    let read = match algorithm {
        Algorithm::Zlib => flate2::read::ZlibDecoder::new(payload).take(limit).read_to_end(&mut plain),
        Algorithm::Bz2 => bzip2::read::BzDecoder::new(payload).take(limit).read_to_end(&mut plain),
    };
    read.map_err(|_| WireError::BadCompression(algorithm))?;
    if plain.len() > super::EXPANDED_MAX { Err(WireError::TooLong) } else { Ok(plain) }
}

/// Expands a compressed payload; fails without the feature `compression`.
#[cfg(not(feature = "compression"))]
pub fn expand(_: Algorithm, _: &[u8]) -> Result<Vec<u8>, WireError> {
    Err(WireError::CompressionNotBuilt)
}

/// Expands a compressed payload and takes the message in it apart (WIRE 5).
pub fn expand_message(algorithm: Algorithm, payload: &[u8]) -> Result<(Format, Fields<'static>), WireError> {
    let (format, fields, _) = read_expansion(&expand(algorithm, payload)?)?;
    Ok((format, fields))
}

/// Takes the expansion of a payload apart: its format, the message, and the bytes behind it (a NUL in classic ones).
pub fn read_expansion(plain: &[u8]) -> Result<(Format, Fields<'static>, Vec<u8>), WireError> {
    let decoded = super::decode_expansion(plain)?;
    Ok((decoded.format, decoded.fields.into_owned(), decoded.rest.to_vec()))
}

#[cfg(all(test, feature = "compression"))]
mod tests {
    use super::*;

    #[test]
    fn both_algorithms_expand_what_they_compressed() {
        let plain = b"###\n6:(0)t=a,%%%\n".repeat(300);
        for algorithm in [Algorithm::Zlib, Algorithm::Bz2] {
            let compressed = compress(algorithm, &plain).unwrap();
            assert!(compressed.len() < plain.len() / 4);
            assert_eq!(expand(algorithm, &compressed).as_deref(), Ok(&plain[..]));
            let half = compressed.get(..compressed.len() / 2).unwrap();
            assert_eq!(expand(algorithm, half), Err(WireError::BadCompression(algorithm)));
        }
    }

    #[test]
    fn an_expansion_of_two_mebibytes_is_read_and_one_byte_more_refused() {
        for algorithm in [Algorithm::Zlib, Algorithm::Bz2] {
            let largest = compress(algorithm, &alloc::vec![b'x'; super::super::EXPANDED_MAX]).unwrap();
            assert_eq!(expand(algorithm, &largest).map(|plain| plain.len()), Ok(super::super::EXPANDED_MAX));
            let bomb = compress(algorithm, &alloc::vec![b'x'; super::super::EXPANDED_MAX + 1]).unwrap();
            assert_eq!(expand(algorithm, &bomb), Err(WireError::TooLong));
        }
    }

    #[test]
    fn a_payload_beyond_the_packet_limit_is_not_even_tried() {
        let payload = alloc::vec![0; super::super::PACKET_MAX + 1];
        assert_eq!(expand(Algorithm::Zlib, &payload), Err(WireError::TooLong));
    }
}
