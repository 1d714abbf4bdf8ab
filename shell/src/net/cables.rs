//! Interfaces whose signal comes back: what was announced there meanwhile nobody has heard.
//!
//! A thread of its own reads what the kernel says about interfaces, since on a host of many containers that is a lot, and
//! tells the loop of what matters to it: nearly never anything.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use mio::Waker;
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use super::netlink::{ANSWER_MAX, Link, Netlink, link_of, packets};

/// The kernel's group of those who want to know about interfaces (RTMGRP_LINK).
const LINK_GROUP: u32 = 1;
/// So much may wait for the loop; what the thread cannot hand over it keeps.
const WAITING_MAX: usize = 64;

/// Where interfaces change faster than they are read, all addresses are announced again, but not more often than this.
const PAUSE: Duration = Duration::from_secs(1);

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Back {
    /// The interface of that number.
    Interface(u32),
    /// Any may be: some of what the kernel said was lost.
    Anything,
}

/// The loop's end of the thread.
pub(crate) struct Cables {
    news: Receiver<Back>,
}

impl Cables {
    /// Watches the interfaces of the calling thread's network namespace.
    pub(crate) fn watch(wake: Arc<Waker>) -> io::Result<Cables> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, LINK_GROUP))?;
        // After the group was joined: nothing is missed in between.
        let mut signals = Signals::default();
        for link in Netlink::open()?.links()? {
            signals.note(&link);
        }
        let (tell, news) = sync_channel(WAITING_MAX);
        std::thread::Builder::new().name("cables".into()).stack_size(256 * 1024).spawn(move || {
            let mut buffer = vec![0; ANSWER_MAX];
            while let Some(back) = signals.hear(&socket, &mut buffer) {
                if !back.is_empty() && (back.into_iter().any(|one| tell.send(one).is_err()) || wake.wake().is_err()) {
                    return;
                }
            }
        })?;
        Ok(Cables { news })
    }

    /// The next that came back.
    pub(crate) fn next(&self) -> Option<Back> {
        self.news.try_recv().ok()
    }
}

/// Which interface has a signal, by the kernel's number.
#[derive(Debug, Default)]
struct Signals(BTreeMap<u32, bool>);

impl Signals {
    /// Waits for what the kernel says next; `None` if it will say no more.
    fn hear(&mut self, socket: &Socket, buffer: &mut [u8]) -> Option<Vec<Back>> {
        match recv(socket.as_raw_fd(), buffer, MsgFlags::empty()) {
            Ok(length) => {
                let said = packets(buffer.get(..length).unwrap_or_default()).filter_map(Result::ok);
                Some(said.filter_map(|packet| self.take_in(packet.payload)).collect())
            }
            Err(Errno::EINTR) => Some(Vec::new()),
            Err(Errno::ENOBUFS) => {
                std::thread::sleep(PAUSE);
                self.0.clear();
                Some(vec![Back::Anything])
            }
            Err(_) => None,
        }
    }

    fn take_in(&mut self, said: NetlinkPayload<RouteNetlinkMessage>) -> Option<Back> {
        let NetlinkPayload::InnerMessage(message) = said else { return None };
        if let RouteNetlinkMessage::DelLink(gone) = &message {
            self.0.remove(&gone.header.index);
        }
        self.note(&link_of(message)?).map(Back::Interface)
    }

    /// What an interface looks like now; its number, if it had no signal before as far as we know.
    fn note(&mut self, link: &Link) -> Option<u32> {
        let has_signal = link.is_up && link.has_carrier;
        let before = self.0.insert(link.index, has_signal);
        (has_signal && before != Some(true)).then_some(link.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, has_carrier: bool) -> Link {
        let name = format!("eth{index}");
        Link { index, name, mac: None, mtu: 1500, is_up: true, has_carrier, is_loopback: false }
    }

    #[test]
    fn only_a_signal_that_was_away_comes_back() {
        let mut signals = Signals::default();
        signals.note(&link(1, true));
        assert_eq!(signals.note(&link(1, true)), None, "something else about it changed");
        assert_eq!(signals.note(&link(1, false)), None);
        assert_eq!(signals.note(&Link { is_up: false, ..link(1, true) }), None);
        assert_eq!(signals.note(&link(1, true)), Some(1));
        assert_eq!(signals.note(&link(2, true)), Some(2), "who knows");
    }
}
