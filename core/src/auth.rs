//! Keys of authkeys, and the signatures made and checked with them. Read WIRE 6 first.

use alloc::vec::Vec;
use core::fmt;

/// How a digest is computed (WIRE 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// CRC-32, no key: detects damage, authenticates nobody.
    Crc,
    /// HMAC-MD5.
    Md5,
    /// HMAC-SHA1.
    Sha1,
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

/// The entries of authkeys, and which of them signs (WIRE 6.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Keyring {
    current: u8,
    entries: [Option<Key>; 16],
}

impl Keyring {
    /// A keyring whose entry `current` signs; of two entries with one number the later counts, numbers over 15 are left out.
    pub fn new(current: u8, entries: impl IntoIterator<Item = (u8, Key)>) -> Keyring {
        let mut keyring = Keyring { current, entries: [const { None }; 16] };
        for (number, key) in entries {
            if let Some(slot) = keyring.entries.get_mut(usize::from(number)) {
                *slot = Some(key);
            }
        }
        keyring
    }
}
