//! A newtype for every identifier and counter, so that none can be taken for another.
//!
//! Those that count from an arbitrary origin hash as marks, see `mark.rs`.

use core::fmt;
use core::str::FromStr;

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
        pub struct $name(pub u16);

        impl $name {
            /// The position in the table this identifier indexes.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

index! {
    /// A configured node, by its position on the `node` lines of ha.cf.
    NodeId
}
index! {
    /// A configured medium (`bcast eth0`, `ucast eth1 10.0.0.2` ...), by its position in ha.cf.
    MediumId
}
index! {
    /// A resource group, by its position in haresources.
    GroupId
}
index! {
    /// A program that runs beside the daemon, by its position in ha.cf.
    ProgramId
}

/// An action whose result comes back as [`Input::OpDone`](crate::Input::OpDone); never used twice in the life of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub struct OpId(pub u64);

/// A connected client, named by the shell; never used twice in the life of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub struct ClientId(pub u64);

/// A message number of one sender: 1 for the first message of its process (WIRE 7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub struct Seq(pub u64);

impl Seq {
    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }

    /// How far this number lies above `lower`; zero if it does not.
    pub fn since(self, lower: Seq) -> u64 {
        self.0.saturating_sub(lower.0)
    }
}

/// The life of a node's process: higher after every start (WIRE 8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of a node across renames: 16 bytes (WIRE 8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub struct NodeUuid(pub [u8; 16]);

impl NodeUuid {
    /// The value that stands for "not learned yet" in `destuuid`.
    pub const ZERO: NodeUuid = NodeUuid([0; 16]);

    /// Makes a version 4 (random) uuid out of 16 random bytes (RFC 9562, 5.4).
    pub fn from_random(mut bytes: [u8; 16]) -> NodeUuid {
        let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
        *version = (*version & 0x0f) | 0x40;
        *variant = (*variant & 0x3f) | 0x80;
        NodeUuid(bytes)
    }
}

impl fmt::Display for NodeUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, byte) in self.0.iter().enumerate() {
            if matches!(position, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// The text is not a uuid in 8-4-4-4-12 form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a uuid of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")]
pub struct NotAUuid;

impl FromStr for NodeUuid {
    type Err = NotAUuid;

    fn from_str(text: &str) -> Result<NodeUuid, NotAUuid> {
        if text.len() != 36 || !text.bytes().enumerate().all(|(at, c)| (c == b'-') == matches!(at, 8 | 13 | 18 | 23)) {
            return Err(NotAUuid);
        }
        let mut digits = text.chars().filter(|c| *c != '-').map(|c| c.to_digit(16));
        let mut bytes = [0; 16];
        for byte in &mut bytes {
            let (Some(Some(high)), Some(Some(low))) = (digits.next(), digits.next()) else { return Err(NotAUuid) };
            *byte = u8::try_from(high << 4 | low).map_err(|_| NotAUuid)?;
        }
        Ok(NodeUuid(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_uuid_survives_text() {
        let uuid = NodeUuid::from_random([0x5a; 16]);
        assert_eq!(uuid.to_string().parse(), Ok(uuid));
        assert_eq!("5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a".parse::<NodeUuid>(), Err(NotAUuid));
        assert_eq!("zz5a5a5a-5a5a-4a5a-9a5a-5a5a5a5a5a5a".parse::<NodeUuid>(), Err(NotAUuid));
    }
}
