//! Resource groups, as haresources writes them. Read CLUSTER d.1, d.7 and k.13 first.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr};

use super::diagnostic::Span;
use crate::ids::NodeId;

/// Resources that live together on one node: one logical line of haresources.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// The node that serves the group when it can: the first word.
    pub home: NodeId,
    /// The group's name: its first resource as written.
    pub key: String,
    /// The resources, started from first to last and stopped from last to first; never empty.
    pub resources: Vec<Resource>,
    /// The first word of the line.
    pub span: Span,
}

/// One resource of a group; prints as the word in haresources.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// An address that the daemon itself puts on an interface.
    Address(VirtualIp),
    /// A script.
    Script(ScriptCall),
}

/// A resource script and its arguments: `name::argument::argument`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScriptCall {
    /// The script, looked for in resource.d and then in init.d; never a path.
    pub name: String,
    /// The arguments before the action; never empty words.
    pub args: Vec<String>,
    /// The word as written.
    pub word: String,
    /// Where it stands.
    pub span: Span,
}

/// An address that moves with its group (CLUSTER d.7).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualIp {
    /// The script whose part the daemon plays.
    pub class: AddressClass,
    /// The address.
    pub address: IpAddr,
    /// The length of the network prefix; if absent, that of the route to the address.
    pub prefix: Option<u8>,
    /// The interface; if absent, that of the most specific route to the address.
    pub interface: Option<String>,
    /// The whole label the kernel keeps with the address, such as `eth0:web`.
    pub label: Option<String>,
    /// The broadcast address; if absent, the last address of the network.
    pub broadcast: Option<Ipv4Addr>,
    /// The word as written.
    pub word: String,
    /// Where it stands.
    pub span: Span,
}

/// The scripts of 3.0.6 that the daemon replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// `IPaddr`, and an address alone.
    IPaddr,
    /// `IPaddr2`.
    IPaddr2,
    /// `IPv6addr`.
    IPv6addr,
}

impl Resource {
    /// The word as written.
    pub fn word(&self) -> &str {
        match self {
            Resource::Address(address) => &address.word,
            Resource::Script(script) => &script.word,
        }
    }

    /// Where it stands in haresources.
    pub fn span(&self) -> Span {
        match self {
            Resource::Address(address) => address.span,
            Resource::Script(script) => script.span,
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for VirtualIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word)
    }
}

impl fmt::Display for ScriptCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word)
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressClass::IPaddr => "IPaddr",
            AddressClass::IPaddr2 => "IPaddr2",
            AddressClass::IPv6addr => "IPv6addr",
        })
    }
}
