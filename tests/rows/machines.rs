//! The machines of a scenario: a namespace each, the networks that its files name, and one machine outside for clients and
//! ping nodes.
//!
//! ```text
//!   h1  eth0 10.77.0.1   h2  eth0 10.77.0.2   outside  eth0 10.77.0.200   the service network; addresses move here
//!       eth1 10.81.0.1       eth1 10.81.0.2            eth1 10.81.0.200   others, as the files need them
//! ```
//!
//! Where single packets are lost a relay stands in the middle of each heartbeat network.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use hb_shell::net::namespace::{Cable, InterfaceAddress, Lab, Machine, Network};
use hb_shell::net::netlink::Address;
use hb_shell::testbed::{self, Directory};
use hb_sim::Plan;
use hb_sim::ground::Change;
use hb_sim::plan::Event;
use hb_tests::relay::Relay;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::faults::Faults;
use crate::files::{self, Home, script_names};
use crate::skip;
use crate::watch::{Groups, Watch};

/// Where clients are.
pub(crate) const SERVICE: &str = "eth0";
/// The last number of the outside machine's own addresses.
const OUTSIDE: u8 = 200;
/// Daemons run this instead of a reboot of the computer.
const REBOOT: &str = "HEARTBEAT_REBOOT_COMMAND";

/// A network.
struct Wire {
    network: Network,
    relay: Option<(Relay, Faults)>,
    /// The first three numbers of its addresses.
    subnet: String,
}

impl Wire {
    fn network(&self, host: usize) -> Network {
        self.relay.as_ref().map_or(self.network, |(relay, _)| relay.network(host))
    }

    fn address(&self, number: usize) -> Result<InterfaceAddress> {
        Ok(format!("{}.{number}/24", self.subnet).parse()?)
    }
}

struct Seat {
    home: Home,
    /// Whether its guard is left alone when its daemon is killed or suspended.
    has_guard: bool,
    daemon: Option<Child>,
    machine: Option<Machine>,
    /// Who takes away what is left of a machine that lost power.
    cleaner: Option<JoinHandle<Result<()>>>,
    cables: BTreeMap<String, Cable>,
    /// Interfaces that are cut, also while the machine is off.
    cut: BTreeSet<String>,
}

/// Everything together; nothing outlives it.
pub(crate) struct Machines {
    pub(crate) watch: Watch,
    seats: Vec<Seat>,
    names: Vec<String>,
    media: Vec<BTreeSet<String>>,
    outside: Machine,
    targets: BTreeMap<IpAddr, String>,
    wires: BTreeMap<String, Wire>,
    lab: Lab,
    directory: Directory,
}

impl Machines {
    /// Wires everything and writes the files; all nodes are off.
    pub(crate) fn new(plan: &Plan) -> Result<Machines> {
        let mut lab = Lab::new().context("cannot make a laboratory of namespaces")?;
        let directory = Directory::new()?;
        let names: Vec<String> = (0..plan.hosts.len()).map(|host| plan.name(host).to_owned()).collect();
        let mut wires = BTreeMap::new();
        for interface in interfaces(plan) {
            let is_medium = plan.hosts.iter().any(|host| skip::media(host).any(|name| name == interface));
            let relay = if is_medium && skip::needs_relay(plan) {
                let faults = Faults::default();
                let relay = Relay::new(&mut lab, names.len())?;
                relay.lose(faults.rule());
                Some((relay, faults))
            } else {
                None
            };
            let subnet = subnet(plan, &interface);
            wires.insert(interface, Wire { network: lab.network()?, relay, subnet });
        }
        let outside = Machine::new("outside", &[])?;
        for (interface, wire) in &wires {
            lab.plug(&outside, interface, wire.network, &[wire.address(OUTSIDE.into())?])?;
        }
        let media = plan.hosts.iter().map(|host| skip::media(host).map(str::to_owned).collect()).collect();
        let targets = plan.ping_targets.iter().cloned().collect();
        let watch = Watch::start(Groups::of(plan), names.len())?;
        let mut machines = Machines { watch, seats: Vec::new(), names, media, outside, targets, wires, lab, directory };
        machines.furnish(plan)?;
        for rule in &plan.net {
            machines.each_faults(|faults| faults.change(rule));
        }
        Ok(machines)
    }

    fn furnish(&mut self, plan: &Plan) -> Result<()> {
        for (host, name) in plan.hosts.iter().zip(&self.names) {
            let home = Home::new(self.directory.path(), name)?;
            home.write(&host.texts)?;
            home.install_scripts(script_names(&host.config), &[])?;
            if let Some(device) = host.device {
                files::set_device(self.directory.path(), name, device)?;
            }
            let (cables, cut) = (BTreeMap::new(), BTreeSet::new());
            let has_guard = host.guard.is_some();
            self.seats.push(Seat { home, has_guard, daemon: None, machine: None, cleaner: None, cables, cut });
        }
        for quirk in &plan.quirks {
            self.seats[quirk.host].home.set_quirk(quirk)?;
        }
        for target in self.targets.keys().copied().collect::<Vec<_>>() {
            self.set_target(target, true)?;
        }
        for (host, word) in &plan.running {
            self.power_on(*host)?;
            std::fs::write(self.seats[*host].home.running(word), "")?;
        }
        Ok(())
    }

    /// The directory of the player.
    pub(crate) fn base(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// The files of a node.
    pub(crate) fn home(&self, host: usize) -> &Home {
        &self.seats[host].home
    }

    /// The machine of the clients.
    pub(crate) fn outside(&self) -> &Machine {
        &self.outside
    }

    /// Whether a node has a daemon that has not ended.
    pub(crate) fn is_running(&mut self, host: usize) -> bool {
        let daemon = self.seats[host].daemon.as_mut();
        daemon.is_some_and(|daemon| daemon.try_wait().is_ok_and(|ended| ended.is_none()))
    }

    // ---- machines

    fn power_on(&mut self, host: usize) -> Result<()> {
        if self.seats[host].machine.is_some() {
            return Ok(());
        }
        self.cleaned(host)?;
        let machine = Machine::new(&self.names[host], &[])?;
        for (interface, wire) in &self.wires {
            let cable = self.lab.plug(&machine, interface, wire.network(host), &[wire.address(host + 1)?])?;
            self.seats[host].cables.insert(interface.clone(), cable);
            let is_for_clients = self.is_for_clients(interface);
            if self.seats[host].cut.contains(interface) {
                plug(&mut self.lab, cable, false, is_for_clients)?;
            }
        }
        let home = self.seats[host].home.clone();
        self.watch.power_on(host, &machine, |word| home.running(word))?;
        self.seats[host].machine = Some(machine);
        Ok(())
    }

    /// A power failure: the machine is silent when this returns. That its programs are gone takes the kernel longer, and is
    /// waited for elsewhere: what happens next happens in time.
    pub(crate) fn power_off(&mut self, host: usize) -> Result<()> {
        let seat = &mut self.seats[host];
        let Some(machine) = seat.machine.take() else { return Ok(()) };
        let mut daemon = seat.daemon.take();
        if let Some(daemon) = &mut daemon {
            end_at_once(daemon)?;
        }
        self.watch.power_off(host);
        // Its addresses are in the service network.
        if let Some(cable) = std::mem::take(&mut seat.cables).get(SERVICE) {
            self.lab.set_joined(*cable, false)?;
        }
        let home = seat.home.clone();
        let clean = move || {
            if let Some(mut daemon) = daemon {
                daemon.wait()?;
            }
            machine.kill_programs()?;
            keep(machine);
            home.forget_running()
        };
        seat.cleaner = Some(std::thread::Builder::new().name("cleaner".to_owned()).spawn(clean)?);
        Ok(())
    }

    /// Until nothing is left of what ran before the last power failure.
    fn cleaned(&mut self, host: usize) -> Result<()> {
        let cleaner = self.seats[host].cleaner.take();
        cleaner.map_or(Ok(()), |cleaner| cleaner.join().map_err(|_| anyhow::anyhow!("a cleaner panicked"))?)
    }

    /// A resource stops, and nobody ordered it.
    pub(crate) fn lose(&self, host: usize, word: &str, address: Option<IpAddr>) -> Result<()> {
        let seat = &self.seats[host];
        // What does not run any more cannot be lost; the simulator has it so, too.
        let Some(address) = address else {
            return match std::fs::remove_file(seat.home.running(word)) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                result => Ok(result?),
            };
        };
        let mut netlink = seat.machine.as_ref().context("the machine is off")?.netlink()?;
        match netlink.addresses()?.into_iter().find(|entry| entry.ip == address) {
            Some(entry) => Ok(netlink.remove_address(&entry)?),
            None => Ok(()),
        }
    }

    /// A machine outside that answers pings dies, or is back.
    pub(crate) fn set_target(&self, ip: IpAddr, is_there: bool) -> Result<()> {
        let interface = self.targets.get(&ip).with_context(|| format!("nobody answers at {ip}"))?;
        let mut netlink = self.outside.netlink()?;
        let link = netlink.link(interface)?.index;
        let entry = Address { link, ip, prefix: 32, broadcast: None, label: None, protocol: 0, is_secondary: false };
        if is_there {
            netlink.add_address(&entry)?;
        } else {
            netlink.remove_address(&entry)?;
        }
        Ok(())
    }

    // ---- daemons

    /// Starts a node's daemon, on a machine that is switched on for it, and waits for nothing.
    pub(crate) fn start(&mut self, host: usize) -> Result<()> {
        self.power_on(host)?;
        if self.is_running(host) {
            return Ok(());
        }
        let home = &self.seats[host].home;
        let output = OpenOptions::new().create(true).append(true).open(home.path.join("output"))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_heartbeat-under-test"));
        command.args(["run", "-d", "--trace-size", "0", "--config-dir"]).arg(&home.path);
        command.arg("--state-dir").arg(home.path.join("state")).arg("--run-dir").arg(home.path.join("run"));
        command
            .args(["--node", &self.names[host]])
            .env(REBOOT, format!("touch {}", self.reboot_request(host).display()));
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let seat = &mut self.seats[host];
        let machine = seat.machine.as_ref().context("the machine is off")?;
        seat.daemon = Some(machine.spawn(command).context("cannot start the daemon")?);
        Ok(())
    }

    /// The file that says that a daemon wants its machine rebooted.
    fn reboot_request(&self, host: usize) -> PathBuf {
        self.seats[host].home.path.join("reboot")
    }

    /// The power failures that daemons and fencing devices ask for: which machine, and by whom.
    pub(crate) fn requested(&self) -> Vec<(usize, Asked)> {
        let is_asked = |host: &usize| {
            let by_device = files::crash_request(self.directory.path(), &self.names[*host]).exists();
            let asked = by_device.then_some(Asked::Device);
            asked.or_else(|| self.reboot_request(*host).exists().then_some(Asked::Daemon))
        };
        (0..self.names.len()).filter_map(|host| Some((host, is_asked(&host)?))).collect()
    }

    /// Does what was asked for, and says so.
    pub(crate) fn reset(&mut self, host: usize, asked: Asked) -> Result<()> {
        self.power_off(host)?;
        Ok(std::fs::remove_file(match asked {
            Asked::Device => files::crash_request(self.directory.path(), &self.names[host]),
            Asked::Daemon => self.reboot_request(host),
        })?)
    }

    /// Tells a node's daemon to stop, and does not wait until it has.
    pub(crate) fn stop(&mut self, host: usize) -> Result<()> {
        self.signal(host, Signal::SIGTERM)
    }

    /// Kills a node's daemon; what it ran stays, unless its guard acts.
    pub(crate) fn kill(&mut self, host: usize) -> Result<()> {
        let seat = &mut self.seats[host];
        let Some(mut daemon) = seat.daemon.take() else { return Ok(()) };
        if !seat.has_guard && daemon.try_wait()?.is_none() {
            testbed::kill_guard(daemon.id())?;
        }
        let _: std::io::Result<()> = daemon.kill();
        daemon.wait()?;
        Ok(())
    }

    /// The daemon is not scheduled, or is again; its guard neither, where the scenario has none.
    pub(crate) fn set_suspended(&mut self, host: usize, suspended: bool) -> Result<()> {
        let signal = if suspended { Signal::SIGSTOP } else { Signal::SIGCONT };
        if suspended && self.seats[host].has_guard {
            return self.signal(host, signal);
        }
        let Some(machine) = &self.seats[host].machine else { return Ok(()) };
        for pid in machine.processes()? {
            // It may have ended in between.
            let _: nix::Result<()> = kill(pid, signal);
        }
        Ok(())
    }

    /// Looks no more, and switches everything off; what was seen.
    pub(crate) fn end(mut self) -> Result<(Groups, Vec<Change>)> {
        let seen = self.watch.stop()?;
        for host in 0..self.seats.len() {
            self.power_off(host)?;
            self.cleaned(host)?;
        }
        keep(self.outside);
        keep(self.lab);
        Ok(seen)
    }

    fn signal(&mut self, host: usize, signal: Signal) -> Result<()> {
        if self.is_running(host)
            && let Some(daemon) = &self.seats[host].daemon
        {
            kill(Pid::from_raw(i32::try_from(daemon.id())?), signal)?;
        }
        Ok(())
    }

    // ---- cables

    /// Pulls a cable, or puts it back; those of all media if none is named. The signal goes and comes only where nothing but
    /// clients is behind: after it is back packets pass up to two seconds later.
    pub(crate) fn set_cut(&mut self, host: usize, interface: Option<&str>, cut: bool) -> Result<()> {
        let interfaces: BTreeSet<String> = match interface {
            Some(interface) => BTreeSet::from([interface.to_owned()]),
            None if cut => self.media[host].clone(),
            None => self.wires.keys().cloned().collect(),
        };
        for interface in interfaces {
            let is_for_clients = self.is_for_clients(&interface);
            if let Some(cable) = self.seats[host].cables.get(&interface) {
                plug(&mut self.lab, *cable, !cut, is_for_clients)?;
            }
            if cut {
                self.seats[host].cut.insert(interface)
            } else {
                self.seats[host].cut.remove(&interface)
            };
        }
        Ok(())
    }

    /// Whether nothing but clients is behind an interface.
    fn is_for_clients(&self, interface: &str) -> bool {
        let is_medium = self.media.iter().any(|media| media.contains(interface));
        !is_medium && !self.targets.values().any(|behind| behind == interface)
    }

    /// What is lost in the relay of an interface; in all relays if none is named.
    pub(crate) fn faults(&self, interface: Option<&str>, change: impl Fn(&Faults)) {
        for (name, wire) in &self.wires {
            if let Some((_, faults)) = wire.relay.as_ref().filter(|_| interface.is_none_or(|wanted| wanted == name)) {
                change(faults);
            }
        }
    }

    fn each_faults(&self, change: impl Fn(&Faults)) {
        self.faults(None, change);
    }
}

/// Kills a daemon and its guard, which must not get to run any script, and waits for nothing.
fn end_at_once(daemon: &mut Child) -> Result<()> {
    if daemon.try_wait()?.is_some() {
        return Ok(());
    }
    let pid = Pid::from_raw(i32::try_from(daemon.id())?);
    // They may have ended before.
    let _: nix::Result<()> = kill(pid, Signal::SIGSTOP);
    if let Some(guard) = testbed::guard_of(daemon.id()) {
        let _: nix::Result<()> = kill(Pid::from_raw(i32::try_from(guard)?), Signal::SIGKILL);
    }
    let _: nix::Result<()> = kill(pid, Signal::SIGKILL);
    Ok(())
}

/// Keeps an empty namespace until this process ends: while the kernel takes one apart, nobody in any other can change an
/// address, and on a busy computer that has lasted for seconds. Other rows would take it for their own daemons' fault.
fn keep<T: Send + 'static>(what: T) {
    static KEPT: Mutex<Vec<Box<dyn Send>>> = Mutex::new(Vec::new());
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(what));
}

/// Who asks for a power failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A fencing device.
    Device,
    /// The machine's own daemon, which cannot stop something (`stop_failure reboot`).
    Daemon,
}

/// Every interface that files or events name.
fn interfaces(plan: &Plan) -> BTreeSet<String> {
    let media = plan.hosts.iter().flat_map(skip::media).map(str::to_owned);
    let targets = plan.ping_targets.iter().map(|(_, interface)| interface.clone());
    let named = plan.events.iter().filter_map(|(_, event)| match event {
        Event::Cut(_, name)
        | Event::Deafen(_, name)
        | Event::Mute(_, name)
        | Event::Heal(_, name)
        | Event::Block(_, _, name)
        | Event::Open(_, _, name) => name.clone(),
        _ => None,
    });
    media.chain(targets).chain(named).chain([SERVICE.to_owned()]).collect()
}

/// The network of the ping nodes behind an interface, if there are some.
fn subnet(plan: &Plan, interface: &str) -> String {
    let target = plan.ping_targets.iter().find(|(_, name)| name == interface).map(|(address, _)| address.to_string());
    let of_target = target.as_deref().and_then(|address| address.rsplit_once('.')).map(|(subnet, _)| subnet.to_owned());
    let number: u32 = interface.trim_start_matches(char::is_alphabetic).parse().unwrap_or(99);
    let usual = if interface == SERVICE { "10.77.0".to_owned() } else { format!("10.{}.0", 80 + number) };
    of_target.unwrap_or(usual)
}

/// Pulls a cable, or puts it back, with or without a sign.
fn plug(lab: &mut Lab, cable: Cable, through: bool, signal: bool) -> std::io::Result<()> {
    if signal { lab.set_signal(cable, through) } else { lab.set_joined(cable, through) }
}
