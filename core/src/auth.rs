//! Keys of authkeys, and the signatures made and checked with them. Read WIRE 6 first.
//!
//! | packet | signature | algorithm | key |
//! |---|---|---|---|
//! | netstring | behind the message | of the index it names | of our own outbound index, or of the index it names |
//! | classic | field `auth`, the last one | of the index it names | of the index it names |
//!
//! *legacy*: of the first row a 3.0.6 knows the outbound index only, so its keys cannot be rolled over on UDP. *Ours*: the
//! second key is tried too. A sender signs with the entry it names, so whoever has both entries hears both sides of a
//! change of keys; and nothing is accepted for which no entry of authkeys is needed that was not needed before. A `crc`
//! entry, current or not, lets anybody sign, in the original too.
//!
//! Invariants:
//! - [`Authentic`] is made by [`Keyring::verify`] only: whoever holds one holds checked fields,
//! - a secret is never printed, and a digest is compared in constant time.

#[cfg(feature = "trace")]
mod resign;
mod seal;

pub use crate::wire::MsgFormat;
pub use seal::{Framing, Sealing};

use crate::digest::Derived;
use crate::wire::{self, Decoded, Fields, Format, Sink, WireError, compress};
use alloc::vec::Vec;
use core::fmt;
use core::hint::black_box;
use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::Md5;
use sha1::Sha1;

/// The highest index of an entry (WIRE 6.1).
pub const INDEX_MAX: u8 = 15;

/// How a digest is computed (WIRE 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub enum Method {
    /// CRC-32, no key: detects damage, authenticates nobody.
    Crc,
    /// HMAC-MD5.
    Md5,
    /// HMAC-SHA1.
    Sha1,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Method::Crc => "crc",
            Method::Md5 => "md5",
            Method::Sha1 => "sha1",
        })
    }
}

/// One entry of authkeys; its secret is never printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The digest's algorithm.
    pub method: Method,
    /// The key's bytes as they stand in the file; empty for [`Method::Crc`].
    pub secret: Vec<u8>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("method", &self.method).finish_non_exhaustive()
    }
}

/// Why entries do not make a keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// An index above [`INDEX_MAX`].
    #[error("key index {0} is above {INDEX_MAX}")]
    IndexTooHigh(u8),
    /// Two entries of one index.
    #[error("key {0} is defined twice")]
    Duplicate(u8),
    /// No entry has the outbound index.
    #[error("key {0} signs what is sent, but is not defined")]
    NoCurrent(u8),
    /// An md5 or sha1 entry without secret.
    #[error("key {0} needs a secret")]
    NoSecret(u8),
    /// A crc entry with a secret, which would not be used.
    #[error("key {0} is crc and has a secret, which crc does not use")]
    NeedlessSecret(u8),
}

/// The entries of authkeys without their secrets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub struct Entries {
    /// The index that signs.
    pub current: u8,
    /// Index and method of each entry, by index.
    pub methods: Vec<(u8, Method)>,
}

impl Entries {
    /// The entries of a keyring.
    pub fn of(keyring: &Keyring) -> Entries {
        Entries { current: keyring.current(), methods: keyring.methods().collect() }
    }
}

impl fmt::Display for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "auth {}", self.current)?;
        self.methods.iter().try_for_each(|(index, method)| write!(f, ", {index} {method}"))
    }
}

/// The entries of authkeys, ready to sign and to verify.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Keyring {
    current: u8,
    keys: Vec<(u8, Key)>,
    prepared: Derived<Vec<Prepared>>,
}

/// The signers of one index, in the order of `Keyring::keys`.
#[derive(Clone)]
struct Prepared {
    /// This entry's method with this entry's secret.
    own: Signer,
    /// This entry's method with the outbound entry's secret.
    crossed: Signer,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("current", &self.current).field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl Keyring {
    /// A keyring that signs with entry `current` and verifies with all `entries`.
    pub fn new(current: u8, entries: impl IntoIterator<Item = (u8, Key)>) -> Result<Keyring, KeyringError> {
        let mut keys: Vec<(u8, Key)> = Vec::new();
        for (index, key) in entries {
            match key.method {
                _ if index > INDEX_MAX => return Err(KeyringError::IndexTooHigh(index)),
                _ if keys.iter().any(|(known, _)| *known == index) => return Err(KeyringError::Duplicate(index)),
                Method::Crc if !key.secret.is_empty() => return Err(KeyringError::NeedlessSecret(index)),
                Method::Md5 | Method::Sha1 if key.secret.is_empty() => return Err(KeyringError::NoSecret(index)),
                _ => keys.push((index, key)),
            }
        }
        keys.sort_unstable_by_key(|(index, _)| *index);
        let outbound = keys.iter().find(|(index, _)| *index == current).ok_or(KeyringError::NoCurrent(current))?;
        let prepare = |key: &Key| Prepared {
            own: Signer::new(key.method, &key.secret),
            crossed: Signer::new(key.method, &outbound.1.secret),
        };
        let prepared = Derived(keys.iter().map(|(_, key)| prepare(key)).collect());
        Ok(Keyring { current, keys, prepared })
    }

    /// The index that signs what we send.
    pub fn current(&self) -> u8 {
        self.current
    }

    /// Whether both have the entry `index`, with the same method and secret.
    pub(crate) fn has_same_entry(&self, other: &Keyring, index: u8) -> bool {
        let entry = |keyring: &Keyring| keyring.keys.iter().position(|(known, _)| *known == index);
        match (entry(self), entry(other)) {
            (Some(ours), Some(theirs)) => self.keys.get(ours) == other.keys.get(theirs),
            _ => false,
        }
    }

    /// The indices and methods of all entries, by index.
    pub fn methods(&self) -> impl Iterator<Item = (u8, Method)> {
        self.keys.iter().map(|(index, key)| (*index, key.method))
    }

    /// Takes a packet apart and checks its signature; a message compressed as a whole is expanded.
    ///
    /// Never changes anything. Bytes after a netstring packet's signature and after a classic packet's end are ignored.
    pub fn verify<'a>(&self, bytes: &'a [u8]) -> Result<Authentic<'a>, VerifyError> {
        let decoded = wire::decode(bytes)?;
        let (key, rule) = self.judge(&decoded)?;
        let Decoded { format, fields, .. } = decoded;
        let expansion = match compress::whole(format, &fields) {
            Some(found) => {
                let (algorithm, payload) = found?;
                // The signature outside covers it: whatever signature the expansion carries is not looked at.
                Some(compress::expand_message(algorithm, payload)?.1)
            }
            None => None,
        };
        Ok(Authentic { fields: expansion.unwrap_or(fields), format, key, rule })
    }

    /// Checks the signature of a packet already taken apart and returns the index that signed it.
    pub fn authenticate(&self, packet: &Decoded<'_>) -> Result<u8, AuthError> {
        self.judge(packet).map(|(key, _)| key)
    }

    fn judge(&self, packet: &Decoded<'_>) -> Result<(u8, Rule), AuthError> {
        let Signature { key, digest } = Signature::of(packet)?;
        let prepared = self.prepared(key)?;
        let fits = |signer: &Signer| {
            let expected = match packet.format {
                Format::Netstring => signer.digest(|sink| sink.put(packet.message)),
                Format::Classic => signer.digest(|sink| wire::digest_lines(sink, &packet.fields)),
            };
            same_text(digest, expected.as_bytes())
        };
        if packet.format == Format::Netstring && fits(&prepared.crossed) {
            return Ok((key, Rule::Legacy));
        }
        match packet.format {
            Format::Classic if fits(&prepared.own) => Ok((key, Rule::Legacy)),
            // Of the outbound entry both signers are the same.
            Format::Netstring if key != self.current && fits(&prepared.own) => Ok((key, Rule::Ours)),
            Format::Classic | Format::Netstring => Err(AuthError::WrongDigest { key }),
        }
    }

    /// The same entries with `index` as the outbound one: what a node has whose `auth` line says so.
    pub fn with_current(&self, index: u8) -> Result<Keyring, KeyringError> {
        Keyring::new(index, self.keys.iter().cloned())
    }

    /// Those of the entries that `entries` names, signing as it says; `None` if one is missing or of another method.
    pub fn restricted_to(&self, entries: &Entries) -> Option<Keyring> {
        let of = |(index, method): &(u8, Method)| {
            self.keys.iter().find(|(known, key)| known == index && key.method == *method).cloned()
        };
        let keys: Option<Vec<(u8, Key)>> = entries.methods.iter().map(of).collect();
        Keyring::new(entries.current, keys?).ok()
    }

    /// `packet`, which we sent or accepted before the keys were changed, signed with the outbound entry; what cannot be
    /// taken apart stays as it is.
    ///
    /// What is said again after a change of keys must not name an entry that others have removed meanwhile.
    pub(crate) fn rekey(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let Decoded { format, mut fields, .. } = wire::decode(packet).ok()?;
        // The signature inside a message that is compressed as a whole is not looked at.
        if last_auth(&fields).is_some() {
            self.sign_inside(&mut fields);
        }
        let mut signed = wire::encode(&fields, format).ok()?;
        match format {
            Format::Netstring => self.sign_outside(&mut signed),
            Format::Classic if packet.ends_with(&[0]) => signed.push(0),
            Format::Classic => {}
        }
        Some(signed)
    }

    /// `N HEX` over what `feed` puts into the sink, made with the outbound entry.
    fn signature(&self, feed: impl FnOnce(&mut Digest)) -> Vec<u8> {
        let mut signature = Vec::with_capacity(44);
        wire::put_decimal(&mut signature, usize::from(self.current));
        signature.push(b' ');
        // The constructor made sure that the outbound entry exists.
        if let Ok(prepared) = self.prepared(self.current) {
            signature.extend_from_slice(prepared.own.digest(feed).as_bytes());
        }
        signature
    }

    fn prepared(&self, index: u8) -> Result<&Prepared, AuthError> {
        let position = self.keys.iter().position(|(known, _)| *known == index);
        position.and_then(|position| self.prepared.0.get(position)).ok_or(AuthError::NoSuchKey(index))
    }
}

/// The signature of a classic packet: the last `auth` that is text.
fn last_auth<'f>(fields: &'f Fields<'_>) -> Option<&'f [u8]> {
    fields.iter().rev().find_map(|field| match &field.value {
        wire::Value::Text(text) if *field.name == *b"auth" => Some(&**text),
        _ => None,
    })
}

/// What a packet claims to be signed with; nothing about it is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature<'p> {
    /// The index of the entry.
    pub key: u8,
    /// The digest as text.
    pub digest: &'p [u8],
}

impl<'p> Signature<'p> {
    /// The signature that a receiver looks at (WIRE 6.3).
    pub fn of(packet: &'p Decoded<'_>) -> Result<Signature<'p>, AuthError> {
        let signature = match packet.format {
            Format::Netstring if packet.rest.is_empty() => return Err(AuthError::Unsigned),
            Format::Netstring => wire::split_netstring(packet.rest).map_err(|_| AuthError::BadSignatureForm)?.0,
            Format::Classic => last_auth(&packet.fields).ok_or(AuthError::Unsigned)?,
        };
        let signature = core::str::from_utf8(signature).map_err(|_| AuthError::BadSignatureForm)?;
        let (key, digest) = signature.split_once(' ').ok_or(AuthError::BadSignatureForm)?;
        // Parsing a number would take a sign too.
        if key.starts_with('+') || digest.is_empty() {
            return Err(AuthError::BadSignatureForm);
        }
        let key = key.parse().map_err(|_| AuthError::BadSignatureForm)?;
        Ok(Signature { key, digest: digest.as_bytes() })
    }
}

/// Compares two digests in a time that does not tell how many leading digits of a forged one were right.
fn same_text(found: &[u8], expected: &[u8]) -> bool {
    let difference = found.iter().zip(expected).fold(0, |sum, (found, expected)| black_box(sum | (found ^ expected)));
    found.len() == expected.len() && difference == 0
}

/// By which rule a signature is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// A 3.0.6 with our authkeys accepts it too.
    Legacy,
    /// A 3.0.6 with our authkeys refuses it: signed with the entry it names, which is not the outbound one.
    Ours,
}

/// Fields whose signature was checked; the only thing a [`Message`](crate::wire::Message) is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentic<'a> {
    fields: Fields<'a>,
    format: Format,
    key: u8,
    rule: Rule,
}

impl<'a> Authentic<'a> {
    /// The fields; of a message compressed as a whole those of its expansion.
    pub fn fields(&self) -> &Fields<'a> {
        &self.fields
    }

    /// The fields, taken out.
    pub fn into_fields(self) -> Fields<'a> {
        self.fields
    }

    /// The format of the packet as it came.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The index of the key that signed the packet.
    pub fn key(&self) -> u8 {
        self.key
    }

    /// Whether a 3.0.6 with the same authkeys accepts the packet: over UDP it hears no other secret than that of its own
    /// outbound entry (WIRE 6.3).
    pub fn is_heard_by_the_original(&self) -> bool {
        self.rule == Rule::Legacy
    }
}

/// Why a signature is not accepted; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AuthError {
    /// The packet has no signature.
    #[error("not signed")]
    Unsigned,
    /// The signature is not `INDEX DIGEST`.
    #[error("the signature is not of the form INDEX DIGEST")]
    BadSignatureForm,
    /// The packet names an entry that we lack.
    #[error("signed with key {0}, which authkeys does not have")]
    NoSuchKey(u8),
    /// Another secret, another method, or a damaged packet.
    #[error("the digest made with key {key} is wrong")]
    WrongDigest {
        /// The index that the packet names.
        key: u8,
    },
}

/// Why a packet is not accepted: not a message, or not signed by one of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The bytes are not a message, or its expansion is not.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The signature is missing or wrong.
    #[error(transparent)]
    Auth(#[from] AuthError),
}

/// A method with its secret, the keyed part computed once.
#[derive(Clone)]
enum Signer {
    Crc,
    Md5(Hmac<Md5>),
    Sha1(Hmac<Sha1>),
}

const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_CKSUM);

impl Signer {
    fn new(method: Method, secret: &[u8]) -> Signer {
        // An HMAC takes a key of any length; the fallback is never reached and signs nothing that a peer accepts.
        match method {
            Method::Crc => Signer::Crc,
            Method::Md5 => Hmac::new_from_slice(secret).map_or(Signer::Crc, Signer::Md5),
            Method::Sha1 => Hmac::new_from_slice(secret).map_or(Signer::Crc, Signer::Sha1),
        }
    }

    /// The digest of what `feed` puts into the sink.
    fn digest(&self, feed: impl FnOnce(&mut Digest)) -> HexDigest {
        let mut digest = match self {
            Signer::Crc => Digest::Crc(CRC.digest()),
            Signer::Md5(keyed) => Digest::Md5(keyed.clone()),
            Signer::Sha1(keyed) => Digest::Sha1(keyed.clone()),
        };
        feed(&mut digest);
        match digest {
            Digest::Crc(digest) => HexDigest::of(&digest.finalize().to_be_bytes()).without_leading_zeros(),
            Digest::Md5(digest) => HexDigest::of(&digest.finalize().into_bytes()),
            Digest::Sha1(digest) => HexDigest::of(&digest.finalize().into_bytes()),
        }
    }
}

/// A digest being computed.
enum Digest {
    Crc(crc::Digest<'static, u32>),
    Md5(Hmac<Md5>),
    Sha1(Hmac<Sha1>),
}

impl Sink for Digest {
    fn put(&mut self, bytes: &[u8]) {
        match self {
            Digest::Crc(digest) => digest.update(bytes),
            Digest::Md5(digest) => digest.update(bytes),
            Digest::Sha1(digest) => digest.update(bytes),
        }
    }
}

/// A digest in lower-case hex, as it is compared and sent.
struct HexDigest {
    digits: [u8; 40],
    from: usize,
    to: usize,
}

impl HexDigest {
    fn of(digest: &[u8]) -> HexDigest {
        let mut hex = HexDigest { digits: [b'0'; 40], from: 0, to: digest.len().saturating_mul(2) };
        for (pair, byte) in hex.digits.chunks_exact_mut(2).zip(digest) {
            for (digit, nibble) in pair.iter_mut().zip([byte >> 4, byte & 0x0f]) {
                *digit =
                    char::from_digit(u32::from(nibble), 16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0);
            }
        }
        hex
    }

    /// The form of crc (WIRE 6.2); zero keeps its last digit.
    fn without_leading_zeros(mut self) -> HexDigest {
        let zeros = self.as_bytes().iter().take_while(|digit| **digit == b'0').count();
        self.from = zeros.min(self.to.saturating_sub(1));
        self
    }

    fn as_bytes(&self) -> &[u8] {
        self.digits.get(self.from..self.to).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
