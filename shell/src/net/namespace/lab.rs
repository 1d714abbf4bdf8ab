//! The laboratory around the machines: networks and the cables that plug machines into them.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};

use super::machine::Machine;
use crate::net::netlink::{Address, Netlink, bits};

/// How often, a millisecond apart, a new port is asked whether it passes packets; normally once or twice.
const PORT_ROUNDS: usize = 5000;

/// A laboratory; its end is the end of its networks, which leaves the machines without carrier.
#[derive(Debug)]
pub struct Lab {
    /// A channel into the namespace of the switches, which an open socket keeps alive.
    netlink: Netlink,
    made: u32,
}

/// A network that machines are plugged into: a switch without delay and without loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    bridge: u32,
}

/// One machine's cable into a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cable {
    port: u32,
    bridge: u32,
}

/// An address with the length of its network prefix; reads as `10.77.0.1/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// The length of the prefix, at most the number of bits of the address.
    pub prefix: u8,
}

/// A text that is no address with a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address with a prefix such as 10.77.0.1/24")]
pub struct NotAnInterfaceAddress(String);

impl Lab {
    /// Makes a laboratory without machines; the process must have called [`enter`](super::enter).
    pub fn new() -> io::Result<Lab> {
        let make_hub = || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Netlink::open()
        };
        // In a thread of its own, since the calling one shall stay where it is.
        let hub = std::thread::Builder::new().name("hub".to_owned()).spawn(make_hub)?;
        let netlink = hub.join().map_err(|_| io::Error::other("the thread of the hub panicked"))??;
        Ok(Lab { netlink, made: 0 })
    }

    /// Makes a network without machines.
    pub fn network(&mut self) -> io::Result<Network> {
        let name = self.name("net");
        self.netlink.create_bridge(&name)?;
        let bridge = self.netlink.link(&name)?.index;
        self.netlink.without_link_local(bridge)?;
        self.netlink.set_up(bridge, true)?;
        Ok(Network { bridge })
    }

    /// Gives `machine` an interface with these addresses, plugged into `network` and up.
    pub fn plug(
        &mut self,
        machine: &Machine,
        interface: &str,
        network: Network,
        addresses: &[InterfaceAddress],
    ) -> io::Result<Cable> {
        let port_name = self.name("port");
        self.netlink.create_veth(&port_name, interface, machine.network_namespace())?;
        let cable = Cable { port: self.netlink.link(&port_name)?.index, bridge: network.bridge };
        self.netlink.without_link_local(cable.port)?;
        self.netlink.set_bridge(cable.port, Some(cable.bridge))?;
        self.netlink.set_up(cable.port, true)?;

        let mut inside = machine.netlink()?;
        let link = inside.link(interface)?.index;
        inside.without_link_local(link)?;
        inside.set_up(link, true)?;
        for InterfaceAddress { address, prefix } in addresses.iter().copied() {
            inside.add_address(&Address {
                link,
                ip: address,
                prefix,
                broadcast: crate::net::vip::last_of_network(address, prefix),
                label: None,
                protocol: 0,
                is_secondary: false,
            })?;
        }
        self.wait_for_port(cable)?;
        Ok(cable)
    }

    /// Takes a cable away with the machine's interface.
    pub fn unplug(&mut self, cable: Cable) -> io::Result<()> {
        self.netlink.remove_link(cable.port)
    }

    /// Waits until packets pass: the kernel tells the switch of a new carrier later, from a thread of its own.
    fn wait_for_port(&mut self, cable: Cable) -> io::Result<()> {
        for _ in 0..PORT_ROUNDS {
            if self.netlink.is_forwarding(cable.port)? {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "a port of the switch does not pass packets"))
    }

    /// Pulls a cable, or puts it back, so that machine and switch notice: the carrier goes.
    ///
    /// Packets pass a moment after the signal is back, as with real switches.
    pub fn set_signal(&mut self, cable: Cable, signal: bool) -> io::Result<()> {
        self.netlink.set_up(cable.port, signal)
    }

    /// Cuts a cable, or heals it, without a sign: the interface keeps its carrier, and no packet comes through.
    pub fn set_joined(&mut self, cable: Cable, joined: bool) -> io::Result<()> {
        self.netlink.set_bridge(cable.port, joined.then_some(cable.bridge))
    }

    fn name(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}{}", self.made)
    }
}

impl FromStr for InterfaceAddress {
    type Err = NotAnInterfaceAddress;

    fn from_str(text: &str) -> Result<InterfaceAddress, NotAnInterfaceAddress> {
        let read = || {
            let (address, prefix) = text.split_once('/')?;
            let (address, prefix): (IpAddr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
            (prefix <= bits(address)).then_some(InterfaceAddress { address, prefix })
        };
        read().ok_or_else(|| NotAnInterfaceAddress(text.to_owned()))
    }
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_address_prints_as_it_reads() {
        for text in ["10.77.0.1/24", "fd77::1/64", "0.0.0.0/0"] {
            assert_eq!(text.parse::<InterfaceAddress>().unwrap().to_string(), text);
        }
        for text in ["10.77.0.1", "10.77.0.1/33", "fd77::1/129", "h1/24", "/"] {
            assert!(text.parse::<InterfaceAddress>().is_err(), "{text}");
        }
    }
}
