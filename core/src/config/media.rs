//! Media lines of ha.cf. Read WIRE 13 first.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::diagnostic::{Code, Report, Span};
use super::text::Word;
use super::{Medium, MediumKind};

/// Media of one node (WIRE 14).
const MEDIA_MAX: usize = 64;

/// Which of the two a directive is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IpVersion {
    V4,
    V6,
}

/// The three directives of ping nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pings {
    V4,
    V6,
    Group,
}

/// The media read so far, served or not.
#[derive(Debug, Default)]
pub(crate) struct Media {
    served: Vec<Medium>,
    /// All media lines count against the limit, as in 3.0.6.
    total: usize,
}

impl Media {
    pub(crate) fn into_served(self) -> Vec<Medium> {
        self.served
    }

    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// `bcast IF...`: one medium for each interface.
    pub(crate) fn bcast(&mut self, words: &[Word<'_>], port: u16, report: &mut Report) {
        for word in words {
            if let Some(interface) = interface(*word, report) {
                let kind = MediumKind::Bcast { interface: interface.clone() };
                self.add(Medium { name: interface, kind, port, span: word.span }, report);
            }
        }
    }

    /// `ucast IF PEER` and `ucast6 IF PEER`.
    pub(crate) fn ucast(&mut self, version: IpVersion, words: &[Word<'_>], end: Span, port: u16, report: &mut Report) {
        let (name, usage) = match version {
            IpVersion::V4 => ("ucast", "write `ucast INTERFACE PEER`, one pair on a line"),
            IpVersion::V6 => ("ucast6", "write `ucast6 INTERFACE PEER`, one pair on a line"),
        };
        match words {
            [interface_word, peer] => {
                let Some(interface) = interface(*interface_word, report) else { return };
                let (name, peer_name) = (interface.clone(), peer.text.to_string());
                let kind = match version {
                    IpVersion::V4 => MediumKind::Ucast { interface, peer: peer_name },
                    IpVersion::V6 => match unscoped(&interface, *peer, report) {
                        Some(peer) => MediumKind::Ucast6 { interface, peer },
                        None => return,
                    },
                };
                self.add(Medium { name, kind, port, span: interface_word.span.to(peer.span) }, report);
            }
            [_, _, more, ..] => {
                report.advise(
                    Code::TooManyArguments,
                    more.span,
                    format_args!("{name} takes one pair on a line"),
                    usage,
                );
            }
            _ => {
                report.advise(Code::ArgumentMissing, end, format_args!("{name} needs an interface and a peer"), usage);
            }
        }
    }

    /// `mcast IF GROUP PORT TTL LOOP` and `mcast6` with an IPv6 group. Takes any ttl of IP, as CLUSTER i.2 has it; WIRE 13
    /// has 4 as the highest.
    pub(crate) fn mcast(&mut self, version: IpVersion, words: &[Word<'_>], end: Span, report: &mut Report) {
        let (directive, usage) = match version {
            IpVersion::V4 => {
                ("mcast", "write `mcast INTERFACE GROUP PORT TTL LOOP`, such as `mcast eth0 239.0.0.1 694 1 0`")
            }
            IpVersion::V6 => {
                ("mcast6", "write `mcast6 INTERFACE GROUP PORT TTL LOOP`, such as `mcast6 eth0 ff02::7 694 1 0`")
            }
        };
        match words {
            [name, group, port, ttl, last] => {
                let parsed = (
                    interface(*name, report),
                    multicast_group(version, *group, report),
                    number(*port, 1, u16::MAX, "port", report),
                    number(*ttl, 0, 255, "ttl", report).and_then(|ttl| u8::try_from(ttl).ok()),
                    number(*last, 0, 1, "loop", report),
                );
                if let (Some(interface), Some(group), Some(port), Some(ttl), Some(loopback)) = parsed {
                    let (name_of, loopback) = (interface.clone(), loopback == 1);
                    let kind = match group {
                        IpAddr::V4(group) => MediumKind::Mcast { interface, group, port, ttl, loopback },
                        IpAddr::V6(group) => MediumKind::Mcast6 { interface, group, port, ttl, loopback },
                    };
                    self.add(Medium { name: name_of, kind, port, span: name.span.to(last.span) }, report);
                }
            }
            [_, _, _, _, _, more, ..] => {
                report.advise(
                    Code::TooManyArguments,
                    more.span,
                    format_args!("{directive} takes five arguments"),
                    usage,
                );
            }
            _ => {
                report.advise(Code::ArgumentMissing, end, format_args!("{directive} needs five arguments"), usage);
            }
        }
    }

    /// `serial DEV...`: one medium for each device.
    pub(crate) fn serial(&mut self, words: &[Word<'_>], baud: u32, report: &mut Report) {
        for word in words {
            if let Some(device) = device(*word, report) {
                let kind = MediumKind::Serial { device: device.clone(), baud };
                self.add(Medium { name: device, kind, port: 0, span: word.span }, report);
            }
        }
    }

    /// `ping HOST...`, `ping6 HOST...`: one ping node each; `ping_group NAME HOST...`: one ping node.
    pub(crate) fn ping(&mut self, pings: Pings, name: Word<'_>, hosts: &[Word<'_>], report: &mut Report) {
        let kind = match (pings, hosts) {
            (Pings::V4, _) => MediumKind::Ping { host: name.text.to_string() },
            (Pings::V6, _) => MediumKind::Ping6 { host: name.text.to_string() },
            (Pings::Group, []) => return,
            (Pings::Group, hosts) => {
                MediumKind::PingGroup { hosts: hosts.iter().map(|host| host.text.to_string()).collect() }
            }
        };
        let medium = Medium { name: name.text.to_ascii_lowercase(), kind, port: 0, span: name.span };
        if self.served.iter().any(|other| other.kind.is_ping() && other.name == medium.name) {
            let message =
                format_args!("ping node {} is configured already; the second mention is dropped", medium.name);
            report.advise(Code::DuplicateMedium, medium.span, message, "remove it");
        } else {
            self.add(medium, report);
        }
    }

    /// Whether any medium reaches members.
    pub(crate) fn reaches_nobody(&self) -> bool {
        self.served.iter().all(|medium| medium.kind.is_ping())
    }

    /// The names of the ping nodes and where they are configured.
    pub(crate) fn pings(&self) -> impl Iterator<Item = (&str, Span)> {
        let pings = self.served.iter().filter(|medium| medium.kind.is_ping());
        pings.map(|medium| (medium.name.as_str(), medium.span))
    }

    fn add(&mut self, medium: Medium, report: &mut Report) {
        // A device is one line, whatever its speed.
        let is_same = |other: &Medium| match (&other.kind, &medium.kind) {
            (MediumKind::Serial { device, .. }, MediumKind::Serial { device: again, .. }) => device == again,
            (kind, again) => kind == again && other.port == medium.port,
        };
        if self.served.iter().any(is_same) {
            let message = format_args!("this medium is configured already; the second mention is dropped");
            report.advise(Code::DuplicateMedium, medium.span, message, "remove it");
        } else if self.count(medium.span, report) {
            self.served.push(medium);
        }
    }

    fn count(&mut self, span: Span, report: &mut Report) -> bool {
        self.total = self.total.saturating_add(1);
        // Said once, where it happens.
        if self.total == MEDIA_MAX.saturating_add(1) {
            report.add(Code::TooManyMedia, span, format_args!("more than {MEDIA_MAX} media"));
        }
        self.total <= MEDIA_MAX
    }
}

/// A name that a Linux interface can have: 1 to 15 bytes, printable, no `/`.
pub(crate) fn is_interface(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
}

fn interface(word: Word<'_>, report: &mut Report) -> Option<String> {
    if is_interface(word.text) {
        return Some(word.text.to_string());
    }
    let message = format_args!("[{}] cannot be the name of an interface", word.text);
    report.advise(Code::InterfaceName, word.span, message, "names have at most 15 characters and no `/`");
    None
}

/// A device is a path from the root: the daemon does not run in the directory it was started in.
fn device(word: Word<'_>, report: &mut Report) -> Option<String> {
    if word.text.starts_with('/') && !word.text.ends_with('/') && !word.text.chars().any(char::is_control) {
        return Some(word.text.to_string());
    }
    let message = format_args!("[{}] cannot be the device of a serial line", word.text);
    report.advise(Code::SerialDevice, word.span, message, "write its full path, such as `serial /dev/ttyS0`");
    None
}

fn multicast_group(version: IpVersion, word: Word<'_>, report: &mut Report) -> Option<IpAddr> {
    let (group, range) = match version {
        IpVersion::V4 => {
            (word.text.parse::<Ipv4Addr>().ok().map(IpAddr::V4), "write one from 224.0.0.0 to 239.255.255.255")
        }
        IpVersion::V6 => (
            word.text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            "write one that begins with ff, such as ff02::7 for this network or ff05::7 for this site",
        ),
    };
    let group = group.filter(IpAddr::is_multicast);
    if group.is_none() {
        let message = format_args!("Illegal multicast group [{}]", word.text);
        report.advise(Code::MulticastGroup, word.span, message, range);
    }
    group
}

/// The peer of a `ucast6` line without its scope: a link-local address belongs to the interface of the line.
fn unscoped(interface: &str, peer: Word<'_>, report: &mut Report) -> Option<String> {
    let (address, scope) = peer.text.split_once('%').map_or((peer.text, None), |(peer, scope)| (peer, Some(scope)));
    let device = interface.split(':').next().unwrap_or(interface);
    if scope.is_some_and(|scope| scope != device) {
        let message = format_args!("the peer [{}] is not on interface {interface}", peer.text);
        report.advise(Code::IllegalValue, peer.span, message, format_args!("write `{address}`: its scope is {device}"));
        return None;
    }
    Some(address.to_string())
}

fn number(word: Word<'_>, low: u16, high: u16, what: &str, report: &mut Report) -> Option<u16> {
    let number = word.text.parse::<u16>().ok().filter(|number| (low..=high).contains(number));
    if number.is_none() {
        let message = format_args!("[{}] is no {what} of a multicast medium", word.text);
        report.advise(Code::IllegalValue, word.span, message, format_args!("write a number from {low} to {high}"));
    }
    number
}
