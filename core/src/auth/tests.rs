//! Choice of keys, forms of signatures, and the law of sealing.

use super::*;
use crate::digest::digest_of;
use crate::wire::{Algorithm, Compression, EncodeError, Value};
use alloc::borrow::Cow;
use alloc::format;
use proptest::prelude::*;

fn key(method: Method, secret: &str) -> Key {
    Key { method, secret: secret.as_bytes().to_vec() }
}

fn ring(current: u8, entries: &[(u8, Method, &str)]) -> Keyring {
    Keyring::new(current, entries.iter().map(|(index, method, secret)| (*index, key(*method, secret)))).unwrap()
}

fn sha1() -> Keyring {
    ring(1, &[(1, Method::Sha1, "secret")])
}

fn message() -> Fields<'static> {
    let mut fields = Fields::new();
    fields.push_text("t", "status");
    fields.push_text("text", "two\nlines");
    fields.push("srcuuid", Value::Binary(Cow::Borrowed(&[7; 16])));
    fields
}

const CLASSIC: Sealing = Sealing {
    msgfmt: MsgFormat::Classic,
    compression: Compression { algorithm: Algorithm::Zlib, threshold: 2048, traditional: false },
};
const NETSTRING: Sealing = Sealing { msgfmt: MsgFormat::Netstring, ..CLASSIC };

#[test]
fn entries_that_make_no_keyring_are_named() {
    let try_new = |current, entries: &[(u8, Method, &str)]| {
        Keyring::new(current, entries.iter().map(|(index, method, secret)| (*index, key(*method, secret)))).err()
    };
    assert_eq!(try_new(16, &[(16, Method::Crc, "")]), Some(KeyringError::IndexTooHigh(16)));
    assert_eq!(try_new(1, &[(1, Method::Crc, ""), (1, Method::Md5, "x")]), Some(KeyringError::Duplicate(1)));
    assert_eq!(try_new(2, &[(1, Method::Crc, "")]), Some(KeyringError::NoCurrent(2)));
    assert_eq!(try_new(1, &[(1, Method::Sha1, "")]), Some(KeyringError::NoSecret(1)));
    assert_eq!(try_new(1, &[(1, Method::Crc, "x")]), Some(KeyringError::NeedlessSecret(1)));
    assert_eq!(try_new(15, &[(15, Method::Crc, ""), (0, Method::Md5, "x")]), None);
}

#[test]
fn a_keyring_never_prints_a_secret() {
    let printed = format!("{:?}", ring(2, &[(1, Method::Sha1, "swordfish"), (2, Method::Md5, "trout")]));
    assert!(printed.contains("Sha1") && printed.contains("current: 2"), "{printed}");
    for secret in ["swordfish", "trout", "115, 119", "73, 77"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn keyrings_differ_by_their_secrets() {
    assert_eq!(digest_of(&sha1()), digest_of(&sha1()));
    assert_ne!(digest_of(&sha1()), digest_of(&ring(1, &[(1, Method::Sha1, "other")])));
    assert_ne!(sha1(), ring(1, &[(1, Method::Sha1, "other")]));
}

#[test]
fn crc_has_no_leading_zeros_and_the_known_values() {
    let crc = |text: &[u8]| Signer::Crc.digest(|sink| sink.put(text)).as_bytes().to_vec();
    assert_eq!(crc(b""), b"ffffffff");
    assert_eq!(crc(b"123456789"), b"765e7680");
    let short = (0..2000_u32).map(|number| crc(&number.to_be_bytes())).filter(|digest| digest.len() < 8);
    assert!(short.inspect(|digest| assert_ne!(digest[0], b'0')).count() > 50);
}

#[test]
fn hmacs_have_the_values_of_rfc_2202() {
    let data = b"what do ya want for nothing?";
    let digest = |method| Signer::new(method, b"Jefe").digest(|sink| sink.put(data)).as_bytes().to_vec();
    assert_eq!(digest(Method::Md5), b"750c783e6ab0b503eaa86e310a5db738");
    assert_eq!(digest(Method::Sha1), b"effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    // A key longer than a block is hashed first.
    let long = Signer::new(Method::Sha1, &[0xaa; 80]);
    let data = b"Test Using Larger Than Block-Size Key - Hash Key First";
    assert_eq!(long.digest(|sink| sink.put(data)).as_bytes(), b"aa4ae5e15272d00e95705637ce8a3b55ed402112");
}

#[test]
fn a_netstring_is_checked_with_the_method_it_names_and_our_own_secret_or_the_named_one() {
    let ours = ring(1, &[(1, Method::Sha1, "one"), (2, Method::Md5, "two")]);
    let signed_by = |secret| {
        let sealed = ring(2, &[(2, Method::Md5, secret)]).seal(message(), Framing::Datagram, &NETSTRING).unwrap();
        ours.verify(&sealed).map(|authentic| (authentic.key(), authentic.is_heard_by_the_original()))
    };
    assert_eq!(signed_by("one"), Ok((2, true)));
    assert_eq!(signed_by("two"), Ok((2, false)));
    assert_eq!(signed_by("three"), Err(VerifyError::Auth(AuthError::WrongDigest { key: 2 })));
}

#[test]
fn keys_roll_over_without_a_packet_that_is_refused() {
    let old: &[(u8, Method, &str)] = &[(1, Method::Sha1, "one")];
    let both: &[(u8, Method, &str)] = &[(1, Method::Sha1, "one"), (2, Method::Sha1, "two")];
    let new: &[(u8, Method, &str)] = &[(2, Method::Sha1, "two")];
    let steps = [ring(1, old), ring(1, both), ring(2, both), ring(2, new)];
    for how in [&CLASSIC, &NETSTRING] {
        for framing in [Framing::Datagram, Framing::Serial] {
            for (step, ours) in steps.iter().enumerate() {
                // Others are at most one step ahead or behind.
                for theirs in &steps[step.saturating_sub(1)..(step + 2).min(steps.len())] {
                    let sealed = ours.seal(message(), framing, how).unwrap();
                    assert!(theirs.verify(&sealed).is_ok(), "{ours:?} to {theirs:?}");
                }
            }
        }
    }
}

#[test]
fn what_was_signed_before_a_change_is_signed_anew() {
    let (before, after) = (ring(1, &[(1, Method::Sha1, "one")]), ring(2, &[(2, Method::Md5, "two")]));
    for how in [&CLASSIC, &NETSTRING] {
        for framing in [Framing::Datagram, Framing::Serial, Framing::Echo] {
            let sealed = before.seal(message(), framing, how).unwrap();
            let again = after.rekey(&sealed).unwrap();
            assert_eq!(again, *after.seal(message(), framing, how).unwrap());
        }
    }
    assert_eq!(after.rekey(b"noise"), None);
}

#[test]
fn a_keyring_is_restricted_to_entries_it_has() {
    let all = ring(2, &[(1, Method::Sha1, "one"), (2, Method::Md5, "two")]);
    let entries = |current, methods: &[(u8, Method)]| Entries { current, methods: methods.to_vec() };
    let restricted = all.restricted_to(&entries(1, &[(1, Method::Sha1)]));
    assert_eq!(restricted, Some(ring(1, &[(1, Method::Sha1, "one")])));
    assert_eq!(all.restricted_to(&entries(1, &[(1, Method::Md5)])), None);
    assert_eq!(all.restricted_to(&entries(3, &[(1, Method::Sha1)])), None);
}

#[test]
fn a_classic_packet_is_checked_with_the_entry_it_names() {
    let ours = ring(1, &[(1, Method::Sha1, "one"), (2, Method::Md5, "two")]);
    let signed_by = |secret| {
        let sealed = ring(2, &[(2, Method::Md5, secret)]).seal(message(), Framing::Serial, &CLASSIC).unwrap();
        ours.verify(&sealed).map(|authentic| authentic.key())
    };
    assert_eq!(signed_by("two"), Ok(2));
    assert_eq!(signed_by("one"), Err(VerifyError::Auth(AuthError::WrongDigest { key: 2 })));
}

#[test]
fn signatures_of_another_form_are_told_from_wrong_ones() {
    let sealed = sha1().seal(message(), Framing::Datagram, &NETSTRING).unwrap();
    let end = sealed.len() - b"42:1 ".len() - 41;
    let with = |rest: &[u8]| {
        let packet = [&sealed[..end], rest].concat();
        sha1().verify(&packet).err()
    };
    let auth = |error| Some(VerifyError::Auth(error));
    assert_eq!(with(b""), auth(AuthError::Unsigned));
    assert_eq!(with(b"\0"), auth(AuthError::BadSignatureForm));
    assert_eq!(with(b"99:1 ab,"), auth(AuthError::BadSignatureForm));
    assert_eq!(with(b"2:ab,"), auth(AuthError::BadSignatureForm));
    assert_eq!(with(b"4:x ab,"), auth(AuthError::BadSignatureForm));
    assert_eq!(with(b"5:+1 ab,"), auth(AuthError::BadSignatureForm));
    assert_eq!(with(b"6:256 a,"), auth(AuthError::BadSignatureForm));
    assert_eq!(with(b"2:1 ,"), auth(AuthError::BadSignatureForm));
    assert_eq!(with(b"4:3 ab,"), auth(AuthError::NoSuchKey(3)));
    assert_eq!(with(b"4:1 ab,"), auth(AuthError::WrongDigest { key: 1 }));
    let upper = sealed[end..].to_ascii_uppercase();
    assert_eq!(with(&upper), auth(AuthError::WrongDigest { key: 1 }));
    assert_eq!(with(&sealed[end..]), None);
    assert_eq!(with(&[&sealed[end..], b"anything"].concat()), None);
}

#[test]
fn the_last_auth_of_a_classic_packet_counts_wherever_it_stands() {
    let sealed = sha1().seal(message(), Framing::Serial, &CLASSIC).unwrap();
    let sealed = core::str::from_utf8(&sealed).unwrap();
    let at = sealed.find("auth=").unwrap();
    let (before, auth) = (&sealed[..at], &sealed[at..at + "auth=1 \n".len() + 40]);
    let body = before.strip_prefix(">>>\n").unwrap();
    let verify = |packet: &str| sha1().verify(packet.as_bytes()).map(|_| ());
    assert_eq!(verify(&format!(">>>\n{auth}{body}<<<\n")), Ok(()));
    assert_eq!(verify(&format!(">>>\nauth=1 wrong\n{body}{auth}<<<\n\0")), Ok(()));
    assert_eq!(
        verify(&format!(">>>\n{auth}{body}auth=1 wrong\n<<<\n")),
        Err(VerifyError::Auth(AuthError::WrongDigest { key: 1 }))
    );
    assert_eq!(verify(&format!(">>>\n{body}<<<\n")), Err(VerifyError::Auth(AuthError::Unsigned)));
}

#[test]
fn the_inner_signature_follows_msgfmt_and_the_fields() {
    let inner = |fields: Fields<'static>, framing, how: &Sealing| {
        let sealed = sha1().seal(fields, framing, how).unwrap();
        wire::decode(&sealed).unwrap().fields.text("auth").is_some()
    };
    let mut nested = message();
    nested.push("sub", Value::Struct(Fields::new()));
    assert!(inner(message(), Framing::Datagram, &CLASSIC));
    assert!(!inner(message(), Framing::Datagram, &NETSTRING));
    assert!(inner(message(), Framing::Echo, &NETSTRING));
    assert!(inner(message(), Framing::Serial, &NETSTRING));
    assert!(!inner(nested.clone(), Framing::Datagram, &CLASSIC));
    assert!(inner(nested, Framing::Serial, &CLASSIC));
}

#[test]
fn sealing_again_replaces_the_inner_signature_in_its_place() {
    let mut fields = Fields::new();
    fields.push_text("auth", "1 old");
    fields.push_text("t", "status");
    fields.push_text("auth", "1 older");
    let sealed = sha1().seal(fields, Framing::Serial, &CLASSIC).unwrap();
    let names: Vec<_> = wire::decode(&sealed).unwrap().fields.into_iter().map(|field| field.name).collect();
    assert_eq!(names, [&b"auth"[..], b"t"]);
    assert!(sha1().verify(&sealed).is_ok());
}

#[test]
fn a_message_too_long_for_any_packet_is_refused() {
    let mut fields = message();
    // Bytes that do not compress.
    let noise: Vec<u8> = (0..300_000_u32).map(|at| digest_of(&at).to_le_bytes()[0]).collect();
    fields.push("blob", Value::Binary(Cow::Owned(noise)));
    let sealed = sha1().seal(fields.clone(), Framing::Datagram, &NETSTRING).map(|_| ());
    assert!(matches!(sealed, Err(EncodeError::TooLong { .. } | EncodeError::CompressionNotBuilt)), "{sealed:?}");
    let sealed = sha1().seal(fields, Framing::Serial, &NETSTRING).map(|_| ());
    assert!(matches!(sealed, Err(EncodeError::TooLong { .. })), "{sealed:?}");
}

#[cfg(not(feature = "compression"))]
#[test]
fn without_the_feature_compression_is_a_typed_error() {
    let mut fields = message();
    fields.push("sub", Value::Uncompressed(message()));
    assert_eq!(sha1().seal(fields, Framing::Datagram, &CLASSIC), Err(EncodeError::CompressionNotBuilt));
    let mut whole = Fields::new();
    whole.push("_compressed_payload", Value::Binary(Cow::Borrowed(b"")));
    whole.push_text("_compression_algorithm", "zlib");
    let sealed = sha1().seal(whole, Framing::Datagram, &NETSTRING).unwrap();
    assert_eq!(sha1().verify(&sealed), Err(VerifyError::Wire(WireError::CompressionNotBuilt)));
}

#[cfg(feature = "compression")]
mod compression {
    use super::*;
    use crate::wire::compress;

    fn traditional(algorithm: Algorithm, threshold: usize, msgfmt: MsgFormat) -> Sealing {
        Sealing { msgfmt, compression: Compression { algorithm, threshold, traditional: true } }
    }

    fn long() -> Fields<'static> {
        let mut fields = message();
        fields.push_text("text", "again and ".repeat(300));
        fields
    }

    #[test]
    fn a_message_above_the_threshold_travels_compressed_and_arrives_expanded() {
        for algorithm in [Algorithm::Zlib, Algorithm::Bz2] {
            for (msgfmt, format) in [(MsgFormat::Classic, Format::Classic), (MsgFormat::Netstring, Format::Netstring)] {
                let sealed = sha1().seal(long(), Framing::Datagram, &traditional(algorithm, 2048, msgfmt)).unwrap();
                let outside = wire::decode(&sealed).unwrap();
                let (named, payload) = compress::whole(outside.format, &outside.fields).unwrap().unwrap();
                assert_eq!(named, algorithm);
                let (inside, expansion) = compress::expand_message(named, payload).unwrap();
                assert_eq!(inside, format);
                assert_eq!(expansion.text("auth").is_some(), msgfmt == MsgFormat::Classic);
                let arrived = sha1().verify(&sealed).unwrap();
                assert_eq!((arrived.format(), arrived.fields()), (Format::Netstring, &expansion));
                let mut arrived = arrived.into_fields();
                arrived.remove_all("auth");
                assert_eq!(arrived, long());
            }
        }
    }

    #[test]
    fn the_threshold_is_the_longest_message_left_alone() {
        let mut fields = message();
        fields.remove_all("srcuuid");
        let plain = wire::encode(&fields, Format::Netstring).unwrap().len();
        let compressed = |threshold| {
            let how = traditional(Algorithm::Zlib, threshold, MsgFormat::Netstring);
            let sealed = sha1().seal(fields.clone(), Framing::Datagram, &how).unwrap();
            let decoded = wire::decode(&sealed).unwrap();
            compress::whole(decoded.format, &decoded.fields).is_some()
        };
        assert!(!compressed(plain));
        assert!(compressed(plain - 1));
    }

    #[test]
    fn a_wrong_outer_signature_stops_the_expansion() {
        let how = traditional(Algorithm::Zlib, 10, MsgFormat::Classic);
        let sealed = sha1().seal(long(), Framing::Datagram, &how).unwrap();
        let stranger = ring(1, &[(1, Method::Sha1, "other")]);
        assert_eq!(stranger.verify(&sealed), Err(VerifyError::Auth(AuthError::WrongDigest { key: 1 })));
    }

    #[test]
    fn a_marked_field_is_compressed_alone_and_on_serial_lines_always() {
        let mut fields = Fields::new();
        fields.push_text("t", "app");
        fields.push("sub", Value::Uncompressed(long()));
        fields.push_text("after", "1");
        for (framing, how) in [
            (Framing::Datagram, CLASSIC),
            (Framing::Serial, CLASSIC),
            (Framing::Serial, traditional(Algorithm::Zlib, 10, MsgFormat::Classic)),
        ] {
            let sealed = sha1().seal(fields.clone(), framing, &how).unwrap();
            let arrived = sha1().verify(&sealed).unwrap().into_fields();
            let names: Vec<_> = arrived.iter().map(|field| core::str::from_utf8(&field.name).unwrap()).collect();
            assert_eq!(names.get(..4), Some(&["t", "sub", "after", "_compression_algorithm"][..]));
            let Some(Value::Compressed(payload)) = arrived.get("sub") else { panic!("{arrived:?}") };
            let (_, expansion) = compress::expand_message(Algorithm::Zlib, payload).unwrap();
            assert_eq!(expansion, long());
        }
    }

    #[test]
    fn an_algorithm_the_message_names_already_is_kept() {
        let mut fields = Fields::new();
        fields.push("one", Value::Compressed(Cow::Owned(compress::compress(Algorithm::Bz2, b"###\n%%%\n").unwrap())));
        fields.push_text("_compression_algorithm", "bz2");
        fields.push("two", Value::Uncompressed(message()));
        let sealed = sha1().seal(fields, Framing::Datagram, &CLASSIC).unwrap();
        let arrived = sha1().verify(&sealed).unwrap().into_fields();
        let Some(Value::Compressed(payload)) = arrived.get("two") else { panic!("{arrived:?}") };
        assert_eq!(compress::algorithm_of(&arrived), Ok(Algorithm::Bz2));
        assert_eq!(compress::expand_message(Algorithm::Bz2, payload).map(|(_, fields)| fields), Ok(message()));
    }
}

proptest! {
    #[test]
    fn a_sealed_message_verifies_and_a_flipped_byte_does_not(
        fields in crate::wire::tests::fields(true),
        method in prop::sample::select(&[Method::Md5, Method::Sha1]),
        framing in prop::sample::select(&[Framing::Datagram, Framing::Echo, Framing::Serial]),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let ring = ring(3, &[(3, method, "a secret")]);
        let sealed = ring.seal(fields.clone(), framing, &CLASSIC).unwrap();
        let mut arrived = ring.verify(&sealed).unwrap().into_fields();
        arrived.remove_all("auth");
        let mut expected = fields;
        expected.remove_all("auth");
        prop_assert_eq!(arrived, expected);
        let mut damaged = sealed.to_vec();
        *at.get_mut(&mut damaged) ^= flip;
        prop_assert!(ring.verify(&damaged).is_err());
    }
}
