//! A machine in the middle of a network: it passes every frame on, sees it, and loses what it is told to lose.
//!
//! ```text
//!   h1 eth1 ==[network]== port0  relay  port1 ==[network]== eth1 h2
//!                                  |  port2 ==[network]== eth1 h3
//!               records, and asks the rule about each packet and receiver
//! ```
//!
//! Needs no traffic control in the kernel, and knows of each single packet whether it came through: a lost packet is lost
//! by purpose, and that a message arrived in the end is seen here and not believed from the log of a node.

use anyhow::{Context as _, Result};
use hb_shell::net::namespace::{Lab, Machine, Network};
use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, socket};
use std::fmt;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// Ethernet header; then IPv4 without options, which nothing here uses; then UDP.
const ETHERNET: usize = 14;
/// Of the Ethernet type that says IPv4.
const IPV4: [u8; 2] = [0x08, 0x00];
/// The protocol number of UDP in IPv4.
const UDP: u8 = 17;

/// A UDP packet on its way from one port of the relay to another.
#[derive(Clone, Copy, Debug)]
pub struct Crossing<'a> {
    /// The port it came in by.
    pub from: usize,
    /// The port it shall leave by.
    pub to: usize,
    /// How many UDP packets came in by any port before.
    pub number: usize,
    /// What it carries.
    pub payload: &'a [u8],
}

/// Says of a crossing whether it is lost.
pub type Rule = Box<dyn FnMut(&Crossing<'_>) -> bool + Send>;

/// A UDP packet that came to the relay.
#[derive(Clone, Debug)]
pub struct Packet {
    /// When.
    pub at: Instant,
    /// By which port.
    pub from: usize,
    /// The ports it was passed on to.
    pub reached: Vec<usize>,
    /// What it carries.
    pub payload: Vec<u8>,
}

struct Shared {
    rule: Rule,
    packets: Vec<Packet>,
}

/// The relay at work, in a thread of its own; its end is the end of the network it joins.
pub struct Relay {
    shared: Arc<Mutex<Shared>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    networks: Vec<Network>,
    // The interfaces live as long as the machine.
    _machine: Machine,
}

impl Relay {
    /// Makes a relay with so many ports.
    pub fn new(lab: &mut Lab, ports: usize) -> Result<Relay> {
        let machine = Machine::new("relay", &[])?;
        let mut networks = Vec::new();
        for port in 0..ports {
            let network = lab.network()?;
            lab.plug(&machine, &format!("port{port}"), network, &[])?;
            networks.push(network);
        }
        let sockets = machine.run(move || (0..ports).map(open).collect::<Result<Vec<_>>>())?;
        let shared = Arc::new(Mutex::new(Shared { rule: Box::new(|_| false), packets: Vec::new() }));
        let stop = Arc::new(AtomicBool::new(false));
        let (at_work, stopped) = (Arc::clone(&shared), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("relay".to_owned()).spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                turn(&sockets, &at_work);
            }
        })?;
        Ok(Relay { shared, stop, thread: Some(thread), networks, _machine: machine })
    }

    /// The network behind a port, to plug a machine into.
    pub fn network(&self, port: usize) -> Network {
        self.networks[port]
    }

    /// From now on `rule` says what is lost.
    pub fn lose(&self, rule: impl FnMut(&Crossing<'_>) -> bool + Send + 'static) {
        self.shared().rule = Box::new(rule);
    }

    /// From now on nothing is lost.
    pub fn lose_nothing(&self) {
        self.lose(|_| false);
    }

    /// How many UDP packets came so far.
    pub fn count(&self) -> usize {
        self.shared().packets.len()
    }

    /// The UDP packets that came, from the `skip`th on.
    pub fn packets(&self, skip: usize) -> Vec<Packet> {
        self.shared().packets.get(skip..).unwrap_or_default().to_vec()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("ports", &self.networks.len())
            .field("packets", &self.count())
            .finish_non_exhaustive()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic there showed itself when it happened.
            let _: std::thread::Result<()> = thread.join();
        }
    }
}

/// One socket for both directions, so that it does not hear what it sends.
fn open(port: usize) -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)?;
    let name = format!("port{port}");
    let address = getifaddrs()?
        .filter(|interface| interface.interface_name == name)
        .find_map(|interface| interface.address.filter(|address| address.as_link_addr().is_some()))
        .with_context(|| format!("no interface {name}"))?;
    // The address names no protocol: that of the socket stays.
    bind(socket.as_raw_fd(), &address)?;
    // What came by other interfaces before it was bound.
    while recv(socket.as_raw_fd(), &mut [0; 1], MsgFlags::empty()).is_ok() {}
    Ok(socket)
}

/// Waits a moment for frames and passes on what is there.
fn turn(sockets: &[OwnedFd], shared: &Mutex<Shared>) {
    let mut sources: Vec<_> = sockets.iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
    // A timeout or an interrupted wait only looks at `stop` earlier.
    let _: nix::Result<i32> = poll(&mut sources, PollTimeout::from(20_u8));
    let mut buffer = vec![0; 65_536];
    for (from, socket) in sockets.iter().enumerate() {
        while let Ok(length) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            let frame = &mut buffer[..length];
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let others = (0..sockets.len()).filter(|to| *to != from);
            let reached: Vec<usize> = match udp_payload(frame) {
                None => others.collect(),
                Some(payload) => {
                    let (payload, number) = (payload.to_vec(), shared.packets.len());
                    let passes = |to: &usize| !(shared.rule)(&Crossing { from, to: *to, number, payload: &payload });
                    let reached: Vec<usize> = others.filter(passes).collect();
                    shared.packets.push(Packet { at: Instant::now(), from, reached: reached.clone(), payload });
                    without_checksum(frame);
                    reached
                }
            };
            for to in reached {
                // A port without carrier takes nothing, as a cable that is out.
                let _: nix::Result<usize> = send(sockets[to].as_raw_fd(), frame, MsgFlags::empty());
            }
        }
    }
}

/// What a frame carries if it is a whole UDP packet, or the first fragment of one.
fn udp_payload(frame: &[u8]) -> Option<&[u8]> {
    let ip = frame.get(ETHERNET..).filter(|_| frame.get(12..14) == Some(&IPV4))?;
    let header = usize::from(ip.first()? & 0x0f) * 4;
    let fragment_offset = u16::from_be_bytes([*ip.get(6)?, *ip.get(7)?]) & 0x1fff;
    let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
    (ip.get(9) == Some(&UDP) && fragment_offset == 0).then(|| ip.get(header + 8..total)).flatten()
}

/// Takes the UDP checksum out, which IPv4 allows: between machines of one kernel it was never worked out.
fn without_checksum(frame: &mut [u8]) {
    let header = usize::from(frame[ETHERNET] & 0x0f) * 4;
    if let Some(checksum) = frame.get_mut(ETHERNET + header + 6..ETHERNET + header + 8) {
        checksum.fill(0);
    }
}

/// A rule that loses so many of a hundred crossings, the same ones for the same seed.
pub fn loss(percent: u64, seed: u64) -> impl FnMut(&Crossing<'_>) -> bool + Send + 'static {
    let mut state = seed;
    move |_| {
        // SplitMix64 (Steele et al. 2014): good enough to lose packets by.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % 100 < percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_is_a_fifth() {
        let mut rule = loss(20, 1);
        let crossing = Crossing { from: 0, to: 1, number: 0, payload: &[] };
        let lost = (0..10_000).filter(|_| rule(&crossing)).count();
        assert!((1_900..2_100).contains(&lost), "{lost}");
    }

    #[test]
    fn a_later_fragment_is_passed_on_as_it_is() {
        let mut frame = vec![0; ETHERNET];
        frame[12..14].copy_from_slice(&IPV4);
        frame.extend([0x45, 0, 0, 30, 0, 0, 0, 0, 64, UDP, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        frame.extend([0, 1, 0, 2, 0, 10, 9, 9, b'h', b'i', 0, 0]);
        assert_eq!(udp_payload(&frame), Some(&b"hi"[..]), "without the padding of the frame");
        frame[ETHERNET + 7] = 1;
        assert_eq!(udp_payload(&frame), None);
    }
}
