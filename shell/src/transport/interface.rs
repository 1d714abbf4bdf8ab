//! What a UDP medium must know about its network interface.

use std::net::Ipv4Addr;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::{InterfaceFlags, if_indextoname, if_nametoindex};

use super::udp::Problem;

/// A network interface at the time it was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    /// The kernel's number; a removed and re-created interface has a new one.
    pub(super) index: u32,
    /// The first IPv4 address.
    pub(super) address: Option<Ipv4Addr>,
    /// Where a broadcast on that address goes.
    pub(super) broadcast: Option<Ipv4Addr>,
}

/// The interface behind a name of ha.cf, where `eth0:0` names the address with that label on `eth0`.
pub(super) fn look_up(name: &str) -> Result<Interface, Problem> {
    let index = if_nametoindex(device(name)).map_err(|_| Problem::UnknownInterface)?;
    let addresses = getifaddrs().map_err(|errno| Problem::System(errno.into()))?;
    let found = addresses.into_iter().find_map(|entry| (entry.interface_name == name).then(|| ipv4(&entry)).flatten());
    Ok(match found {
        Some((address, broadcast)) => Interface { index, address: Some(address), broadcast },
        None => Interface { index, address: None, broadcast: None },
    })
}

/// The device under an address label.
pub(super) fn device(name: &str) -> &str {
    name.split_once(':').map_or(name, |(device, _)| device)
}

/// Whether the interface with number `index` is the device of the ha.cf name `name` now.
pub(super) fn is_device(index: u32, name: &str) -> bool {
    if_indextoname(index).is_ok_and(|found| found.as_bytes() == device(name).as_bytes())
}

fn ipv4(entry: &InterfaceAddress) -> Option<(Ipv4Addr, Option<Ipv4Addr>)> {
    let address = entry.address?.as_sockaddr_in()?.ip();
    if entry.flags.contains(InterfaceFlags::IFF_BROADCAST) {
        return Some((address, entry.broadcast.and_then(|broadcast| Some(broadcast.as_sockaddr_in()?.ip()))));
    }
    // The loopback interface has no broadcast address but takes the last one of its network for that.
    let loopback = entry.flags.contains(InterfaceFlags::IFF_LOOPBACK);
    let mask = entry.netmask.and_then(|mask| Some(mask.as_sockaddr_in()?.ip()))?;
    Some((address, loopback.then(|| address | !mask)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_an_address_to_broadcast_to() {
        let lo = look_up("lo").unwrap();
        assert_eq!(lo.address, Some(Ipv4Addr::LOCALHOST));
        assert_eq!(lo.broadcast, Some(Ipv4Addr::new(127, 255, 255, 255)));
        assert!(is_device(lo.index, "lo") && is_device(lo.index, "lo:1") && !is_device(lo.index, "lo1"));
    }

    #[test]
    fn an_interface_that_does_not_exist_is_named_as_such() {
        assert!(matches!(look_up("no-such-if0"), Err(Problem::UnknownInterface)));
    }
}
