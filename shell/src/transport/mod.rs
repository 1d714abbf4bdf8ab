//! Media: the ways by which packets reach other nodes.

pub mod icmp;
mod interface;
pub mod serial;
pub mod udp;

use nix::sys::socket::SockaddrStorage;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

/// The address that the system names, if it is one of IP.
fn address(of: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = of.as_sockaddr_in().map(|v4| SocketAddrV4::from(*v4).into());
    v4.or_else(|| of.as_sockaddr_in6().map(|v6| SocketAddrV6::from(*v6).into()))
}
