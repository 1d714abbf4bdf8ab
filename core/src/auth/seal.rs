//! From fields to the bytes of a signed packet.

use super::Keyring;
use crate::wire::{
    self, Compression, Decoded, EncodeError, Fields, Format, MsgFormat, PACKET_MAX, Sink as _, Value, compress,
};
use alloc::borrow::Cow;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What kind of medium a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Framing {
    /// UDP: netstring.
    Datagram,
    /// ICMP echo data: netstring, with the inner signature whatever `msgfmt` says (WIRE 6.3).
    Echo,
    /// A serial line: classic without NUL; nothing is compressed as a whole.
    Serial,
}

/// How a cluster writes its messages, the same for every message a node sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sealing {
    /// `msgfmt`.
    pub msgfmt: MsgFormat,
    /// The three compression directives.
    pub compression: Compression,
}

impl Keyring {
    /// Writes and signs a message.
    ///
    /// Fields marked for compression are compressed unless the whole is (WIRE 5); on a serial line always, since the
    /// original fails there on an uncompressed one (WIRE 15). The inner `auth` goes where one already stands, else to
    /// the end (WIRE 7). Fails if the message holds something that must never be sent.
    pub fn seal(&self, mut fields: Fields<'_>, framing: Framing, how: &Sealing) -> Result<Arc<[u8]>, EncodeError> {
        let Compression { algorithm, threshold, traditional } = how.compression;
        if framing == Framing::Serial {
            compress::compress_fields(&mut fields, algorithm, how.msgfmt)?;
            self.sign_inside(&mut fields);
            return within_limit(wire::encode(&fields, Format::Classic)?).map(Arc::from);
        }
        if !traditional {
            compress::compress_fields(&mut fields, algorithm, how.msgfmt)?;
        }
        let classic = how.msgfmt == MsgFormat::Classic && !fields.is_structured();
        if classic || framing == Framing::Echo {
            self.sign_inside(&mut fields);
        }
        let mut packet = wire::encode(&fields, Format::Netstring)?;
        // Base64 makes the internal form longer than this one, but never twice as long.
        if traditional || packet.len() > PACKET_MAX / 2 {
            let plain = wire::internal_form(&fields, how.msgfmt)?;
            if (traditional && plain.len() > threshold) || plain.len() >= PACKET_MAX {
                packet = wire::encode(&compress::compress_whole(algorithm, &plain)?, Format::Netstring)?;
            }
        }
        self.sign_outside(&mut packet);
        within_limit(packet).map(Arc::from)
    }

    /// What [`seal`](Self::seal) made, written for a serial line; a message compressed as a whole is expanded (WIRE 13).
    ///
    /// The same packet gives the same bytes, so that the history need keep one form only. `None` if the classic format
    /// cannot carry the message.
    pub fn reseal_for_serial(&self, packet: &[u8], how: &Sealing) -> Option<Arc<[u8]>> {
        let Decoded { format, fields, .. } = wire::decode(packet).ok()?;
        let fields = match compress::whole(format, &fields) {
            Some(found) => {
                let (algorithm, payload) = found.ok()?;
                compress::expand_message(algorithm, payload).ok()?.1
            }
            None => fields,
        };
        self.seal(fields, Framing::Serial, how).ok()
    }

    /// Makes `auth` the signature over the classic lines of all other fields (WIRE 6.3).
    pub(super) fn sign_inside(&self, fields: &mut Fields<'_>) {
        let signature = self.signature(|sink| wire::digest_lines(sink, fields));
        fields.set_only("auth", Value::Text(Cow::Owned(signature)));
    }

    /// Appends the signature over the whole message (WIRE 6.3).
    pub(super) fn sign_outside(&self, packet: &mut Vec<u8>) {
        let signature = self.signature(|sink| sink.put(packet));
        wire::put_netstring(packet, &signature);
    }
}

fn within_limit(packet: Vec<u8>) -> Result<Vec<u8>, EncodeError> {
    if packet.len() > PACKET_MAX { Err(EncodeError::TooLong { bytes: packet.len() }) } else { Ok(packet) }
}
