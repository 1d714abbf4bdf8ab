//! Telling the neighbours of an interface that an address lives here now. Read CLUSTER d.7 first.
//!
//! When and how often is the core's decision; here one frame leaves.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use hb_core::ArpKind;
use hb_core::arp::{Mac, advertisement, gratuitous};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::vip::Placed;
use crate::sys;

/// An open socket for announcements; it sends and never receives.
#[derive(Debug)]
pub struct Announcer {
    socket: OwnedFd,
}

impl Announcer {
    /// Opens the socket, in the network namespace of the calling thread; needs CAP_NET_RAW.
    pub fn open() -> io::Result<Announcer> {
        // Protocol 0: the kernel hands no received packet to this socket.
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
        Ok(Announcer { socket })
    }

    /// Sends one announcement of `placed` as living at `mac`; for IPv6 `kind` makes no difference.
    ///
    /// Never waits: with the queue of the card full, or the interface down, the frame is lost and the error says so.
    pub fn announce(&self, placed: &Placed, mac: Mac, kind: ArpKind) -> io::Result<()> {
        match placed.address {
            IpAddr::V4(address) => sys::send_frame(&self.socket, placed.link, &gratuitous(kind, mac, address)),
            IpAddr::V6(address) => sys::send_frame(&self.socket, placed.link, &advertisement(mac, address)),
        }
    }
}
