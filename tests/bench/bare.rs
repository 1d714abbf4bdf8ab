//! The least that a node must ask of the kernel, without being one: the measure beside which a daemon's processor time is
//! read.
//!
//! A process that sends packets at each tick of a timer and reads those of the others: for a tick epoll_wait, read and a
//! sendto for each medium, for a packet epoll_wait and recv. What it uses is what the kernel takes for such traffic on this
//! machine. It looks at nothing it reads, signs nothing, and never reads for nothing.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hb_shell::realtime;
use hb_tests::is_root;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, SockaddrIn, recv, sendto, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// What a process of this program is to be, as its first argument.
pub(crate) const ROLE: &str = "bare";
const PORT: u16 = 694;
const TICK: u64 = 0;
const PACKET: u64 = 1;

/// The arguments that make a process of this program such a node: it sends `length` bytes every `interval` to each of the
/// broadcast addresses.
pub(crate) fn arguments(length: usize, interval: Duration, media: &[(String, Ipv4Addr)]) -> Vec<String> {
    let media = media.iter().map(|(interface, to)| format!("{interface}={to}"));
    [ROLE.to_owned(), length.to_string(), interval.as_nanos().to_string()].into_iter().chain(media).collect()
}

/// Runs until it is killed.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let [length, interval, media @ ..] = arguments else { anyhow::bail!("length, interval and media are missing") };
    let (packet, interval) = (vec![b'x'; length.parse()?], Duration::from_nanos(interval.parse()?));
    let mut senders = Vec::new();
    for medium in media {
        let (interface, to) = medium.split_once('=').context("a medium is INTERFACE=ADDRESS")?;
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_broadcast(true)?;
        setsockopt(&socket, sockopt::DontRoute, &true)?;
        setsockopt(&socket, sockopt::BindToDevice, &interface.into())?;
        senders.push((socket, SockaddrIn::from(SocketAddrV4::new(to.parse()?, PORT))));
    }
    let receiver = UdpSocket::bind(("0.0.0.0", PORT))?;
    let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TICK))?;
    epoll.add(&receiver, EpollEvent::new(EpollFlags::EPOLLIN, PACKET))?;
    if is_root() {
        let missing = realtime::enter(realtime::Priority(None), 0);
        ensure!(missing.is_empty(), "{missing:?}");
    }
    timer.set(Expiration::Interval(TimeSpec::from_duration(interval)), TimerSetTimeFlags::empty())?;
    let (mut buffer, mut events) = ([0; 2048], [EpollEvent::empty(); 4]);
    loop {
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..count] {
            if event.data() == PACKET {
                recv(receiver.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
                continue;
            }
            timer.wait()?;
            for (socket, to) in &senders {
                sendto(socket.as_raw_fd(), &packet, to, MsgFlags::empty())?;
            }
        }
    }
}
