//! Why a UDP medium cannot be opened.

use std::io;

use nix::errno::Errno;

/// The version of IP that a medium uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpVersion {
    /// `bcast`, `mcast`, `ucast`.
    V4,
    /// `mcast6`, `ucast6`.
    V6,
}

impl std::fmt::Display for IpVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            IpVersion::V4 => "IPv4",
            IpVersion::V6 => "IPv6",
        })
    }
}

/// What is wrong with a medium; [`OpenError`] says with which.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The system knows no interface of that name.
    #[error("no such network interface")]
    UnknownInterface,
    /// A broadcast or multicast medium needs an address on its interface.
    #[error("the interface has no IPv4 address")]
    NoAddress,
    /// Point-to-point interfaces know no broadcast.
    #[error("the interface has no broadcast address; use ucast")]
    NoBroadcast,
    /// The name of a peer leads to no address of that version.
    #[error("{0} has no {1} address")]
    UnknownPeer(String, IpVersion),
    /// Another program, perhaps another heartbeat, has the port.
    #[error("UDP port {0} is in use by another program")]
    PortBusy(u16),
    /// The process lacks a privilege.
    #[error("not permitted to {doing}: needs root or {capability}")]
    NotPermitted {
        /// What was tried.
        doing: &'static str,
        /// The capability that allows it.
        capability: &'static str,
    },
    /// Anything else the system said.
    #[error("{0}")]
    System(io::Error),
}

/// A medium that cannot be opened; nothing of it or of the others stays open.
#[derive(Debug, thiserror::Error)]
#[error("{directive} {interface}: {problem}")]
pub struct OpenError {
    /// The directive of ha.cf.
    pub directive: &'static str,
    /// The name of the interface in ha.cf.
    pub interface: String,
    /// What is wrong.
    pub problem: Problem,
}

impl From<Errno> for Problem {
    fn from(errno: Errno) -> Problem {
        Problem::System(errno.into())
    }
}
