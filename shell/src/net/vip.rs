//! A virtual IP address on this machine: where it belongs, whether it is there, putting it there, taking it away.
//! Read CLUSTER d.7 first.
//!
//! Addresses that the daemon adds carry the mark [`PROTOCOL`] in the kernel, so that one left over from an earlier life
//! can be told from one that the administrator configured:
//!
//! | on the interface | [`present`] | [`add`] | [`remove`] |
//! |---|---|---|---|
//! | not there | `Absent` | adds it | does nothing |
//! | with our mark | `Ours` | adopts it | removes it |
//! | without it | `Foreign` | fails with [`VipError::InUse`] | leaves it alone |
//!
//! Linux before 5.18 keeps no marks. There every address is taken for ours, as the original takes it: an address that
//! cannot be told apart must rather be adopted than served by nobody, and rather be removed than served by two.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use hb_core::arp::Mac;
use hb_core::config::{AddressClass, VirtualIp};
use nix::libc;
use thiserror::Error;

use super::netlink::{Address, Link, Netlink, bits};

/// The mark of our addresses (IFA_PROTO), an `H`; 1 to 3 are the kernel's, the rest is free to use.
pub const PROTOCOL: u8 = b'H';
/// The longest label that the kernel keeps, in bytes.
const LABEL_MAX: usize = 15;

/// A virtual IP address with everything filled in that its configuration leaves open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The address.
    pub address: IpAddr,
    /// The length of the network prefix.
    pub prefix: u8,
    /// The number of the interface.
    pub link: u32,
    /// The name of the interface.
    pub interface: String,
    /// The hardware address to announce; absent on interfaces without one, where nothing is announced.
    pub mac: Option<Mac>,
    /// The broadcast address; IPv4 with a prefix shorter than 31 only.
    pub broadcast: Option<Ipv4Addr>,
    /// The alias that `ifconfig` shows, such as `eth0:0`; IPv4 only.
    pub label: Option<String>,
}

/// Whether an address is on an interface of this machine, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// No interface has it.
    Absent,
    /// Its interface has it, and we put it there, now or in an earlier life.
    Ours,
    /// Somebody else put it on an interface.
    Foreign,
}

/// What [`add`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The address is new on the interface.
    New,
    /// It was already there, ours.
    Adopted,
}

/// Why an address cannot be served here; nothing was changed.
#[derive(Debug, Error)]
pub enum VipError {
    /// The routing table leads nowhere.
    #[error("no route to {0}: write the interface, for instance {0}/24/eth0")]
    NoRoute(IpAddr),
    /// Only the default route leads there, which says nothing about the network of the address.
    #[error(
        "only the default route leads to {address}: write mask and interface, for instance {address}/{bits}/{interface}"
    )]
    DefaultRoute {
        /// The address.
        address: IpAddr,
        /// The mask of a single address.
        bits: u8,
        /// The interface of the default route.
        interface: String,
    },
    /// The configured interface does not exist.
    #[error("there is no interface {interface} for {address}")]
    NoInterface {
        /// The address.
        address: IpAddr,
        /// The name as configured.
        interface: String,
    },
    /// Somebody else configured the address on this machine.
    #[error(
        "{address} is already on interface {interface}, and not by us: remove it there, heartbeat adds it where needed"
    )]
    InUse {
        /// The address.
        address: IpAddr,
        /// The interface that has it.
        interface: String,
    },
    /// The process may not change addresses.
    #[error("changing {0} needs root or the capability CAP_NET_ADMIN")]
    Forbidden(IpAddr),
    /// The kernel refused for another reason.
    #[error("{action} {address}: {error}")]
    Kernel {
        /// What was attempted, such as "adding".
        action: &'static str,
        /// The address.
        address: IpAddr,
        /// The kernel's answer.
        error: io::Error,
    },
}

/// Finds out where `vip` belongs on this machine; changes nothing.
///
/// An address that is already somewhere belongs there, unless the configuration names another interface.
pub fn resolve(netlink: &mut Netlink, vip: &VirtualIp) -> Result<Placed, VipError> {
    let kernel = |error| VipError::Kernel { action: "placing", address: vip.address, error };
    let addresses = netlink.addresses().map_err(kernel)?;
    let existing = addresses.iter().find(|entry| entry.ip == vip.address);

    let (link, routed_prefix) = match (&vip.interface, existing) {
        (Some(name), _) => (named_link(netlink, vip, name)?, None),
        (None, Some(entry)) => (netlink.link_by_index(entry.link).map_err(kernel)?, Some(entry.prefix)),
        (None, None) => {
            let route = netlink.route_to(vip.address).map_err(kernel)?.ok_or(VipError::NoRoute(vip.address))?;
            (netlink.link_by_index(route.link).map_err(kernel)?, Some(route.prefix))
        }
    };
    let prefix = match (vip.prefix, routed_prefix) {
        (Some(prefix), _) | (None, Some(prefix @ 1..)) => prefix,
        (None, Some(0)) => {
            return Err(VipError::DefaultRoute { address: vip.address, bits: bits(vip.address), interface: link.name });
        }
        // An interface without a mask: that of the interface's own network around the address.
        (None, None) => prefix_around(&addresses, &link, vip.address).ok_or(VipError::NoRoute(vip.address))?,
    };
    let label = match (existing, &vip.label, vip.class) {
        (Some(entry), _, _) if entry.link == link.index => alias_of(entry, &link),
        (_, Some(label), _) => Some(label.clone()),
        (_, None, AddressClass::IPaddr) => free_alias(&addresses, &link.name),
        (_, None, AddressClass::IPaddr2 | AddressClass::IPv6addr) => None,
    };
    Ok(Placed {
        address: vip.address,
        prefix,
        link: link.index,
        interface: link.name,
        mac: link.mac.filter(|_| !link.is_loopback),
        broadcast: vip.broadcast.or_else(|| last_of_network(vip.address, prefix)),
        label: label.filter(|_| vip.address.is_ipv4()),
    })
}

/// Whether `placed` is on this machine, on its interface or on another one.
pub fn present(netlink: &mut Netlink, placed: &Placed) -> Result<Presence, VipError> {
    let addresses = netlink.addresses().map_err(|error| placed.error("looking for", error))?;
    Ok(presence(&addresses, placed))
}

/// Puts the address on its interface; usable when this returns.
///
/// No search for a duplicate first: whether another node has the address is for the cluster to know.
pub fn add(netlink: &mut Netlink, placed: &Placed) -> Result<Added, VipError> {
    match netlink.add_address(&placed.as_address()) {
        Ok(()) => Ok(Added::New),
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => match present(netlink, placed)? {
            Presence::Ours => Ok(Added::Adopted),
            Presence::Absent => Err(placed.error("adding", error)),
            Presence::Foreign => Err(VipError::InUse { address: placed.address, interface: placed.interface.clone() }),
        },
        Err(error) => Err(placed.error("adding", error)),
    }
}

/// Takes the address from its interface; that it is not there, or is not ours, is no error.
///
/// With an address the kernel removes the later ones of the same network unless told otherwise (`promote_secondaries`);
/// those are put back.
pub fn remove(netlink: &mut Netlink, placed: &Placed) -> Result<(), VipError> {
    remove_address(netlink, placed.address)
}

/// As [`remove`], for whoever knows no more than the address.
pub fn remove_address(netlink: &mut Netlink, address: IpAddr) -> Result<(), VipError> {
    let failed = |error| refused(address, "removing", error);
    let before = netlink.addresses().map_err(failed)?;
    for entry in before.iter().filter(|entry| entry.ip == address && is_ours(entry)) {
        match netlink.remove_address(entry) {
            // Gone in between, by itself or with its interface.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => {}
            other => other.map_err(failed)?,
        }
        if !entry.is_secondary {
            restore_secondaries(netlink, entry, &before).map_err(failed)?;
        }
    }
    Ok(())
}

fn restore_secondaries(netlink: &mut Netlink, removed: &Address, before: &[Address]) -> io::Result<()> {
    let same_network = |entry: &&Address| {
        entry.is_secondary
            && (entry.link, entry.prefix) == (removed.link, removed.prefix)
            && is_in_network(entry.ip, removed.ip, removed.prefix)
    };
    if !before.iter().any(|entry| same_network(&entry)) {
        return Ok(());
    }
    let now = netlink.addresses()?;
    for lost in before.iter().filter(same_network).filter(|entry| now.iter().all(|it| it.ip != entry.ip)) {
        netlink.add_address(lost)?;
    }
    Ok(())
}

impl Placed {
    fn as_address(&self) -> Address {
        Address {
            link: self.link,
            ip: self.address,
            prefix: self.prefix,
            broadcast: self.broadcast,
            label: self.label.clone(),
            protocol: PROTOCOL,
            is_secondary: false,
        }
    }

    fn error(&self, action: &'static str, error: io::Error) -> VipError {
        refused(self.address, action, error)
    }
}

fn refused(address: IpAddr, action: &'static str, error: io::Error) -> VipError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => VipError::Forbidden(address),
        _ => VipError::Kernel { action, address, error },
    }
}

fn presence(addresses: &[Address], placed: &Placed) -> Presence {
    let mut found = addresses.iter().filter(|entry| entry.ip == placed.address).peekable();
    if found.peek().is_none() {
        return Presence::Absent;
    }
    if found.all(|entry| entry.link == placed.link && is_ours(entry)) { Presence::Ours } else { Presence::Foreign }
}

fn is_ours(entry: &Address) -> bool {
    entry.protocol == PROTOCOL || !kernel_keeps_marks()
}

/// Whether the kernel knows IFA_PROTO: Linux 5.18.
fn kernel_keeps_marks() -> bool {
    let Ok(system) = nix::sys::utsname::uname() else { return true };
    system.release().to_str().is_none_or(keeps_marks)
}

fn keeps_marks(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (5, 18)
}

fn named_link(netlink: &mut Netlink, vip: &VirtualIp, name: &str) -> Result<Link, VipError> {
    netlink.link(name).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => VipError::NoInterface { address: vip.address, interface: name.to_owned() },
        _ => VipError::Kernel { action: "placing", address: vip.address, error },
    })
}

fn prefix_around(addresses: &[Address], link: &Link, address: IpAddr) -> Option<u8> {
    let around = |entry: &&Address| entry.link == link.index && is_in_network(address, entry.ip, entry.prefix);
    addresses.iter().filter(around).map(|entry| entry.prefix).max()
}

fn is_in_network(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    fn top(value: u128, bits: u8, prefix: u8) -> u128 {
        value.checked_shr(u32::from(bits.saturating_sub(prefix))).unwrap_or(0)
    }
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => top(u32::from(a).into(), 32, prefix) == top(u32::from(b).into(), 32, prefix),
        (IpAddr::V6(a), IpAddr::V6(b)) => top(a.into(), 128, prefix) == top(b.into(), 128, prefix),
        _ => false,
    }
}

/// The broadcast address of a network; none for one or two addresses, and none in IPv6.
pub(super) fn last_of_network(address: IpAddr, prefix: u8) -> Option<Ipv4Addr> {
    let (IpAddr::V4(address), 1..=30) = (address, prefix) else { return None };
    Some(Ipv4Addr::from(u32::from(address) | (u32::MAX >> prefix)))
}

/// The label of an entry, unless it is the plain name that the kernel gives everything.
fn alias_of(entry: &Address, link: &Link) -> Option<String> {
    entry.label.clone().filter(|label| *label != link.name)
}

/// The first alias `eth0:N` that no address has; none if it would be too long for the kernel.
fn free_alias(addresses: &[Address], interface: &str) -> Option<String> {
    let is_free = |alias: &String| addresses.iter().all(|entry| entry.label.as_ref() != Some(alias));
    let alias = (0..=addresses.len()).map(|number| format!("{interface}:{number}")).find(is_free)?;
    (alias.len() <= LABEL_MAX).then_some(alias)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(address: &str, prefix: u8, label: &str, protocol: u8) -> Address {
        Address {
            link: 2,
            ip: address.parse().unwrap(),
            prefix,
            broadcast: None,
            label: Some(label.to_owned()),
            protocol,
            is_secondary: false,
        }
    }

    fn placed(address: &str) -> Placed {
        Placed {
            address: address.parse().unwrap(),
            prefix: 24,
            link: 2,
            interface: "eth0".to_owned(),
            mac: None,
            broadcast: None,
            label: None,
        }
    }

    #[test]
    fn an_alias_is_the_first_free_number_and_never_longer_than_the_kernel_keeps() {
        let some = [entry("10.0.0.1", 24, "eth0", 0), entry("10.0.0.7", 24, "eth0:0", 0)];
        assert_eq!(free_alias(&some, "eth0").as_deref(), Some("eth0:1"));
        assert_eq!(free_alias(&some, "eth1").as_deref(), Some("eth1:0"));
        assert_eq!(free_alias(&[], "interface-of-13").as_deref(), None);
        assert_eq!(free_alias(&[], "interface-13b").as_deref(), Some("interface-13b:0"));
    }

    #[test]
    fn the_broadcast_is_the_last_address_of_the_network() {
        let broadcast = |address: &str, prefix| last_of_network(address.parse().unwrap(), prefix);
        assert_eq!(broadcast("10.77.0.100", 24), Some(Ipv4Addr::new(10, 77, 0, 255)));
        assert_eq!(broadcast("10.77.0.100", 28), Some(Ipv4Addr::new(10, 77, 0, 111)));
        assert_eq!(broadcast("10.77.0.100", 31), None);
        assert_eq!(broadcast("10.77.0.100", 32), None);
        assert_eq!(broadcast("fd00::1", 64), None);
    }

    #[test]
    fn only_a_marked_address_on_its_own_interface_is_ours() {
        let vip = placed("10.0.0.7");
        assert_eq!(presence(&[entry("10.0.0.1", 24, "eth0", 0)], &vip), Presence::Absent);
        assert_eq!(presence(&[entry("10.0.0.7", 24, "eth0:0", PROTOCOL)], &vip), Presence::Ours);
        assert_eq!(presence(&[entry("10.0.0.7", 24, "eth0", 0)], &vip), Presence::Foreign);
        let elsewhere = Address { link: 3, ..entry("10.0.0.7", 24, "eth1:0", PROTOCOL) };
        assert_eq!(presence(&[elsewhere], &vip), Presence::Foreign);
    }

    #[test]
    fn marks_came_with_linux_5_18() {
        for (release, keeps) in
            [("5.17.15-arch1", false), ("4.19.0-27-amd64", false), ("5.18.0", true), ("6.1.0-rc1", true), ("10", true)]
        {
            assert_eq!(keeps_marks(release), keeps, "{release}");
        }
    }

    #[test]
    fn a_missing_right_is_named_and_everything_else_is_the_kernels_word() {
        let text = |code| placed("10.0.0.7").error("adding", io::Error::from_raw_os_error(code)).to_string();
        assert_eq!(text(libc::EPERM), "changing 10.0.0.7 needs root or the capability CAP_NET_ADMIN");
        assert_eq!(text(libc::ENODEV), "adding 10.0.0.7: No such device (os error 19)");
    }

    #[test]
    fn networks_are_compared_by_their_prefix() {
        let within = |a: &str, b: &str, prefix| is_in_network(a.parse().unwrap(), b.parse().unwrap(), prefix);
        assert!(within("10.77.0.100", "10.77.0.1", 24));
        assert!(!within("10.77.1.100", "10.77.0.1", 24));
        assert!(within("10.0.0.1", "192.168.0.1", 0));
        assert!(within("fd00::5", "fd00::1", 64));
        assert!(!within("fd00::5", "10.0.0.1", 0));
    }
}
