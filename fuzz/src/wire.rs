//! The target of the wire: bytes as they come from the network.

use hb_core::auth::{Framing, Key, Keyring, Method, MsgFormat, Sealing};
use hb_core::wire::message::Message;
use hb_core::wire::{self, Compression, Fields};
use std::sync::OnceLock;

/// Keys that sign part of the corpus.
fn keyring() -> &'static Keyring {
    static KEYRING: OnceLock<Keyring> = OnceLock::new();
    KEYRING.get_or_init(|| {
        let key = |method, secret: &str| Key { method, secret: secret.as_bytes().to_vec() };
        let keys = [(1, key(Method::Sha1, "SecretKey-One")), (2, key(Method::Md5, "Pa55-w0rd_two"))];
        Keyring::new(1, keys).expect("two good keys")
    })
}

/// Any bytes as a packet: what they mean survives being written again.
///
/// # Panics
/// If a law of decoding, sealing or [`Message`] is broken.
pub fn wire_decode(data: &[u8]) {
    if let Ok(authentic) = keyring().verify(data) {
        message_survives(Message::parse(authentic).ok());
    }
    let Ok(decoded) = wire::decode(data) else { return };
    assert_eq!(decoded.message.len() + decoded.rest.len(), data.len());
    if let Ok(again) = wire::encode(&decoded.fields, decoded.format) {
        assert_eq!(wire::decode(&again).map(|again| again.fields).as_ref(), Ok(&decoded.fields));
    }
    // No fuzzer finds a signature: sign what it found, so that it reaches what lies behind one.
    for (framing, msgfmt) in [(Framing::Datagram, MsgFormat::Netstring), (Framing::Serial, MsgFormat::Classic)] {
        sealed_survives(decoded.fields.clone(), framing, msgfmt);
    }
}

fn sealed_survives(fields: Fields<'_>, framing: Framing, msgfmt: MsgFormat) {
    let sealing = Sealing { msgfmt, compression: Compression::default() };
    let Ok(sealed) = keyring().seal(fields, framing, &sealing) else { return };
    wire::decode(&sealed).expect("what we write is a packet");
    match keyring().verify(&sealed) {
        Ok(authentic) => message_survives(Message::parse(authentic).ok()),
        // A payload that claims to be compressed may hold anything; the signature around it is ours.
        Err(error) => assert!(matches!(error, hb_core::auth::VerifyError::Wire(_)), "{error}"),
    }
}

fn message_survives(message: Option<Message<'_>>) {
    let Some(message) = message else { return };
    let fields = message.to_fields();
    let sealing = Sealing { msgfmt: MsgFormat::Netstring, compression: Compression::default() };
    // What arrives within a compressed whole may be too long for any packet of our own.
    let Ok(sealed) = keyring().seal(fields.clone(), Framing::Datagram, &sealing) else { return };
    let authentic = keyring().verify(&sealed).expect("our own signature");
    let again = Message::parse(authentic).expect("a message stays one");
    assert_eq!(again.header, message.header);
    assert_eq!(again.body.kind(), message.body.kind());
    // Fields marked for compression are compressed by sealing; all others stay.
    if !fields.is_structured() {
        assert_eq!(again.to_fields(), fields);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    /// Every seed, cut short everywhere, and with one bit of each byte changed: 60 packets bear no more in a normal test.
    #[test]
    fn wire_decode_survives_its_corpus() {
        let corpus = format!("{}/corpus/wire_decode", env!("CARGO_MANIFEST_DIR"));
        let mut seeds = 0;
        for seed in fs::read_dir(corpus).unwrap() {
            let mut seed = fs::read(seed.unwrap().path()).unwrap();
            super::wire_decode(&seed);
            for at in 0..seed.len() {
                super::wire_decode(&seed[..at]);
                let bit = 1 << (at % 8);
                seed[at] ^= bit;
                super::wire_decode(&seed);
                seed[at] ^= bit;
            }
            seeds += 1;
        }
        assert!(seeds >= 2, "a corpus has good and bad examples");
    }
}
