//! What an administrator can do about a signature that is refused.

use hb_core::auth::{AuthError, Keyring, Method, Signature};
use hb_core::wire::{Decoded, Format, Value};

/// Says why a packet is refused, in terms of the two authkeys files.
pub(super) fn auth_error(error: AuthError, packet: &Decoded<'_>, keyring: &Keyring) -> String {
    match error {
        AuthError::Unsigned => match packet.format {
            Format::Netstring => "not signed: nothing stands behind the message".to_owned(),
            Format::Classic => "not signed: it has no field auth".to_owned(),
        },
        AuthError::BadSignatureForm => "the signature is not of the form INDEX DIGEST".to_owned(),
        AuthError::NoSuchKey(key) => {
            let known: Vec<String> = keyring.methods().map(|(index, method)| format!("{index} {method}")).collect();
            format!("signed with key {key}, which this authkeys lacks (it has {})", known.join(", "))
        }
        AuthError::WrongDigest { key } => wrong_digest(key, packet, keyring),
    }
}

fn wrong_digest(key: u8, packet: &Decoded<'_>, keyring: &Keyring) -> String {
    let current = keyring.current();
    let Some(method) = method_of(keyring, key) else { return AuthError::WrongDigest { key }.to_string() };
    let length = Signature::of(packet).map_or(0, |signature| signature.digest.len());
    if let Some(other) = method_by_length(length).filter(|other| *other != method) {
        return format!("key {key} is {method} here, but the sender made a {other} digest with its key {key}");
    }
    if method == Method::Crc {
        return "the checksum is wrong: the packet was damaged or changed on its way".to_owned();
    }
    if packet.format == Format::Netstring {
        let with_secret_of = |index| keyring.with_current(index).is_ok_and(|ring| ring.authenticate(packet).is_ok());
        if let Some((index, _)) = keyring.methods().find(|(index, _)| *index != current && with_secret_of(*index)) {
            return format!("signed with the secret that is key {index} here: the nodes number their keys differently");
        }
        if key != current {
            return format!(
                "wrong digest: the packet names key {key} ({method}), and neither the secret of that key nor that of our own \
                 auth line, key {current}, makes it; the secrets differ, or the packet was changed"
            );
        }
    }
    if packet.format == Format::Classic && has_carriage_returns(packet) {
        return "wrong digest: the lines end in CR LF, which makes the CR part of each value".to_owned();
    }
    format!(
        "wrong digest: the secret of key {key} ({method}) differs between the sender and this authkeys, or the packet \
         was changed on its way"
    )
}

fn method_of(keyring: &Keyring, key: u8) -> Option<Method> {
    keyring.methods().find(|(index, _)| *index == key).map(|(_, method)| method)
}

/// Which method makes digests of that many digits.
fn method_by_length(digits: usize) -> Option<Method> {
    match digits {
        1..=8 => Some(Method::Crc),
        32 => Some(Method::Md5),
        40 => Some(Method::Sha1),
        _ => None,
    }
}

fn has_carriage_returns(packet: &Decoded<'_>) -> bool {
    packet.fields.iter().any(|field| matches!(&field.value, Value::Text(text) if text.ends_with(b"\r")))
}
