//! What happens on a machine, with the kernel's eyes: heartbeats that arrive and addresses that appear.
//!
//! Independent of the daemons, so that ours and the original are measured by the same clock and the same rule.

use anyhow::Result;
use hb_shell::net::namespace::Machine;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};
use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The netlink group that tells of IPv4 addresses (RTMGRP_IPV4_IFADDR, rtnetlink(7)).
const IPV4_ADDRESSES: u32 = 0x10;
/// The message that tells of a new address (RTM_NEWADDR).
const NEW_ADDRESS: u16 = 20;

/// One observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Seen {
    /// A heartbeat of the watched node, with the dead time it announces.
    Heartbeat(Duration),
    /// A watched address came up.
    Address(Ipv4Addr),
}

/// An observer at work in a thread of its own.
#[derive(Debug)]
pub struct Observer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<(Instant, Seen)>>>,
}

impl Observer {
    /// Watches, from `machine`, the heartbeats of the node named `node` and the appearance of each of `addresses`.
    pub fn start(machine: &Machine, node: &str, addresses: &[Ipv4Addr]) -> Result<Observer> {
        let (packets, changes) = machine.run(open)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, source) = (Arc::clone(&stop), format!("src={node},").into_bytes());
        let addresses = addresses.to_vec();
        let thread = std::thread::Builder::new()
            .name("observer".to_owned())
            .spawn(move || watch(&packets, &changes, &source, &addresses, &stopped))?;
        Ok(Observer { stop, thread: Some(thread) })
    }

    /// Everything seen, in order.
    ///
    /// # Panics
    /// When the observer's thread panicked.
    pub fn stop(mut self) -> Vec<(Instant, Seen)> {
        self.stop.store(true, Ordering::Release);
        self.thread.take().map(|thread| thread.join().expect("the observer does not panic")).unwrap_or_default()
    }
}

/// From the expiry of the dead time, counted from the last heartbeat before any address came up, until so many different
/// ones had; where the first came before the expiry, an error text.
pub fn takeover_delay(seen: &[(Instant, Seen)], addresses: usize) -> Result<Duration, String> {
    let is_address = |what: &Seen| matches!(what, Seen::Address(_));
    let first = seen.iter().position(|(_, what)| is_address(what)).ok_or("no address ever came up")?;
    let mut known = HashSet::new();
    let last =
        seen[first..].iter().find(|(_, what)| is_address(what) && known.insert(*what) && known.len() == addresses);
    let (up, _) = last.ok_or_else(|| format!("only {} of {addresses} addresses came up", known.len()))?;
    let expiry = seen[..first].iter().rev().find_map(|(heard, what)| match what {
        Seen::Heartbeat(dead_time) => Some(*heard + *dead_time),
        Seen::Address(_) => None,
    });
    let expiry = expiry.ok_or("no heartbeat was heard")?;
    let early = || format!("an address came {:?} before the expiry", expiry - seen[first].0);
    seen[first].0.checked_duration_since(expiry).ok_or_else(early)?;
    Ok(up.duration_since(expiry))
}

fn open() -> nix::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    // Unbound: all interfaces, from the moment of its making.
    let packets = socket(AddressFamily::Packet, SockType::Datagram, flags, SockProtocol::EthAll)?;
    let addresses = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(addresses.as_raw_fd(), &NetlinkAddr::new(0, IPV4_ADDRESSES))?;
    Ok((packets, addresses))
}

fn watch(
    packets: &OwnedFd,
    changes: &OwnedFd,
    source: &[u8],
    addresses: &[Ipv4Addr],
    stop: &AtomicBool,
) -> Vec<(Instant, Seen)> {
    let mut seen = Vec::new();
    let mut buffer = vec![0; 65_536];
    while !stop.load(Ordering::Acquire) {
        let mut sources = [packets, changes].map(|source| PollFd::new(source.as_fd(), PollFlags::POLLIN));
        // A timeout or an interrupted wait only looks at `stop` earlier.
        let _: nix::Result<i32> = poll(&mut sources, PollTimeout::from(20_u8));
        let now = Instant::now();
        while let Ok(length) = recv(changes.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            let new = addresses.iter().filter(|address| announces(&buffer[..length], **address));
            seen.extend(new.map(|address| (now, Seen::Address(*address))));
        }
        while let Ok(length) = recv(packets.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            if let Some(dead_time) = heartbeat(&buffer[..length], source) {
                seen.push((now, Seen::Heartbeat(dead_time)));
            }
        }
    }
    seen
}

/// The dead time in a heartbeat of the watched node.
fn heartbeat(packet: &[u8], source: &[u8]) -> Option<Duration> {
    let find = |what: &[u8]| packet.windows(what.len()).position(|part| part == what);
    find(b"(0)t=status,")?;
    find(source)?;
    let value = &packet[find(b"(0)dt=")? + b"(0)dt=".len()..];
    let digits = value.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let millis = u64::from_str_radix(std::str::from_utf8(&value[..digits]).ok()?, 16).ok()?;
    Some(Duration::from_millis(millis))
}

/// Whether one of the netlink messages tells that the address is new.
fn announces(mut messages: &[u8], address: Ipv4Addr) -> bool {
    while let [a, b, c, d, kind, kind_high, ..] = *messages {
        let length = u32::from_ne_bytes([a, b, c, d]) as usize;
        let Some(message) = messages.get(..length).filter(|_| length >= 16) else { return false };
        let is_new = u16::from_ne_bytes([kind, kind_high]) == NEW_ADDRESS;
        if is_new && message.windows(4).any(|part| part == address.octets()) {
            return true;
        }
        messages = messages.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_counts_from_the_last_heartbeat_before_the_address() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let beat = |millis| (at(millis), Seen::Heartbeat(Duration::from_millis(100)));
        let address = |millis, last| (at(millis), Seen::Address(Ipv4Addr::new(10, 0, 0, last)));
        let seen = [beat(0), beat(50), address(153, 1), address(154, 1), address(157, 2), beat(400)];
        assert_eq!(takeover_delay(&seen, 1), Ok(Duration::from_millis(3)));
        assert_eq!(takeover_delay(&seen, 2), Ok(Duration::from_millis(7)));
        assert!(takeover_delay(&seen, 3).unwrap_err().contains("only 2 of 3"));
        assert!(takeover_delay(&[beat(0), address(99, 1)], 1).unwrap_err().contains("before the expiry"));
        assert!(takeover_delay(&[beat(0)], 1).is_err());
    }

    #[test]
    fn a_heartbeat_is_told_from_other_packets() {
        let packet = b"junk###\n11:(0)t=status,12:(0)st=active,9:(0)dt=bb8,8:(0)src=h1,";
        assert_eq!(heartbeat(packet, b"src=h1,"), Some(Duration::from_secs(3)));
        assert_eq!(heartbeat(packet, b"src=h2,"), None);
        assert_eq!(heartbeat(b"(0)t=resource,(0)src=h1,", b"src=h1,"), None);
    }
}
