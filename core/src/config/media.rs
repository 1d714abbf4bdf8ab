//! Media lines of ha.cf. Read WIRE 13 first.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::diagnostic::{Code, Report, Span};
use super::text::Word;
use super::{Medium, MediumKind};

/// Media of one node (WIRE 14).
const MEDIA_MAX: usize = 64;

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

    /// `ucast IF PEER`.
    pub(crate) fn ucast(&mut self, words: &[Word<'_>], end: Span, port: u16, report: &mut Report) {
        let usage = "write `ucast INTERFACE PEER`, one pair on a line";
        match words {
            [name, peer] => {
                if let Some(interface) = interface(*name, report) {
                    let kind = MediumKind::Ucast { interface: interface.clone(), peer: peer.text.to_string() };
                    self.add(Medium { name: interface, kind, port, span: name.span.to(peer.span) }, report);
                }
            }
            [_, _, more, ..] => {
                report.advise(Code::TooManyArguments, more.span, "ucast takes one pair on a line", usage);
            }
            _ => report.advise(Code::ArgumentMissing, end, "ucast needs an interface and a peer", usage),
        }
    }

    /// `mcast IF GROUP PORT TTL LOOP`. Takes any ttl of IP, as CLUSTER i.2 has it; WIRE 13 has 4 as the highest.
    pub(crate) fn mcast(&mut self, words: &[Word<'_>], end: Span, report: &mut Report) {
        let usage = "write `mcast INTERFACE GROUP PORT TTL LOOP`, such as `mcast eth0 239.0.0.1 694 1 0`";
        match words {
            [name, group, port, ttl, last] => {
                let parsed = (
                    interface(*name, report),
                    multicast_group(*group, report),
                    number(*port, 1, u16::MAX, "port", report),
                    number(*ttl, 0, 255, "ttl", report).and_then(|ttl| u8::try_from(ttl).ok()),
                    number(*last, 0, 1, "loop", report),
                );
                if let (Some(interface), Some(group), Some(port), Some(ttl), Some(loopback)) = parsed {
                    let name_of = interface.clone();
                    let kind = MediumKind::Mcast { interface, group, port, ttl, loopback: loopback == 1 };
                    self.add(Medium { name: name_of, kind, port, span: name.span.to(last.span) }, report);
                }
            }
            [_, _, _, _, _, more, ..] => {
                report.advise(Code::TooManyArguments, more.span, "mcast takes five arguments", usage);
            }
            _ => report.advise(Code::ArgumentMissing, end, "mcast needs five arguments", usage),
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

    /// A medium that this version does not serve.
    pub(crate) fn unserved(&mut self, span: Span, report: &mut Report) {
        self.count(span, report);
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

fn multicast_group(word: Word<'_>, report: &mut Report) -> Option<Ipv4Addr> {
    let group = word.text.parse::<Ipv4Addr>().ok().filter(Ipv4Addr::is_multicast);
    if group.is_none() {
        let message = format_args!("Illegal multicast group [{}]", word.text);
        report.advise(Code::MulticastGroup, word.span, message, "write one from 224.0.0.0 to 239.255.255.255");
    }
    group
}

fn number(word: Word<'_>, low: u16, high: u16, what: &str, report: &mut Report) -> Option<u16> {
    let number = word.text.parse::<u16>().ok().filter(|number| (low..=high).contains(number));
    if number.is_none() {
        let message = format_args!("[{}] is no {what} of a multicast medium", word.text);
        report.advise(Code::IllegalValue, word.span, message, format_args!("write a number from {low} to {high}"));
    }
    number
}
