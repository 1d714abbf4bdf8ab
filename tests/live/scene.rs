//! The usual scene of a live test: a client and two nodes on one network, and words to describe it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hb_core::config::{AddressClass, Span, VirtualIp};
use hb_shell::net::namespace::{Cable, Lab, Machine};
use hb_shell::net::netlink::{Address, Netlink};
use libtest_mimic::Completion;

/// What a test says: done, or ignored with a reason.
pub(crate) type Outcome = anyhow::Result<Completion>;

/// Far longer than anything here takes; only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Three machines on the network 10.77.0.0/24 and fd77::/64, interface eth0 each.
pub(crate) struct Scene {
    pub(crate) client: Machine,
    pub(crate) h1: Machine,
    pub(crate) h2: Machine,
    pub(crate) cable_of_h1: Cable,
    pub(crate) lab: Lab,
}

impl Scene {
    /// The client is number 9, the nodes are 1 and 2.
    pub(crate) fn new() -> anyhow::Result<Scene> {
        let mut lab = Lab::new()?;
        let network = lab.network()?;
        let mut machine = |name, number| -> anyhow::Result<(Machine, Cable)> {
            let machine = Machine::new(name, &[])?;
            let addresses = [format!("10.77.0.{number}/24").parse()?, format!("fd77::{number}/64").parse()?];
            let cable = lab.plug(&machine, "eth0", network, &addresses)?;
            Ok((machine, cable))
        };
        let ((client, _), (h1, cable_of_h1), (h2, _)) = (machine("client", 9)?, machine("h1", 1)?, machine("h2", 2)?);
        Ok(Scene { client, h1, h2, cable_of_h1, lab })
    }
}

/// An address as `IPaddr::` or, for IPv6, `IPv6addr::` alone would configure it.
pub(crate) fn vip(address: &str) -> VirtualIp {
    let address: IpAddr = address.parse().expect("tests write addresses");
    VirtualIp {
        class: if address.is_ipv4() { AddressClass::IPaddr } else { AddressClass::IPv6addr },
        address,
        prefix: None,
        interface: None,
        label: None,
        broadcast: None,
        word: address.to_string(),
        span: Span::FILE,
    }
}

/// The address as the kernel has it.
pub(crate) fn entry(netlink: &mut Netlink, address: &str) -> anyhow::Result<Option<Address>> {
    let ip: IpAddr = address.parse()?;
    Ok(netlink.addresses()?.into_iter().find(|entry| entry.ip == ip))
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let start = Instant::now();
    while !condition().with_context(|| what.to_owned())? {
        ensure!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
