//! Virtual addresses on a real interface (CLUSTER d.7).

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context as _, bail, ensure};
use hb_core::config::AddressClass;
use hb_shell::net::netlink::{Address, Netlink};
use hb_shell::net::vip::{self, Added, PROTOCOL, Presence, VipError};
use libtest_mimic::Completion;

use crate::Test;
use crate::scene::{Outcome, Scene, entry, vip};

pub(crate) const TESTS: &[Test] = &[
    ("addresses::an_address_is_added_adopted_and_removed_once_or_twice", added_adopted_removed),
    ("addresses::an_address_of_the_administrator_is_refused_and_never_removed", foreign),
    ("addresses::interface_mask_and_broadcast_come_from_the_route", resolved),
    ("addresses::what_cannot_be_placed_says_why", unplaceable),
    ("addresses::aliases_take_the_first_free_number", aliases),
    ("addresses::an_address_survives_the_removal_of_an_earlier_one", survivor),
    ("addresses::an_ipv6_address_is_usable_at_once", ipv6),
    ("addresses::links_are_described_by_name_and_number", links),
];

fn added_adopted_removed() -> Outcome {
    let scene = Scene::new()?;
    let netlink = &mut scene.h1.netlink()?;
    let placed = vip::resolve(netlink, &vip("10.77.0.100"))?;

    ensure!(vip::present(netlink, &placed)? == Presence::Absent);
    ensure!(vip::add(netlink, &placed)? == Added::New);
    let found = entry(netlink, "10.77.0.100")?.context("the address was added")?;
    ensure!((found.link, found.prefix, found.broadcast) == (placed.link, 24, Some(Ipv4Addr::new(10, 77, 0, 255))));
    ensure!(found.label.as_deref() == Some("eth0:0") && found.protocol == PROTOCOL, "{found:?}");
    ensure!(vip::present(netlink, &placed)? == Presence::Ours);

    let again = vip::resolve(netlink, &vip("10.77.0.100"))?;
    ensure!(again == placed, "an address that is there is placed where it is: {again:?}");
    ensure!(vip::add(netlink, &again)? == Added::Adopted);

    vip::remove(netlink, &placed)?;
    ensure!(vip::present(netlink, &placed)? == Presence::Absent);
    vip::remove(netlink, &placed)?;
    Ok(Completion::Completed)
}

fn foreign() -> Outcome {
    let scene = Scene::new()?;
    let netlink = &mut scene.h1.netlink()?;
    let placed = vip::resolve(netlink, &vip("10.77.0.1"))?;

    ensure!(vip::present(netlink, &placed)? == Presence::Foreign);
    let error = vip::add(netlink, &placed).err().context("adding it must fail")?;
    ensure!(matches!(&error, VipError::InUse { interface, .. } if interface == "eth0"), "{error}");
    vip::remove(netlink, &placed)?;
    ensure!(entry(netlink, "10.77.0.1")?.is_some(), "the address of the machine is still there");
    Ok(Completion::Completed)
}

fn resolved() -> Outcome {
    let scene = Scene::new()?;
    let netlink = &mut scene.h1.netlink()?;
    let eth0 = netlink.link("eth0")?;

    let plain = vip::resolve(netlink, &vip("10.77.0.100"))?;
    ensure!((plain.link, plain.interface.as_str(), plain.prefix, plain.mac) == (eth0.index, "eth0", 24, eth0.mac));
    ensure!(plain.broadcast == Some(Ipv4Addr::new(10, 77, 0, 255)));

    let mut masked = vip("10.77.0.100");
    masked.prefix = Some(28);
    let masked = vip::resolve(netlink, &masked)?;
    ensure!(masked.interface == "eth0" && masked.broadcast == Some(Ipv4Addr::new(10, 77, 0, 111)), "{masked:?}");

    let mut elsewhere = vip("192.0.2.7");
    (elsewhere.class, elsewhere.prefix, elsewhere.interface) = (AddressClass::IPaddr2, Some(32), Some("eth0".into()));
    let elsewhere = vip::resolve(netlink, &elsewhere)?;
    ensure!((elsewhere.prefix, elsewhere.broadcast, elsewhere.label) == (32, None, None));

    // A route that is more specific than the network wins, default routes do not count.
    netlink.add_route("10.88.0.0".parse()?, 16, "10.77.0.9".parse()?)?;
    ensure!(vip::resolve(netlink, &vip("10.88.3.4"))?.prefix == 16);
    ensure!(vip::resolve(netlink, &vip("fd77::100"))?.prefix == 64);
    Ok(Completion::Completed)
}

fn unplaceable() -> Outcome {
    let scene = Scene::new()?;
    let netlink = &mut scene.h1.netlink()?;

    match vip::resolve(netlink, &vip("192.0.2.7")) {
        Err(VipError::NoRoute(_)) => {}
        other => bail!("without a route: {other:?}"),
    }
    netlink.add_route("0.0.0.0".parse()?, 0, "10.77.0.9".parse()?)?;
    match vip::resolve(netlink, &vip("192.0.2.7")) {
        Err(error @ VipError::DefaultRoute { .. }) => {
            ensure!(error.to_string().ends_with("192.0.2.7/32/eth0"), "{error}");
        }
        other => bail!("with a default route only: {other:?}"),
    }
    for name in ["eth7", "a-name-longer-than-any"] {
        let mut misnamed = vip("10.77.0.100");
        misnamed.interface = Some(name.to_owned());
        match vip::resolve(netlink, &misnamed) {
            Err(VipError::NoInterface { interface, .. }) => ensure!(interface == name),
            other => bail!("on {name}: {other:?}"),
        }
    }
    Ok(Completion::Completed)
}

fn aliases() -> Outcome {
    let scene = Scene::new()?;
    let netlink = &mut scene.h1.netlink()?;
    let mut place = |address: &str| -> anyhow::Result<_> {
        let placed = vip::resolve(netlink, &vip(address))?;
        vip::add(netlink, &placed)?;
        Ok(placed)
    };
    let (first, second) = (place("10.77.0.100")?, place("10.77.0.101")?);
    ensure!((first.label.as_deref(), second.label.as_deref()) == (Some("eth0:0"), Some("eth0:1")));
    vip::remove(netlink, &first)?;
    ensure!(vip::resolve(netlink, &vip("10.77.0.102"))?.label.as_deref() == Some("eth0:0"));
    Ok(Completion::Completed)
}

fn survivor() -> Outcome {
    let scene = Scene::new()?;
    let netlink = &mut scene.h1.netlink()?;
    // The kernel's default; distributions differ.
    scene.h1.run(|| std::fs::write("/proc/sys/net/ipv4/conf/all/promote_secondaries", "0"))?;
    let mut place = |address: &str| -> anyhow::Result<_> {
        let mut vip = vip(address);
        (vip.prefix, vip.interface) = (Some(24), Some("eth0".to_owned()));
        let placed = vip::resolve(netlink, &vip)?;
        vip::add(netlink, &placed)?;
        Ok(placed)
    };
    // No address of the machine is in this network, so that the second depends on the first.
    let (first, second) = (place("10.99.0.100")?, place("10.99.0.101")?);
    ensure!(entry(netlink, "10.99.0.101")?.is_some_and(|entry| entry.is_secondary), "the scene is as described");

    vip::remove(netlink, &first)?;
    ensure!(entry(netlink, "10.99.0.100")?.is_none());
    ensure!(vip::present(netlink, &second)? == Presence::Ours);
    ensure!(entry(netlink, "10.99.0.101")?.and_then(|entry| entry.label) == second.label);
    Ok(Completion::Completed)
}

fn ipv6() -> Outcome {
    let scene = Scene::new()?;
    let netlink = &mut scene.h1.netlink()?;
    let placed = vip::resolve(netlink, &vip("fd77::100"))?;
    ensure!(vip::add(netlink, &placed)? == Added::New);
    scene.h1.run(|| TcpListener::bind("[fd77::100]:80")).context("an address under test would refuse")?;
    ensure!(vip::present(netlink, &placed)? == Presence::Ours);
    ensure!(vip::add(netlink, &placed)? == Added::Adopted);
    vip::remove(netlink, &placed)?;
    vip::remove(netlink, &placed)?;
    ensure!(vip::present(netlink, &placed)? == Presence::Absent);
    Ok(Completion::Completed)
}

fn links() -> Outcome {
    let scene = Scene::new()?;
    let netlink: &mut Netlink = &mut scene.h1.netlink()?;
    let eth0 = netlink.link("eth0")?;
    ensure!(eth0.is_up && !eth0.is_loopback && eth0.mac.is_some() && eth0.mtu == 1500, "{eth0:?}");
    ensure!(netlink.link_by_index(eth0.index)? == eth0);
    let names: Vec<String> = netlink.links()?.into_iter().map(|link| link.name).collect();
    ensure!(names == ["lo", "eth0"], "{names:?}");
    let outcome = netlink.add_address(&Address {
        link: 4711,
        ip: "10.77.0.100".parse()?,
        prefix: 24,
        broadcast: None,
        label: None,
        protocol: PROTOCOL,
        is_secondary: false,
    });
    ensure!(outcome.is_err_and(|error| error.raw_os_error() == Some(nix::libc::ENODEV)));
    Ok(Completion::Completed)
}
