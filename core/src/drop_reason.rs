//! Why a frame was dropped: one enum at the edge, whatever layer refused.

use crate::auth::{AuthError, VerifyError};
use crate::ids::Generation;
use crate::wire::WireError;
use alloc::string::String;

/// Why a frame had no effect. State is unchanged but for a counter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DropReason {
    /// It is not a message at all.
    #[error("bad packet: {0}")]
    Wire(#[from] WireError),
    /// It is not signed by anybody who has our key.
    #[error("failed authentication: {0}")]
    Auth(#[from] AuthError),
    /// Its sender is not configured here.
    #[error("process_status_message: bad node [{0}] in message")]
    UnknownNode(String),
    /// It is of an earlier life of its sender.
    #[error("attempted replay attack: message of generation {got} from {node}, now in generation {now}")]
    Replay {
        /// The sender.
        node: String,
        /// The message's generation.
        got: Generation,
        /// The newest we know.
        now: Generation,
    },
    /// Another process uses our name.
    #[error("somebody else uses our node name (generation {0})")]
    OwnName(Generation),
    /// It asks for more retransmissions than any loss explains.
    #[error("{0} asks for too many messages again")]
    TooManyRequests(String),
    /// The medium is not configured.
    #[error("a frame on an unknown medium")]
    NoSuchMedium,
}

impl From<VerifyError> for DropReason {
    fn from(error: VerifyError) -> DropReason {
        match error {
            VerifyError::Wire(error) => DropReason::Wire(error),
            VerifyError::Auth(error) => DropReason::Auth(error),
        }
    }
}

/// The kinds of [`DropReason`], for counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub enum DropKind {
    /// Not a message.
    Wire,
    /// Not authentic.
    Auth,
    /// Unknown sender.
    UnknownNode,
    /// Earlier life.
    Replay,
    /// Our own name.
    OwnName,
    /// Too many requests.
    TooManyRequests,
    /// Unknown medium.
    NoSuchMedium,
}

impl DropReason {
    /// The kind, by which drops are counted.
    pub fn kind(&self) -> DropKind {
        match self {
            DropReason::Wire(_) => DropKind::Wire,
            DropReason::Auth(_) => DropKind::Auth,
            DropReason::UnknownNode(_) => DropKind::UnknownNode,
            DropReason::Replay { .. } => DropKind::Replay,
            DropReason::OwnName(_) => DropKind::OwnName,
            DropReason::TooManyRequests(_) => DropKind::TooManyRequests,
            DropReason::NoSuchMedium => DropKind::NoSuchMedium,
        }
    }
}

impl DropKind {
    /// The kind's name in status output.
    pub const fn word(self) -> &'static str {
        match self {
            DropKind::Wire => "wire",
            DropKind::Auth => "auth",
            DropKind::UnknownNode => "unknown-node",
            DropKind::Replay => "replay",
            DropKind::OwnName => "own-name",
            DropKind::TooManyRequests => "too-many-requests",
            DropKind::NoSuchMedium => "no-such-medium",
        }
    }
}
