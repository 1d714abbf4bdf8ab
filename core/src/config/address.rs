//! The words of haresources that name an IP address. Read CLUSTER d.7 first.
//!
//! | word | means |
//! |---|---|
//! | `10.0.0.1`, `10.0.0.1/24/eth0` | `IPaddr` of the same |
//! | `IPaddr::ip[/mask[/nic][/broadcast]]` | mask: 24 or 255.255.255.0; a third field that begins with a digit is the broadcast |
//! | `IPaddr2::ip[/mask[/nic[:label]][/broadcast]]` | the same with a label |
//! | `IPv6addr::ip[/prefix[/nic]]` | the address has `::` inside, so that all behind the first `::` is one argument |

use alloc::string::{String, ToString};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::diagnostic::{Code, Report};
use super::haresources::{AddressClass, VirtualIp};
use super::media::is_interface;
use super::text::Word;

/// Why a word that should name an address does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    NotIpv4,
    NotIpv6,
    Ipv6InIpv4,
    Unusable,
    Mask,
    Prefix6,
    Interface,
    Label,
    Broadcast,
    TooMany,
    Missing,
}

impl Fault {
    fn text(self) -> (&'static str, &'static str) {
        const FORM: &str = "write `IPaddr::10.0.0.1/24/eth0`, or only the address";
        match self {
            Fault::NotIpv4 => ("is no IPv4 address", "write four numbers from 0 to 255 without leading zeros"),
            Fault::NotIpv6 => ("is no IPv6 address", "write for instance `IPv6addr::2001:db8::1/64/eth0`"),
            Fault::Ipv6InIpv4 => ("is an IPv6 address", "write `IPv6addr::` before it"),
            Fault::Unusable => ("is no address that a node can serve", "unspecified, broadcast and multicast are not"),
            Fault::Mask => {
                ("is no network mask", "write a prefix length from 1 to 32, or a mask such as 255.255.255.0")
            }
            Fault::Prefix6 => ("is no prefix length", "write a number from 1 to 128"),
            Fault::Interface => ("cannot be the name of an interface", "names have at most 15 characters and no `/`"),
            Fault::Label => {
                ("is too long for a label", "interface, colon and label have at most 15 characters together")
            }
            Fault::Broadcast => ("is no broadcast address", "write four numbers from 0 to 255"),
            Fault::TooMany => ("is more than an address takes", FORM),
            Fault::Missing => ("names no address", FORM),
        }
    }
}

/// What a word turned out to be.
pub(crate) enum Address {
    /// An address.
    Is(VirtualIp),
    /// Meant as an address, but wrong; reported.
    Broken,
    /// Something else.
    IsNot,
}

/// Reads a word as an address, if it looks like one.
pub(crate) fn read(word: Word<'_>, report: &mut Report) -> Address {
    let (class, body) = match word.text.split_once("::") {
        Some(("IPaddr", body)) => (AddressClass::IPaddr, body),
        Some(("IPaddr2", body)) => (AddressClass::IPaddr2, body),
        Some(("IPv6addr", body)) => (AddressClass::IPv6addr, body),
        _ => match word.text {
            "IPaddr" | "IPaddr2" | "IPv6addr" => (AddressClass::IPaddr, ""),
            text if resembles_ipv4(text) || resembles_ipv6(text) => (AddressClass::IPaddr, text),
            _ => return Address::IsNot,
        },
    };
    match parse(class, body) {
        Ok(parts) => Address::Is(VirtualIp {
            class,
            address: parts.address,
            prefix: parts.prefix,
            interface: parts.interface,
            label: parts.label,
            broadcast: parts.broadcast,
            word: word.text.to_string(),
            span: word.span,
        }),
        Err((fault, part)) => {
            let (message, help) = fault.text();
            let part = if part.is_empty() { word.text } else { part };
            report.advise(Code::AddressSyntax, word.span, format_args!("[{part}] {message}"), help);
            Address::Broken
        }
    }
}

/// Digits and dots as in an address: 3.0.6 takes such a word for one, right or wrong.
fn resembles_ipv4(word: &str) -> bool {
    let run = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
    let (run, rest) = word.split_at(run);
    let dots = run.matches('.').count();
    run.starts_with(|c: char| c.is_ascii_digit())
        && (dots >= 2 || (dots >= 1 && (rest.is_empty() || rest.starts_with('/'))))
}

/// An IPv6 address alone, which 3.0.6 does not know; `db::1` is one as well, but rather a script with an argument.
fn resembles_ipv6(word: &str) -> bool {
    let start = word.split("::").next().unwrap_or_default();
    let is_number = start.len() == 4 && start.contains(|c: char| c.is_ascii_digit());
    is_ipv6(word) && (is_number || start.contains(':'))
}

fn is_ipv6(word: &str) -> bool {
    word.split('/').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

struct Parts {
    address: IpAddr,
    prefix: Option<u8>,
    interface: Option<String>,
    label: Option<String>,
    broadcast: Option<Ipv4Addr>,
}

/// Reads what follows the class; on failure also the part at fault.
fn parse(class: AddressClass, body: &str) -> Result<Parts, (Fault, &str)> {
    let mut fields = body.split('/');
    let text = fields.next().filter(|text| !text.is_empty()).ok_or((Fault::Missing, body))?;
    let mask = fields.next();
    if class == AddressClass::IPv6addr {
        let address: Ipv6Addr = text.parse().map_err(|_| (Fault::NotIpv6, text))?;
        if address.is_unspecified() || address.is_multicast() {
            return Err((Fault::Unusable, text));
        }
        let length = |text: &str| text.parse::<u8>().ok().filter(|length| (1..=128).contains(length));
        let prefix = mask.map(|text| length(text).ok_or((Fault::Prefix6, text))).transpose()?;
        let interface = fields.next().map(interface).transpose()?;
        return match fields.next() {
            Some(more) => Err((Fault::TooMany, more)),
            None => Ok(Parts { address: address.into(), prefix, interface, label: None, broadcast: None }),
        };
    }
    if is_ipv6(text) {
        return Err((Fault::Ipv6InIpv4, text));
    }
    let address: Ipv4Addr = text.parse().map_err(|_| (Fault::NotIpv4, text))?;
    if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
        return Err((Fault::Unusable, text));
    }
    let prefix = mask.map(|text| prefix_length(text).ok_or((Fault::Mask, text))).transpose()?;
    let mut parts = Parts { address: address.into(), prefix, interface: None, label: None, broadcast: None };
    let mut next = fields.next();
    if let Some(nic) = next.filter(|text| !text.starts_with(|c: char| c.is_ascii_digit())) {
        // A label is the whole name of the alias, and the kernel keeps 15 characters of it.
        let base = nic.split_once(':').map_or(nic, |(base, _)| base);
        parts.interface = Some(interface(base)?);
        if base != nic {
            parts.label = Some(nic.to_string()).filter(|label| label.len() <= 15 && !label.ends_with(':'));
            parts.label.as_ref().ok_or((Fault::Label, nic))?;
        }
        next = fields.next();
    }
    if let Some(text) = next {
        parts.broadcast = Some(text.parse().map_err(|_| (Fault::Broadcast, text))?);
    }
    match fields.next() {
        Some(more) => Err((Fault::TooMany, more)),
        None => Ok(parts),
    }
}

fn interface(text: &str) -> Result<String, (Fault, &str)> {
    if is_interface(text) { Ok(text.to_string()) } else { Err((Fault::Interface, text)) }
}

/// A prefix length, or a mask whose bits are in one run.
fn prefix_length(text: &str) -> Option<u8> {
    let length = match text.parse::<Ipv4Addr>() {
        Ok(mask) => {
            let bits = u32::from(mask);
            let ones = bits.leading_ones();
            // A mask with holes has more ones than lead.
            if bits.count_ones() != ones {
                return None;
            }
            u8::try_from(ones).ok()?
        }
        Err(_) => text.parse().ok()?,
    };
    (1..=32).contains(&length).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::diagnostic::Span;

    fn address(text: &str) -> Option<(AddressClass, String)> {
        let mut report = Report::new("haresources");
        match read(Word { text, span: Span::FILE }, &mut report) {
            Address::Is(ip) => {
                let mask = ip.prefix.map_or(String::new(), |prefix| alloc::format!("/{prefix}"));
                let tail = [ip.interface, ip.label, ip.broadcast.map(|address| address.to_string())];
                let tail: alloc::vec::Vec<_> = tail.into_iter().flatten().collect();
                Some((ip.class, alloc::format!("{}{mask} {}", ip.address, tail.join(" "))))
            }
            _ => None,
        }
    }

    #[test]
    fn every_form_of_an_address_is_read() {
        use AddressClass::{IPaddr, IPaddr2, IPv6addr};
        for (word, class, parts) in [
            ("10.0.0.1", IPaddr, "10.0.0.1 "),
            ("10.0.0.1/24", IPaddr, "10.0.0.1/24 "),
            ("10.0.0.1/255.255.255.0/eth0", IPaddr, "10.0.0.1/24 eth0"),
            ("IPaddr::10.0.0.1/28/10.0.0.15", IPaddr, "10.0.0.1/28 10.0.0.15"),
            ("IPaddr::10.0.0.1/28/eth0/10.0.0.15", IPaddr, "10.0.0.1/28 eth0 10.0.0.15"),
            ("IPaddr2::10.77.0.111/32/eth1", IPaddr2, "10.77.0.111/32 eth1"),
            ("IPaddr2::10.0.0.1/24/eth0:web", IPaddr2, "10.0.0.1/24 eth0 eth0:web"),
            ("IPv6addr::2001:db8::1", IPv6addr, "2001:db8::1 "),
            ("IPv6addr::2001:db8::1/64/eth0", IPv6addr, "2001:db8::1/64 eth0"),
        ] {
            assert_eq!(address(word), Some((class, parts.into())), "{word}");
        }
    }

    #[test]
    fn what_resembles_an_address_must_be_one() {
        for word in [
            "10.0.0",
            "10.0",
            "10.0.0.256",
            "10.0.0.1.5",
            "010.0.0.1",
            "10.0.0.1:0",
            "10.0.0.1/33",
            "10.0.0.1/0",
            "10.0.0.1/255.0.255.0",
            "10.0.0.1/24/",
            "10.0.0.1/24/eth0/",
            "10.0.0.1/24/eth0/10.0.0.255/x",
            "10.0.0.1/24/an-interface-name-too-long",
            "10.0.0.1/24/eth0:averylonglabel",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "IPaddr",
            "IPaddr::",
            "IPaddr::h1",
            "IPaddr::10.0.0.1::24",
            "IPaddr::fe80::1",
            "fe80::1",
            "2001:db8::1/64",
            "IPv6addr::10.0.0.1",
            "IPv6addr::::",
            "IPv6addr::ff02::1",
            "IPv6addr::2001:db8::1/129",
            "IPv6addr::2001:db8::1/64/eth0/x",
        ] {
            let mut report = Report::new("haresources");
            assert!(matches!(read(Word { text: word, span: Span::FILE }, &mut report), Address::Broken), "{word}");
            assert_eq!(report.finish().len(), 1, "{word}");
        }
    }

    #[test]
    fn names_of_scripts_are_no_addresses() {
        for word in [
            "Tst::A",
            "Aa::0",
            "db::1",
            "3ware",
            "7.5script",
            "apache2",
            "drbddisk::r0",
            "Filesystem::/dev/sda1::/mnt::ext4",
            ".",
        ] {
            let mut report = Report::new("haresources");
            assert!(matches!(read(Word { text: word, span: Span::FILE }, &mut report), Address::IsNot), "{word}");
        }
    }
}
