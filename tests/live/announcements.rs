//! What neighbours make of our announcements (CLUSTER d.7).

use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use etherparse::{NetSlice, SlicedPacket};
use hb_core::ArpKind;
use hb_core::arp::Mac;
use hb_shell::net::announce::Announcer;
use hb_shell::net::echo::Probe;
use hb_shell::net::namespace::Machine;
use hb_shell::net::vip::{self, Placed};
use hb_shell::testbed::{Net, VIRTUAL_ADDRESS};
use libtest_mimic::Completion;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};

use crate::Test;
use crate::daemons::{self, settled, setup};
use crate::scene::{Outcome, PATIENCE, Scene, eventually, vip};

pub(crate) const TESTS: &[Test] = &[
    ("announcements::a_neighbour_follows_an_arp_request", || follows_arp(ArpKind::Request)),
    ("announcements::a_neighbour_follows_an_arp_reply", || follows_arp(ArpKind::Reply)),
    ("announcements::a_neighbour_follows_an_ipv6_advertisement", follows_advertisement),
    ("announcements::an_interface_that_is_down_is_an_error_and_not_a_wait", down),
    ("announcements::what_nobody_heard_is_announced_when_the_network_is_back", network_back),
];

fn take(machine: &Machine, address: &str) -> anyhow::Result<Placed> {
    let netlink = &mut machine.netlink()?;
    let placed = vip::resolve(netlink, &vip(address))?;
    vip::add(netlink, &placed)?;
    Ok(placed)
}

fn give_up(machine: &Machine, placed: &Placed) -> anyhow::Result<()> {
    Ok(vip::remove(&mut machine.netlink()?, placed)?)
}

/// The hardware address under which `machine` knows an IPv4 address.
fn known_at(machine: &Machine, address: &'static str) -> anyhow::Result<Option<String>> {
    let table = machine.run(|| std::fs::read_to_string("/proc/thread-self/net/arp"))?;
    let row = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|row| row[0] == address);
    Ok(row.map(|row| row[3].to_owned()))
}

fn text(mac: Option<Mac>) -> Option<String> {
    mac.map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":"))
}

fn follows_arp(kind: ArpKind) -> Outcome {
    let scene = Scene::new()?;
    let before = take(&scene.h1, "10.77.0.100")?;
    let probe = Probe::start(&scene.client, before.address, Duration::from_millis(1))?;
    ensure!(probe.wait_for_answer(PATIENCE));
    ensure!(known_at(&scene.client, "10.77.0.100")? == text(before.mac));

    give_up(&scene.h1, &before)?;
    let after = take(&scene.h2, "10.77.0.100")?;
    ensure!(known_at(&scene.client, "10.77.0.100")? == text(before.mac), "nobody told the client yet");

    let announcer = scene.h2.run(Announcer::open)?;
    announcer.announce(&after, after.mac.context("eth0 has a hardware address")?, kind)?;
    // Left alone, the client would find out too, some seconds later: it is the first change that must be right.
    eventually("the client knows another place", || Ok(known_at(&scene.client, "10.77.0.100")? != text(before.mac)))?;
    ensure!(known_at(&scene.client, "10.77.0.100")? == text(after.mac), "the place is the announced one");
    ensure!(probe.wait_for_answer(PATIENCE));
    Ok(Completion::Completed)
}

fn follows_advertisement() -> Outcome {
    let scene = Scene::new()?;
    let before = take(&scene.h1, "fd77::100")?;
    let probe = Probe::start(&scene.client, before.address, Duration::from_millis(1))?;
    ensure!(probe.wait_for_answer(PATIENCE));
    give_up(&scene.h1, &before)?;
    let after = take(&scene.h2, "fd77::100")?;

    let ears = scene.client.run(|| {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)
    })?;
    scene.h2.run(Announcer::open)?.announce(&after, after.mac.context("eth0 has one")?, ArpKind::Request)?;
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    eventually("the advertisement reaches the client", || {
        let mut frame = [0; 2048];
        // All that is there: the prober makes more frames in the meantime than one a turn.
        while let Ok(length) = recv(ears.as_raw_fd(), &mut frame, MsgFlags::empty()) {
            let packet = SlicedPacket::from_ethernet(&frame[..length])?;
            let Some(NetSlice::Ipv6(ip)) = &packet.net else { continue };
            let ends = (IpAddr::V6(ip.header().source_addr()), ip.header().destination_addr());
            if ends == (after.address, all_nodes) {
                return Ok(true);
            }
        }
        Ok(false)
    })?;
    ensure!(probe.wait_for_answer(PATIENCE), "the client follows");
    Ok(Completion::Completed)
}

fn down() -> Outcome {
    let scene = Scene::new()?;
    let placed = take(&scene.h1, "10.77.0.100")?;
    let announcer = scene.h1.run(Announcer::open)?;
    scene.h1.netlink()?.set_up(placed.link, false)?;
    let outcome = announcer.announce(&placed, placed.mac.context("eth0 has one")?, ArpKind::Request);
    ensure!(outcome.is_err_and(|error| error.raw_os_error() == Some(nix::libc::ENETDOWN)));
    Ok(Completion::Completed)
}

fn network_back() -> Outcome {
    let mut testbed = settled(setup(false))?;
    testbed.set_signal(1, Net::Service, false)?;
    testbed.stop(0)?;
    testbed.wait_until("h2 serves nobody", daemons::PATIENCE, |testbed| testbed.has_address(1))?;
    // What it announces it announces for five seconds.
    std::thread::sleep(Duration::from_secs(6));
    let ears = testbed.client().run(|| {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)
    })?;
    testbed.set_signal(1, Net::Service, true)?;
    testbed.wait_for_log(1, &["its network is back: it is announced again"], daemons::PATIENCE)?;
    let IpAddr::V4(address) = VIRTUAL_ADDRESS else { unreachable!() };
    eventually("the client hears where it is", || {
        let mut frame = [0; 2048];
        while let Ok(length) = recv(ears.as_raw_fd(), &mut frame, MsgFlags::empty()) {
            // ARP, and who sends it.
            if frame[..length].get(12..14) == Some(&[8, 6]) && frame.get(28..32) == Some(&address.octets()) {
                return Ok(true);
            }
        }
        Ok(false)
    })?;
    Ok(Completion::Completed)
}
