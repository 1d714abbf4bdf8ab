//! Two machines, a client and two networks made of namespaces, with real daemons in them.
//!
//! ```text
//!   h1  eth0 10.77.0.1    h2  eth0 10.77.0.2    client  eth0 10.77.0.200     the service network; the address moves here
//!       eth1 10.78.0.1        eth1 10.78.0.2                                 the heartbeat network
//! ```
//!
//! `heartbeat demo`, the live tests and the benchmarks all stand on it. Nothing outlives it: namespaces and programs end
//! with the [`Testbed`], files lie in one directory that it removes.

use crate::net::namespace::{Cable, Lab, Machine, Mount, Network};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The address that moves, preferred on `h1`.
pub const VIRTUAL_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 100));
/// The names of the two nodes.
pub const NAMES: [&str; 2] = ["h1", "h2"];

/// How often a condition that is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What the two nodes run with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The `heartbeat` program.
    pub program: PathBuf,
    /// ha.cf but for the `node`, log and `realtime` lines.
    pub ha_cf: String,
    /// haresources.
    pub haresources: String,
    /// Whether daemons ask for real-time scheduling and locked memory; needs root.
    pub realtime: bool,
    /// More options of `heartbeat run`.
    pub options: Vec<String>,
}

impl Setup {
    /// One virtual address preferred on `h1`, heartbeats by broadcast on `eth1`.
    pub fn new(program: PathBuf, keepalive: Duration, deadtime: Duration, failback: bool) -> Setup {
        let (keepalive, deadtime) = (keepalive.as_millis(), deadtime.as_millis());
        let failback = if failback { "on" } else { "off" };
        Setup {
            program,
            ha_cf: format!(
                "keepalive {keepalive}ms\ndeadtime {deadtime}ms\ninitdead {}ms\nauto_failback {failback}\nbcast eth1\n",
                deadtime.max(10_000)
            ),
            haresources: format!("h1 {VIRTUAL_ADDRESS}/24/eth0\n"),
            realtime: false,
            options: Vec::new(),
        }
    }
}

/// One of the two networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Net {
    /// `eth0`: where the address is served.
    Service,
    /// `eth1`: where heartbeats go.
    Heartbeat,
}

/// A machine with its cables, and the daemon in it.
#[derive(Debug)]
struct Seat {
    // Programs end before their machine.
    daemon: Option<Child>,
    machine: Machine,
    cables: [Cable; 2],
}

/// The whole arrangement.
#[derive(Debug)]
pub struct Testbed {
    seats: [Option<Seat>; 2],
    client: Machine,
    lab: Lab,
    networks: [Network; 2],
    directory: Directory,
    setup: Setup,
}

impl Testbed {
    /// Wires everything and writes the configuration; nothing runs yet. The process must have called
    /// [`enter`](crate::net::namespace::enter).
    pub fn new(setup: Setup) -> Result<Testbed> {
        let mut lab = Lab::new().context("cannot make a laboratory of namespaces")?;
        let networks = [lab.network()?, lab.network()?];
        let client = Machine::new("client", &[])?;
        lab.plug(&client, "eth0", networks[0], &["10.77.0.200/24".parse()?])?;
        let mut testbed = Testbed { seats: [None, None], client, lab, networks, directory: Directory::new()?, setup };
        for which in 0..2 {
            testbed.write_configuration(which)?;
            testbed.power_on(which, &[])?;
        }
        Ok(testbed)
    }

    fn write_configuration(&self, which: usize) -> Result<()> {
        let directory = self.directory(which);
        fs::create_dir_all(&directory)?;
        let log = directory.join("log");
        let ha_cf = format!(
            "node {}\nlogfile {}\nrealtime {}\n{}",
            NAMES.join(" "),
            log.display(),
            if self.setup.realtime { "on" } else { "off" },
            self.setup.ha_cf
        );
        fs::write(directory.join("ha.cf"), ha_cf)?;
        fs::write(directory.join("haresources"), &self.setup.haresources)?;
        let mut authkeys =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(directory.join("authkeys"))?;
        authkeys.write_all(b"auth 1\n1 sha1 a-key-for-this-laboratory\n")?;
        Ok(())
    }

    /// The directory that holds configuration, state and sockets of a node; it survives a power failure.
    pub fn directory(&self, which: usize) -> PathBuf {
        self.directory.0.join(NAMES[which])
    }

    /// Switches a machine on: fresh interfaces, nothing running. `mounts` as in [`Machine::new`].
    pub fn power_on(&mut self, which: usize, mounts: &[Mount]) -> Result<()> {
        ensure!(self.seats[which].is_none(), "{} is on already", NAMES[which]);
        let machine = Machine::new(NAMES[which], mounts)?;
        let service = wire(&mut self.lab, &machine, self.networks[0], which, Net::Service)?;
        let heartbeat = wire(&mut self.lab, &machine, self.networks[1], which, Net::Heartbeat)?;
        self.seats[which] = Some(Seat { daemon: None, machine, cables: [service, heartbeat] });
        Ok(())
    }

    /// Takes an interface out of a running machine: the system forgets it.
    pub fn unplug(&mut self, which: usize, net: Net) -> Result<()> {
        let cable = self.seat(which)?.cables[net as usize];
        Ok(self.lab.unplug(cable)?)
    }

    /// Puts a new interface of the old name and address into a running machine.
    pub fn plug(&mut self, which: usize, net: Net) -> Result<()> {
        let seat = self.seats[which].as_mut().with_context(|| format!("{} is off", NAMES[which]))?;
        seat.cables[net as usize] = wire(&mut self.lab, &seat.machine, self.networks[net as usize], which, net)?;
        Ok(())
    }

    /// A power failure: the machine is silent at once, and everything in it is gone when this returns.
    pub fn power_off(&mut self, which: usize) -> Result<()> {
        for net in [Net::Heartbeat, Net::Service] {
            self.set_joined(which, net, false)?;
        }
        let Some(mut seat) = self.seats[which].take() else { return Ok(()) };
        if let Some(mut daemon) = seat.daemon.take() {
            // It may have ended before.
            let _: std::io::Result<()> = daemon.kill();
            daemon.wait()?;
        }
        Ok(())
    }

    /// Cuts a cable silently, or heals it.
    pub fn set_joined(&mut self, which: usize, net: Net, joined: bool) -> Result<()> {
        let cable = self.seat(which)?.cables[net as usize];
        Ok(self.lab.set_joined(cable, joined)?)
    }

    /// Pulls a cable, or puts it back: the machine sees the signal go and come.
    pub fn set_signal(&mut self, which: usize, net: Net, signal: bool) -> Result<()> {
        let cable = self.seat(which)?.cables[net as usize];
        Ok(self.lab.set_signal(cable, signal)?)
    }

    /// The machine of a node.
    pub fn machine(&self, which: usize) -> Result<&Machine> {
        Ok(&self.seat(which)?.machine)
    }

    /// The client's machine.
    pub fn client(&self) -> &Machine {
        &self.client
    }

    fn seat(&self, which: usize) -> Result<&Seat> {
        self.seats[which].as_ref().with_context(|| format!("{} is off", NAMES[which]))
    }

    /// Runs the `heartbeat` program in a machine, with this node's directories. A daemon that would reboot its machine, which
    /// is the computer itself, makes the file `rebooted` instead.
    pub fn command(&self, which: usize, arguments: &[&str]) -> Command {
        let directory = self.directory(which);
        let mut command = Command::new(&self.setup.program);
        command.args(arguments);
        command.arg("--config-dir").arg(&directory).arg("--state-dir").arg(directory.join("state"));
        command.arg("--run-dir").arg(directory.join("run")).arg("--node").arg(NAMES[which]);
        command.env(crate::reboot::STAND_IN, format!("touch '{}'", directory.join("rebooted").display()));
        command.stdin(Stdio::null());
        command
    }

    /// Starts a node's daemon and does not wait for anything.
    pub fn start(&mut self, which: usize) -> Result<()> {
        let output = OpenOptions::new().create(true).append(true).open(self.directory(which).join("output"))?;
        let mut command = self.command(which, &["run"]);
        command.args(&self.setup.options).stdout(output.try_clone()?).stderr(output);
        let daemon = self.machine(which)?.spawn(command).context("cannot start the daemon")?;
        if let Some(seat) = &mut self.seats[which] {
            seat.daemon = Some(daemon);
        }
        Ok(())
    }

    /// Ends a node's daemon gracefully and waits for it; its exit code.
    pub fn stop(&mut self, which: usize) -> Result<Option<i32>> {
        let seat = self.seats[which].as_mut().with_context(|| format!("{} is off", NAMES[which]))?;
        let mut daemon = seat.daemon.take().context("no daemon runs")?;
        let pid = nix::unistd::Pid::from_raw(i32::try_from(daemon.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        Ok(daemon.wait()?.code())
    }

    /// Kills a node's daemon and its guard, as nothing but an administrator does: the machine and its addresses stay.
    pub fn kill_all(&mut self, which: usize) -> Result<()> {
        kill_guard(self.daemon_pid(which)?)?;
        self.kill(which)
    }

    /// Kills a node's daemon; its guard releases what it held.
    pub fn kill(&mut self, which: usize) -> Result<()> {
        let seat = self.seats[which].as_mut().with_context(|| format!("{} is off", NAMES[which]))?;
        let mut daemon = seat.daemon.take().context("no daemon runs")?;
        daemon.kill()?;
        daemon.wait()?;
        Ok(())
    }

    /// The process id of a node's daemon.
    pub fn daemon_pid(&self, which: usize) -> Result<u32> {
        Ok(self.seat(which)?.daemon.as_ref().context("no daemon runs")?.id())
    }

    /// Asks a node's daemon, and waits for the answer.
    pub fn ask(&self, which: usize, request: &Value) -> Result<Value> {
        ask(&self.directory(which).join("run"), request)
    }

    /// The status of a node; an error while its daemon does not answer.
    pub fn status(&self, which: usize) -> Result<Value> {
        self.ask(which, &json!({"v": 1, "do": "status"}))
    }

    /// Whether a node's machine has the virtual address.
    pub fn has_address(&self, which: usize) -> bool {
        let Ok(machine) = self.machine(which) else { return false };
        let addresses = machine.netlink().and_then(|mut netlink| netlink.addresses());
        addresses.is_ok_and(|all| all.iter().any(|address| address.ip == VIRTUAL_ADDRESS))
    }

    /// Whether exactly the nodes named have the virtual address.
    pub fn is_owned_by(&self, owners: &[usize]) -> bool {
        (0..2).all(|which| self.has_address(which) == owners.contains(&which))
    }

    /// Whether all is at rest with the virtual address on `owner` alone: both nodes are active and say that they are stable.
    ///
    /// The address is looked for first: a node that has not begun yet is stable, too.
    pub fn rests(&self, owner: usize) -> bool {
        self.is_owned_by(&[owner]) && (0..2).all(|which| self.active_nodes(which) == 2 && self.is_stable(which))
    }

    /// The number of active nodes, as `which` sees it.
    pub fn active_nodes(&self, which: usize) -> usize {
        let status = self.status(which).unwrap_or_default();
        let nodes = status["nodes"].as_array().map_or(&[][..], Vec::as_slice);
        nodes.iter().filter(|node| node["status"] == "active").count()
    }

    /// Whether a node says that everything is at rest.
    pub fn is_stable(&self, which: usize) -> bool {
        self.status(which).is_ok_and(|status| status["stable"] == true)
    }

    /// Waits until a node's daemon has logged all these. Lines are written beside its loop: what they tell of is seen first.
    pub fn wait_for_log(&self, which: usize, phrases: &[&str], limit: Duration) -> Result<()> {
        for phrase in phrases {
            self.wait_until(&format!("{} logs `{phrase}`", NAMES[which]), limit, |testbed| {
                testbed.log(which).contains(phrase)
            })?;
        }
        Ok(())
    }

    /// What a node's daemon logged so far.
    pub fn log(&self, which: usize) -> String {
        fs::read_to_string(self.directory(which).join("log")).unwrap_or_default()
    }

    /// What a node's daemon wrote to its terminal.
    pub fn output(&self, which: usize) -> String {
        fs::read_to_string(self.directory(which).join("output")).unwrap_or_default()
    }

    /// Waits until `condition` holds; an error that says what was waited for, with both logs, after `limit`.
    pub fn wait_until(&self, what: &str, limit: Duration, mut condition: impl FnMut(&Testbed) -> bool) -> Result<()> {
        let end = Instant::now() + limit;
        while !condition(self) {
            if Instant::now() > end {
                let logs =
                    [0, 1].map(|which| format!("--- {}\n{}{}", NAMES[which], self.output(which), self.log(which)));
                bail!("waited {} s in vain until {what}\n{}", limit.as_secs(), logs.join("\n"));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }
}

fn wire(lab: &mut Lab, machine: &Machine, network: Network, which: usize, net: Net) -> Result<Cable> {
    let (interface, host) = (["eth0", "eth1"][net as usize], which + 1);
    let address = format!("10.{}.0.{host}/24", [77, 78][net as usize]).parse()?;
    Ok(lab.plug(machine, interface, network, &[address])?)
}

/// The process id of a daemon's guard, if it has one.
pub fn guard_of(daemon: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{daemon}/task/{daemon}/children")).ok()?;
    let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.into_iter().find(|pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == crate::guard::NAME)
    })
}

/// Kills a daemon's guard and waits until it can do nothing any more. The daemon is only stopped, so that it cannot tell
/// of that; it is to be killed next.
pub fn kill_guard(daemon: u32) -> Result<()> {
    let Some(guard) = guard_of(daemon) else { return Ok(()) };
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(daemon)?), nix::sys::signal::Signal::SIGSTOP)?;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(guard)?), nix::sys::signal::Signal::SIGKILL)?;
    let is_alive = || fs::read_to_string(format!("/proc/{guard}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    while is_alive() {
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// One question to the daemon whose control socket is in `run_dir`; at most a minute for the answer.
pub fn ask(run_dir: &Path, request: &Value) -> Result<Value> {
    let path = run_dir.join("control");
    let stream = UnixStream::connect(&path).with_context(|| format!("cannot reach {}", path.display()))?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    writeln!(&stream, "{request}")?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    serde_json::from_str(&line).with_context(|| format!("the daemon answered `{}`", line.trim()))
}

/// A directory of our own for temporary files; it is removed with its content.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// Makes an empty one.
    pub fn new() -> Result<Directory> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("heartbeat-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        Ok(Directory(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed stays; a destructor has nobody to tell.
        let _: std::io::Result<()> = fs::remove_dir_all(&self.0);
    }
}
