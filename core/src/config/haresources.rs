//! Resource groups, as haresources writes them. Read CLUSTER d.1, d.7 and k.13 first.
//!
//! One group a logical line: home, then resources. *Ours*: what makes 3.0.6 quietly lose a group is an error here: a comment
//! on a continuation line, a key or an address used twice, a key inside another group.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr};

use super::address::{self, Address};
use super::diagnostic::{Code, Report, Span};
use super::text::{Word, is_blank, lines, nearest};
use super::{NodeConfig, ScriptCall, SourceText, scripts};
use crate::digest::digest_of;
use crate::ids::NodeId;

/// Groups of one file: far beyond any real one, and a number fits into [`GroupId`](crate::ids::GroupId).
const GROUPS_MAX: usize = 1000;

/// Nodes that may share groups: each asks all others before it starts one.
pub(super) const OWNERS_MAX: usize = 16;

/// Resources that live together on one node: one logical line of haresources.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// The node that serves the group when it can: the first word.
    pub home: NodeId,
    /// The group's name: its first resource as written.
    pub key: String,
    /// The resources, started from first to last and stopped from last to first; never empty.
    pub resources: Vec<Resource>,
    /// A digest of home and resources, equal on all nodes that define the group alike.
    pub definition: u64,
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

/// An address that moves with its group (CLUSTER d.7).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
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
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
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

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressClass::IPaddr => "IPaddr",
            AddressClass::IPaddr2 => "IPaddr2",
            AddressClass::IPv6addr => "IPv6addr",
        })
    }
}

/// Reads haresources; homes are looked up in `nodes` unless there are none, which is an error of another file.
pub(crate) fn read(source: SourceText<'_>, nodes: &[NodeConfig], report: &mut Report) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut known = Known::default();
    for words in logical_lines(source, report) {
        let Some((first, rest)) = words.split_first() else { continue };
        if report.is_full() {
            break;
        }
        if groups.len() == GROUPS_MAX {
            report.add(Code::TooManyGroups, first.span, format_args!("more than {GROUPS_MAX} groups"));
            break;
        }
        let home = home(*first, nodes, source.name, report);
        let resources: Vec<Resource> = rest.iter().filter_map(|word| resource(*word, report)).collect();
        let Some(key) = rest.first() else {
            let message = format_args!("the line names no resources for {}", first.text);
            report.advise(Code::GroupEmpty, first.span, message, "add resources, or remove the line");
            continue;
        };
        known.add_group(rest, &resources, report);
        // A home that is unknown is an error, so that any number does.
        let home = home.unwrap_or(NodeId(0));
        let words: Vec<&str> = rest.iter().map(|word| word.text).collect();
        let definition = digest_of(&(first.text.to_ascii_lowercase(), words));
        groups.push(Group { home, key: key.text.to_string(), resources, definition, span: first.span });
    }
    known.check_keys(report);
    if let Some(first) = groups.first().filter(|_| nodes.len() > OWNERS_MAX) {
        let count = nodes.len();
        let message = format_args!("{count} nodes are configured, but groups are shared by at most {OWNERS_MAX}");
        let help = "configure fewer nodes, or leave haresources empty: membership works with more";
        report.advise(Code::TooManyOwners, first.span, message, help);
    }
    groups
}

/// The words of every logical line: comments removed, continued lines joined.
fn logical_lines<'a>(source: SourceText<'a>, report: &mut Report) -> Vec<Vec<Word<'a>>> {
    let mut logical: Vec<Vec<Word<'a>>> = Vec::new();
    let mut joined = false;
    for line in lines(source, report).unwrap_or_default() {
        let (code, comment) = line.split_comment(report);
        if let Some(comment) = comment {
            if joined {
                let message = "a comment on a continuation line: 3.0.6 reads its words as resources";
                let help = "move the comment above the group";
                report.advise(Code::CommentInContinuation, comment.whole(), message, help);
            } else if comment.continued().is_some() {
                let message = "this backslash stands in a comment, so that the next line is not joined";
                report.advise(Code::ContinuationLost, comment.whole(), message, "move the comment above the group");
            }
        }
        let continued = if comment.is_none() { code.continued() } else { None };
        let mut words = continued.unwrap_or(code).words(is_blank, report);
        words.retain(|word| {
            let stray = word.text.ends_with('\\');
            if stray {
                let message = "a backslash joins lines only at the very end of a line";
                report.advise(Code::StrayBackslash, word.span, message, "remove what follows it, or the backslash");
            }
            !stray
        });
        match logical.last_mut().filter(|_| joined) {
            Some(line) => line.append(&mut words),
            None => logical.push(words),
        }
        joined = continued.is_some();
    }
    logical
}

fn home(word: Word<'_>, nodes: &[NodeConfig], file: &str, report: &mut Report) -> Option<NodeId> {
    let lower = word.text.to_ascii_lowercase();
    let found = nodes.iter().position(|node| node.name == lower).and_then(|at| u16::try_from(at).ok()).map(NodeId);
    if found.is_none() && !nodes.is_empty() {
        let message = format_args!("Bad nodename in {file} [{lower}]");
        let names = || nodes.iter().map(|node| node.name.as_str());
        if let Some(near) = nearest(&lower, names()) {
            report.advise(Code::GroupHome, word.span, message, format_args!("did you mean `{near}`?"));
        } else {
            let all: Vec<&str> = names().take(8).collect();
            let help = format_args!("a line begins with the node that serves the group: {}", all.join(", "));
            report.advise(Code::GroupHome, word.span, message, help);
        }
    }
    found
}

fn resource(word: Word<'_>, report: &mut Report) -> Option<Resource> {
    match address::read(word, report) {
        Address::Is(address) => return Some(Resource::Address(address)),
        Address::Broken => return None,
        Address::IsNot => {}
    }
    scripts::read(word, report).map(Resource::Script)
}

/// Words and addresses of the groups read so far: where each stood first.
#[derive(Default)]
struct Known<'a> {
    keys: BTreeMap<&'a str, Span>,
    /// Every word that is no key, in the order of the file.
    others: Vec<Word<'a>>,
    addresses: BTreeMap<IpAddr, Span>,
    /// Keys that are addresses: their repetition is a repeated address.
    address_keys: BTreeSet<&'a str>,
}

impl<'a> Known<'a> {
    fn add_group(&mut self, words: &[Word<'a>], resources: &[Resource], report: &mut Report) {
        let Some((key, others)) = words.split_first() else { return };
        self.others.extend_from_slice(others);
        let mut is_repeated = false;
        if let Some(first) = self.keys.get(key.text) {
            is_repeated = true;
            let message = format_args!("the group [{}] stands already in line {}", key.text, first.line);
            let help = "the first resource is the group's name: join the lines, or begin one with another resource";
            report.advise(Code::DuplicateKey, key.span, message, help);
        } else {
            self.keys.insert(key.text, key.span);
        }
        for resource in resources {
            let Resource::Address(ip) = resource else { continue };
            if let Some(first) = self.addresses.get(&ip.address) {
                // A repeated key that is an address is one mistake, not two.
                if !(is_repeated && ip.span == key.span) {
                    let message = format_args!("{} is configured already in line {}", ip.address, first.line);
                    let help = "an address belongs to one group and stands there once";
                    report.advise(Code::DuplicateAddress, ip.span, message, help);
                }
            } else {
                self.addresses.insert(ip.address, ip.span);
                if ip.span == key.span {
                    self.address_keys.insert(key.text);
                }
            }
        }
    }

    /// Keys that occur again inside a group; known only when all groups are.
    fn check_keys(&self, report: &mut Report) {
        for word in &self.others {
            let Some(key) = self.keys.get(word.text) else { continue };
            // The same address twice has been said.
            if self.address_keys.contains(word.text) {
                continue;
            }
            let message = format_args!("[{}] is the name of the group in line {}", word.text, key.line);
            let help = "3.0.6 would join both lines; begin that group with another resource";
            report.advise(Code::KeyInOtherGroup, word.span, message, help);
        }
    }
}

#[cfg(test)]
mod tests;
