//! The truth about real machines: which address the kernel has, which script runs; no daemon is asked.
//!
//! A thread looks every few milliseconds. The kernel tells it when addresses change; whether a script runs is a file that the
//! script makes and removes. Whenever something appears on a machine the others are looked at once more, after that: two
//! owners are noted only if the one was seen to have it after the other had got it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use hb_core::config::Resource;
use hb_shell::net::namespace::Machine;
use hb_shell::net::netlink::Netlink;
use hb_sim::Plan;
use hb_sim::ground::{Change, Share};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};

/// How often the watcher looks.
const LOOK_EVERY: Duration = Duration::from_millis(3);
/// The netlink groups that tell of addresses (RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR, rtnetlink(7)).
const ADDRESSES: u32 = 0x10 | 0x100;

/// A resource as the scenario's files name it.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) word: String,
    /// The address, if it is one.
    pub(crate) address: Option<IpAddr>,
}

/// The groups of all files, each once, with their resources by position.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    pub(crate) resources: Vec<Watched>,
    pub(crate) groups: Vec<(String, Vec<usize>)>,
}

impl Groups {
    pub(crate) fn of(plan: &Plan) -> Groups {
        let mut all = Groups::default();
        for group in plan.configs().flat_map(hb_core::config::Config::groups) {
            if all.groups.iter().any(|(key, _)| *key == group.key) {
                continue;
            }
            let of_group = group.resources.iter().map(|resource| all.resource(resource)).collect();
            all.groups.push((group.key.clone(), of_group));
        }
        all
    }

    fn resource(&mut self, resource: &Resource) -> usize {
        let word = resource.word();
        self.resources.iter().position(|known| known.word == word).unwrap_or_else(|| {
            let address = match resource {
                Resource::Address(address) => Some(address.address),
                Resource::Script(_) => None,
            };
            self.resources.push(Watched { word: word.to_owned(), address });
            self.resources.len() - 1
        })
    }

    /// How much of a group these resources are.
    fn share(&self, group: usize, running: &BTreeSet<usize>) -> Share {
        let resources = &self.groups[group].1;
        match resources.iter().filter(|resource| running.contains(resource)).count() {
            0 => Share::Nothing,
            all if all == resources.len() => Share::All,
            _ => Share::Part,
        }
    }
}

/// How a machine that is on is looked at.
struct Eyes {
    netlink: Netlink,
    /// Tells when addresses change.
    news: OwnedFd,
    /// What was there when it told last.
    addresses: BTreeSet<IpAddr>,
    /// The file of each resource that is a script.
    files: Vec<Option<PathBuf>>,
}

struct Shared {
    groups: Groups,
    begin: Instant,
    /// For each machine; none while it is off.
    eyes: Vec<Option<Eyes>>,
    running: Vec<BTreeSet<usize>>,
    /// In order; their times count from `begin`.
    changes: Vec<Change>,
    broken: Option<String>,
}

/// The watcher at work.
pub(crate) struct Watch {
    shared: Arc<Mutex<Shared>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches so many machines, all of them off.
    pub(crate) fn start(groups: Groups, machines: usize) -> Result<Watch> {
        let (eyes, running) = ((0..machines).map(|_| None).collect(), vec![BTreeSet::new(); machines]);
        let shared = Shared { groups, begin: Instant::now(), eyes, running, changes: Vec::new(), broken: None };
        let (shared, stop) = (Arc::new(Mutex::new(shared)), Arc::new(AtomicBool::new(false)));
        let (watched, stopped) = (Arc::clone(&shared), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                lock(&watched).look();
                std::thread::sleep(LOOK_EVERY);
            }
        })?;
        Ok(Watch { shared, stop, thread: Some(thread) })
    }

    /// A machine is on; `file` is where a script says that it runs.
    pub(crate) fn power_on(&self, which: usize, machine: &Machine, file: impl Fn(&str) -> PathBuf) -> Result<()> {
        let (netlink, news) = (machine.netlink()?, machine.run(subscribe)?);
        let mut shared = lock(&self.shared);
        let script = |one: &Watched| one.address.is_none().then(|| file(&one.word));
        let files = shared.groups.resources.iter().map(script).collect();
        let mut eyes = Eyes { netlink, news, addresses: BTreeSet::new(), files };
        eyes.read_addresses()?;
        shared.eyes[which] = Some(eyes);
        Ok(())
    }

    /// A machine loses power: from now on it has nothing.
    pub(crate) fn power_off(&self, which: usize) {
        let mut shared = lock(&self.shared);
        shared.eyes[which] = None;
        shared.note(which, BTreeSet::new());
    }

    /// The time of the watcher's clock.
    pub(crate) fn time(&self, at: Instant) -> hb_core::time::Instant {
        let begin = lock(&self.shared).begin;
        hb_core::time::Instant::after_origin(at.saturating_duration_since(begin))
    }

    /// Looks no more; everything that changed, in order.
    pub(crate) fn stop(&mut self) -> Result<(Groups, Vec<Change>)> {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))?;
        }
        let mut shared = lock(&self.shared);
        if let Some(why) = shared.broken.take() {
            anyhow::bail!("the machines could not be watched: {why}");
        }
        Ok((std::mem::take(&mut shared.groups), std::mem::take(&mut shared.changes)))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

impl Shared {
    fn look(&mut self) {
        for which in 0..self.eyes.len() {
            let Some(now) = self.seen(which) else { continue };
            if !now.is_subset(&self.running[which]) {
                // The others after that: what they have lost before was lost before it appeared here.
                for other in (0..self.eyes.len()).filter(|other| *other != which) {
                    if let Some(seen) = self.seen(other) {
                        let kept = seen.intersection(&self.running[other]).copied().collect();
                        self.note(other, kept);
                    }
                }
            }
            self.note(which, now);
        }
    }

    /// What runs on a machine at this moment; none of one that is off.
    fn seen(&mut self, which: usize) -> Option<BTreeSet<usize>> {
        let eyes = self.eyes[which].as_mut()?;
        match eyes.look(&self.groups.resources) {
            Ok(seen) => Some(seen),
            Err(error) => {
                self.broken.get_or_insert_with(|| format!("{error:#}"));
                None
            }
        }
    }

    /// A machine has this now.
    fn note(&mut self, which: usize, now: BTreeSet<usize>) {
        let before = std::mem::replace(&mut self.running[which], now);
        let mut at = hb_core::time::Instant::after_origin(self.begin.elapsed());
        for group in 0..self.groups.groups.len() {
            let share = self.groups.share(group, &self.running[which]);
            if share != self.groups.share(group, &before) {
                // No two at the same time, so that order is time.
                let last = self.changes.last().map_or(at, |last| last.at);
                at = at.max(last.plus(Duration::from_nanos(1)));
                self.changes.push(Change { at, group, host: which, share });
            }
        }
    }
}

impl Eyes {
    fn look(&mut self, resources: &[Watched]) -> Result<BTreeSet<usize>> {
        if self.is_told()? {
            self.read_addresses()?;
        }
        let runs = |at: &usize| match (&resources[*at].address, &self.files[*at]) {
            (Some(address), _) => self.addresses.contains(address),
            (None, Some(file)) => file.exists(),
            (None, None) => false,
        };
        Ok((0..resources.len()).filter(runs).collect())
    }

    fn is_told(&self) -> Result<bool> {
        let mut told = false;
        loop {
            match recv(self.news.as_raw_fd(), &mut [0; 8192], MsgFlags::empty()) {
                // Where some news was lost, reading all addresses makes up for it.
                Ok(_) | Err(nix::errno::Errno::ENOBUFS) => told = true,
                Err(nix::errno::Errno::EAGAIN) => return Ok(told),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn read_addresses(&mut self) -> Result<()> {
        self.addresses = self.netlink.addresses()?.into_iter().map(|entry| entry.ip).collect();
        Ok(())
    }
}

fn subscribe() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let news = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(news.as_raw_fd(), &NetlinkAddr::new(0, ADDRESSES))?;
    Ok(news)
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
