//! Recorded packets signed anew with other secrets, so that a recording can be handed on.

use super::{Authentic, Keyring, last_auth};
use crate::wire::{self, Decoded, Format, MsgFormat, Value, compress};
use alloc::borrow::Cow;
use alloc::vec::Vec;

/// Shorter runs of hex digits are lengths and numbers, not signatures.
const DIGEST_MIN: usize = 12;

impl Keyring {
    /// `packet`, which `self` was to judge, as it would be had the cluster used the secrets of `other`; both keyrings have
    /// the same entries but for the secrets.
    ///
    /// What `self` accepts, `other` accepts. What `self` refuses keeps its text and its length and loses every signature
    /// in it, since a damaged packet may carry a good one: whoever has packet and signature can guess the secret at home.
    pub fn resign(&self, packet: &[u8], other: &Keyring) -> Vec<u8> {
        self.verify(packet)
            .ok()
            .and_then(|authentic| other.sign_as(packet, &authentic))
            .unwrap_or_else(|| blank_signatures(packet))
    }

    fn sign_as(&self, packet: &[u8], authentic: &Authentic<'_>) -> Option<Vec<u8>> {
        let Decoded { format, mut fields, .. } = wire::decode(packet).ok()?;
        if format == Format::Classic {
            self.sign_fields(&mut fields, authentic.key)?;
            let mut signed = wire::encode(&fields, Format::Classic).ok()?;
            signed.extend_from_slice(trailing_nul(packet));
            return Some(signed);
        }
        if let Some(Ok((algorithm, payload))) = compress::whole(format, &fields) {
            let (plain_format, mut plain) = compress::expand_message(algorithm, payload).ok()?;
            self.sign_fields(&mut plain, authentic.key);
            let msgfmt = match plain_format {
                Format::Classic => MsgFormat::Classic,
                Format::Netstring => MsgFormat::Netstring,
            };
            let plain = wire::internal_form(&plain, msgfmt).ok()?;
            fields = compress::compress_whole(algorithm, &plain).ok()?;
        } else {
            self.sign_fields(&mut fields, authentic.key);
        }
        let mut signed = wire::encode(&fields, Format::Netstring).ok()?;
        let prepared = self.prepared(authentic.key).ok()?;
        let maker = if authentic.is_heard_by_the_original() { &prepared.crossed } else { &prepared.own };
        let digest = maker.digest(|sink| wire::Sink::put(sink, &signed));
        wire::put_netstring(&mut signed, &signature_text(authentic.key, digest.as_bytes()));
        Some(signed)
    }

    /// Replaces the signature inside a message, if there is one, by that of the entry it names.
    fn sign_fields(&self, fields: &mut wire::Fields<'_>, fallback: u8) -> Option<()> {
        let text = last_auth(fields)?;
        let named = core::str::from_utf8(text).ok().and_then(|text| text.split_once(' ')?.0.parse().ok());
        let key = named.unwrap_or(fallback);
        let prepared = self.prepared(key).ok()?;
        let digest = prepared.own.digest(|sink| wire::digest_lines(sink, fields));
        fields.set_only("auth", Value::Text(Cow::Owned(signature_text(key, digest.as_bytes()))));
        Some(())
    }
}

fn signature_text(key: u8, digest: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(44);
    wire::put_decimal(&mut text, usize::from(key));
    text.push(b' ');
    text.extend_from_slice(digest);
    text
}

fn trailing_nul(packet: &[u8]) -> &[u8] {
    if packet.ends_with(&[0]) { &[0] } else { &[] }
}

/// Overwrites what could be a digest with zeros, and a compressed payload, which could hold one, with letters.
fn blank_signatures(packet: &[u8]) -> Vec<u8> {
    let mut blank = packet.to_vec();
    if let Some((from, to)) = payload_place(packet) {
        blank.iter_mut().take(to).skip(from).for_each(|byte| *byte = b'A');
    }
    let mut run: usize = 0;
    for at in 0..=blank.len() {
        if blank.get(at).is_some_and(u8::is_ascii_hexdigit) {
            run = run.saturating_add(1);
            continue;
        }
        if run >= DIGEST_MIN
            && let Some(digits) = blank.get_mut(at.saturating_sub(run)..at)
        {
            digits.fill(b'0');
        }
        run = 0;
    }
    blank
}

/// Where the compressed payload of a packet stands; to the end if the packet cannot be taken apart.
fn payload_place(packet: &[u8]) -> Option<(usize, usize)> {
    let name = compress::PAYLOAD.as_bytes();
    let behind_name = packet.windows(name.len()).position(|window| window == name)?.saturating_add(name.len());
    let length = wire::decode(packet).ok().and_then(|decoded| Some(decoded.fields.binary(compress::PAYLOAD)?.len()));
    let Some(length) = length else { return Some((behind_name, packet.len())) };
    // Behind the `=`.
    let from = behind_name.saturating_add(1);
    Some((from, from.saturating_add(length)))
}
