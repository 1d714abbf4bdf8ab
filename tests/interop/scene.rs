//! The scene of every test here: nodes of ours and of the real program, one or two heartbeat networks with a relay in each,
//! and words to say what both sides must show.
//!
//! ```text
//!   h1 (ours)   eth0 10.77.0.1   eth1 10.78.0.1   eth2 10.79.0.1      eth0: the service network, where addresses move
//!   h2 (real)   eth0 10.77.0.2   eth1 10.78.0.2   eth2 10.79.0.2      eth1, eth2: heartbeats, through a relay each
//!
//!   haresources: A is 10.77.0.100, at home on h1; B is 10.77.0.101, at home on h2
//! ```

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hb_core::auth::Keyring;
use hb_core::config::{SourceText, authkeys};
use hb_shell::net::namespace::{Lab, Machine, Network};
use hb_shell::testbed::{self, Directory};
use hb_tests::cable::NullModem;
use hb_tests::real::RealNode;
use hb_tests::relay::Relay;
use libtest_mimic::Completion;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// What a test says: done, or ignored with a reason.
pub(crate) type Outcome = Result<Completion>;

/// Only a failing test waits so long; a real pair needs 20 s to start and 25 s after a partition.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// How often the nodes are asked.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Names of groups and the last number of their address.
const GROUPS: [(&str, u8); 2] = [("A", 100), ("B", 101)];

/// Which program a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    Real,
}

pub(crate) use Kind::{Ours, Real};

/// What a scene is made of; a test changes what it is about.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: Vec<NodePlan>,
    /// How many heartbeat networks there are: eth1, eth2.
    pub(crate) wires: usize,
    /// Whether a null-modem cable joins h1 and h2. Each has its end at [`TTY`] in its own directory, and `TTY` in an ha.cf
    /// stands for that path.
    pub(crate) cable: bool,
}

/// The name of a node's serial line.
const TTY: &str = "tty";

/// One node: its program and its files. ha.cf stands without log lines, and is in front of them.
#[derive(Clone, Debug)]
pub(crate) struct NodePlan {
    pub(crate) kind: Kind,
    pub(crate) ha_cf: String,
    pub(crate) haresources: String,
    pub(crate) authkeys: String,
    /// Whether it manages resources; without (`-M`) it says nothing about them.
    pub(crate) managed: bool,
}

impl Plan {
    /// Nodes h1, h2 ... with the timings of the laboratory of the specification, and a group at home on each of two; the
    /// nodes of a larger cluster are members and have no groups.
    pub(crate) fn new(kinds: &[Kind]) -> Plan {
        let names: Vec<String> = (1..=kinds.len()).map(|number| format!("h{number}")).collect();
        let pair = "h1 IPaddr2::10.77.0.100/24/eth0\nh2 IPaddr2::10.77.0.101/24/eth0\n";
        let node = |kind: &Kind| NodePlan {
            kind: *kind,
            ha_cf: format!(
                "node {}\nkeepalive 250ms\nwarntime 1500ms\ndeadtime 3\ninitdead 8\nauto_failback on\nrealtime off\nbcast eth1\n",
                names.join(" ")
            ),
            haresources: if kinds.len() == 2 { pair.to_owned() } else { String::new() },
            authkeys: "auth 1\n1 sha1 a-key-for-this-laboratory\n".to_owned(),
            managed: true,
        };
        Plan { nodes: kinds.iter().map(node).collect(), wires: 1, cable: false }
    }

    /// Replaces a text in every ha.cf.
    pub(crate) fn with(mut self, from: &str, to: &str) -> Plan {
        for node in &mut self.nodes {
            assert!(node.ha_cf.contains(from), "ha.cf has no `{from}`");
            node.ha_cf = node.ha_cf.replace(from, to);
        }
        self
    }

    /// Nobody manages resources.
    pub(crate) fn unmanaged(mut self) -> Plan {
        self.nodes.iter_mut().for_each(|node| node.managed = false);
        self
    }

    /// Gives all nodes these keys.
    pub(crate) fn signed(mut self, authkeys: &str) -> Plan {
        for node in &mut self.nodes {
            authkeys.clone_into(&mut node.authkeys);
        }
        self
    }
}

/// A node: its machine while that is on, its program while that runs.
struct Seat {
    plan: NodePlan,
    daemon: Option<Child>,
    real: Option<RealNode>,
    machine: Option<Machine>,
}

/// Everything together; nothing outlives it.
pub(crate) struct Scene {
    seats: Vec<Seat>,
    pub(crate) wires: Vec<Relay>,
    cable: Option<NullModem>,
    lab: Lab,
    service: Network,
    directory: Directory,
}

impl Scene {
    /// Wires everything and writes the files; the machines are on and nothing runs.
    pub(crate) fn new(plan: Plan) -> Result<Scene> {
        let mut lab = Lab::new()?;
        let service = lab.network()?;
        let count = plan.nodes.len();
        let wires = (0..plan.wires).map(|_| Relay::new(&mut lab, count)).collect::<Result<_>>()?;
        let directory = Directory::new()?;
        let mut scene = Scene { seats: Vec::new(), wires, cable: None, lab, service, directory };
        for mut node in plan.nodes {
            let which = scene.seats.len();
            let home = scene.home(which);
            node.ha_cf = node.ha_cf.replace("TTY", &home.join(TTY).display().to_string());
            let NodePlan { kind, ha_cf, haresources, authkeys, managed } = &node;
            let real = match kind {
                Real => {
                    let options: &[&str] = if *managed { &[] } else { &["-M"] };
                    Some(RealNode::new(&home, ha_cf, haresources, authkeys)?.with_options(options))
                }
                Ours => {
                    fs::create_dir_all(&home)?;
                    fs::write(home.join("ha.cf"), format!("{ha_cf}logfile {}\n", home.join("log").display()))?;
                    fs::write(home.join("haresources"), haresources)?;
                    let file = home.join("authkeys");
                    let mut keys = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
                    keys.write_all(authkeys.as_bytes())?;
                    None
                }
            };
            scene.seats.push(Seat { plan: node, daemon: None, real, machine: None });
            scene.power_on(which)?;
        }
        if plan.cable {
            scene.cable = Some(NullModem::new([0, 1].map(|which| scene.home(which).join(TTY)))?);
        }
        Ok(scene)
    }

    /// A scene whose nodes were all started, in order.
    pub(crate) fn started(plan: Plan) -> Result<Scene> {
        let mut scene = Scene::new(plan)?;
        for which in 0..scene.seats.len() {
            scene.start(which)?;
        }
        Ok(scene)
    }

    fn home(&self, which: usize) -> PathBuf {
        self.directory.path().join(name(which))
    }

    pub(crate) fn machine(&self, which: usize) -> Result<&Machine> {
        self.seats[which].machine.as_ref().with_context(|| format!("{} is off", name(which)))
    }

    pub(crate) fn real(&self, which: usize) -> &RealNode {
        self.seats[which].real.as_ref().expect("a real node")
    }

    // ---- what happens to nodes ----

    /// Switches a machine on: fresh interfaces, nothing running, files as before.
    pub(crate) fn power_on(&mut self, which: usize) -> Result<()> {
        let mounts = self.seats[which].real.as_ref().map(RealNode::mounts).unwrap_or_default();
        let machine = Machine::new(&name(which), &mounts)?;
        let host = which + 1;
        self.lab.plug(&machine, "eth0", self.service, &[format!("10.77.0.{host}/24").parse()?])?;
        for (wire, relay) in self.wires.iter().enumerate() {
            let address = format!("10.{}.0.{host}/24", 78 + wire).parse()?;
            self.lab.plug(&machine, &format!("eth{}", wire + 1), relay.network(which), &[address])?;
        }
        self.seats[which].machine = Some(machine);
        Ok(())
    }

    /// One more machine in the service network, which answers whoever pings it at 10.77.0.`number`.
    pub(crate) fn plug_host(&mut self, number: u8) -> Result<Machine> {
        let host = Machine::new(&format!("host{number}"), &[])?;
        self.lab.plug(&host, "eth0", self.service, &[format!("10.77.0.{number}/24").parse()?])?;
        Ok(host)
    }

    /// A power failure: everything in the machine is gone, its addresses too.
    pub(crate) fn power_off(&mut self, which: usize) -> Result<()> {
        self.kill(which)?;
        self.seats[which].machine = None;
        Ok(())
    }

    /// All programs of the node die at once; machine and addresses stay.
    pub(crate) fn kill(&mut self, which: usize) -> Result<()> {
        let seat = &mut self.seats[which];
        if let Some(machine) = &seat.machine {
            // Our child is gone for the machine only after it was waited for, so it goes first.
            if let Some(mut daemon) = seat.daemon.take() {
                testbed::kill_guard(daemon.id())?;
                daemon.kill()?;
                daemon.wait()?;
            }
            if let Some(real) = &mut seat.real {
                real.reap()?;
            }
            machine.kill_programs()?;
        }
        Ok(())
    }

    /// The daemon of a node of ours is killed, and nothing else.
    pub(crate) fn kill_daemon(&mut self, which: usize) -> Result<()> {
        let mut daemon = self.seats[which].daemon.take().context("no daemon of ours runs")?;
        daemon.kill()?;
        daemon.wait()?;
        Ok(())
    }

    /// Runs our `heartbeat` with the directories of a node.
    fn command(&self, which: usize, arguments: &[&str]) -> Command {
        let home = self.home(which);
        let mut command = Command::new(env!("CARGO_BIN_EXE_heartbeat-under-test"));
        command.args(arguments).arg("--config-dir").arg(&home).arg("--state-dir").arg(home.join("state"));
        command.arg("--run-dir").arg(home.join("run")).arg("--node").arg(name(which)).stdin(Stdio::null());
        command
    }

    /// Starts the program of a node and waits for nothing.
    pub(crate) fn start(&mut self, which: usize) -> Result<()> {
        let arguments: &[&str] = if self.seats[which].plan.managed { &["run"] } else { &["run", "-M"] };
        let mut command = self.command(which, arguments);
        let output = OpenOptions::new().create(true).append(true).open(self.home(which).join("output"))?;
        command.stdout(output.try_clone()?).stderr(output);
        let Seat { daemon, real, machine, .. } = &mut self.seats[which];
        let machine = machine.as_ref().with_context(|| format!("{} is off", name(which)))?;
        match real {
            Some(real) => real.start(machine)?,
            None => *daemon = Some(machine.spawn(command).context("cannot start our daemon")?),
        }
        Ok(())
    }

    /// Ends the program of a node gracefully, and waits for its end.
    pub(crate) fn stop(&mut self, which: usize) -> Result<()> {
        let seat = &mut self.seats[which];
        let code = match (&mut seat.real, seat.daemon.take()) {
            (Some(real), _) => real.stop()?,
            (None, Some(mut daemon)) => {
                kill(Pid::from_raw(i32::try_from(daemon.id())?), Signal::SIGTERM)?;
                daemon.wait()?.code()
            }
            (None, None) => bail!("{} does not run", name(which)),
        };
        ensure!(code == Some(0), "{} ended with {code:?}\n{}", name(which), self.log(which));
        Ok(())
    }

    /// Orders a node to give up the groups of a set; the real one does not say when it is done.
    pub(crate) fn standby(&self, which: usize, set: &str) -> Result<()> {
        self.order(which, "standby", "/usr/share/heartbeat/hb_standby", set)
    }

    /// Orders a node to take the groups of a set from the others.
    pub(crate) fn takeover(&self, which: usize, set: &str) -> Result<()> {
        self.order(which, "takeover", "/usr/share/heartbeat/hb_takeover", set)
    }

    /// Writes other keys; the node hears of it at its next [`reload`](Self::reload).
    pub(crate) fn set_keys(&self, which: usize, authkeys: &str) -> Result<()> {
        match &self.seats[which].real {
            Some(real) => real.set_keys(authkeys),
            None => Ok(fs::write(self.home(which).join("authkeys"), authkeys)?),
        }
    }

    /// Orders a node to read its files again; the real one does not say when it is done.
    pub(crate) fn reload(&self, which: usize) -> Result<()> {
        if let Some(real) = &self.seats[which].real {
            return real.hang_up();
        }
        let output = self.command(which, &["reload"]).output()?;
        ensure!(output.status.success(), "reload: {output:?}\n{}", self.log(which));
        Ok(())
    }

    fn order(&self, which: usize, ours: &str, real: &str, set: &str) -> Result<()> {
        if self.seats[which].real.is_some() {
            RealNode::tool(self.machine(which)?, real, &[set])?;
            return Ok(());
        }
        let output = self.command(which, &[ours, set]).output()?;
        ensure!(output.status.success(), "{ours} {set}: {output:?}\n{}", self.log(which));
        Ok(())
    }

    /// Runs one of the tools that speak through the FIFO at a node: that of its own program.
    pub(crate) fn tool(&self, which: usize, name: &str, arguments: &[&str]) -> Result<()> {
        if self.seats[which].real.is_some() {
            RealNode::tool(self.machine(which)?, &format!("/usr/share/heartbeat/{name}"), arguments)?;
            return Ok(());
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_heartbeat-under-test"));
        command.arg(name).args(arguments).env("HA_FIFO", self.state(which).join("fifo")).stdin(Stdio::null());
        let output = command.output()?;
        ensure!(output.status.success(), "{name} {arguments:?}: {output:?}");
        Ok(())
    }

    /// How many nodes there are.
    pub(crate) fn size(&self) -> usize {
        self.seats.len()
    }

    /// Where a node keeps its state.
    pub(crate) fn state(&self, which: usize) -> PathBuf {
        self.seats[which].real.as_ref().map_or_else(|| self.home(which).join("state"), RealNode::state)
    }

    // ---- what nodes show ----

    /// The members that a node counts and how it sees them, by name: `h1=active h2=dead`; `-` while it does not answer.
    pub(crate) fn members(&self, which: usize) -> String {
        let members = if self.seats[which].real.is_some() { self.real_members(which) } else { self.our_members(which) };
        let Ok(mut members) = members else { return "-".to_owned() };
        members.sort_unstable();
        members.join(" ")
    }

    fn our_members(&self, which: usize) -> Result<Vec<String>> {
        let status = self.status(which)?;
        let nodes = status["nodes"].as_array().context("no nodes")?;
        let word = |node: &Value, field: &str| node[field].as_str().unwrap_or("?").to_owned();
        Ok(nodes.iter().map(|node| format!("{}={}", word(node, "name"), word(node, "status"))).collect())
    }

    fn real_members(&self, which: usize) -> Result<Vec<String>> {
        ensure!(self.real(which).is_started());
        let names = RealNode::tool(self.machine(which)?, "/usr/bin/cl_status", &["listnodes", "-n"])?;
        let names = names.split_whitespace();
        names.map(|name| Ok(format!("{name}={}", self.real_says_of(which, name)?))).collect()
    }

    /// The status of a node of ours.
    pub(crate) fn status(&self, which: usize) -> Result<Value> {
        testbed::ask(&self.home(which).join("run"), &json!({"v": 1, "do": "status"}))
    }

    /// How a node sees the cluster, ours and the real one in the same words: the status of each configured node in order,
    /// then what it holds, or `transition`. `-` while it does not answer.
    pub(crate) fn says(&self, which: usize) -> String {
        let said = if self.seats[which].real.is_some() { self.real_says(which) } else { self.ours_says(which) };
        said.unwrap_or_else(|_| "-".to_owned())
    }

    fn ours_says(&self, which: usize) -> Result<String> {
        ensure!(self.seats[which].daemon.is_some());
        let status = self.status(which)?;
        let nodes = status["nodes"].as_array().context("no nodes")?.iter().filter(|node| node["type"] != "ping");
        let nodes = nodes.map(|node| node["status"].as_str().unwrap_or("?"));
        let stable = status["stable"] == true && status["active"] == true;
        let holds = if stable { status["holding"].as_str().unwrap_or("?") } else { "transition" };
        Ok(nodes.chain([holds]).collect::<Vec<_>>().join(" "))
    }

    fn real_says(&self, which: usize) -> Result<String> {
        ensure!(self.real(which).is_started());
        let ask = |arguments: &[&str]| RealNode::tool(self.machine(which)?, "/usr/bin/cl_status", arguments);
        // Names it was configured with, in its order, which cl_status does not keep.
        let configured = self.seats[which].plan.ha_cf.lines().find_map(|line| line.strip_prefix("node "));
        let mut said = Vec::new();
        for node in configured.unwrap_or_default().split_whitespace() {
            said.push(self.real_says_of(which, node)?);
        }
        said.push(ask(&["rscstatus"])?.trim().to_owned());
        Ok(said.join(" "))
    }

    /// The status of a node as a real one says it.
    fn real_says_of(&self, which: usize, node: &str) -> Result<String> {
        // The exit code tells dead from alive, too.
        let mut command = Command::new("/usr/bin/cl_status");
        command.args(["nodestatus", node]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let output = self.machine(which)?.spawn(command)?.wait_with_output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// The status of a ping node as `which` says it; empty while it says nothing.
    pub(crate) fn says_of_ping(&self, which: usize, host: &str) -> String {
        if self.seats[which].real.is_some() {
            return self.real_says_of(which, host).unwrap_or_default();
        }
        let status = self.status(which).unwrap_or_default();
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        let node = nodes.into_iter().find(|node| node["name"] == host).unwrap_or_default();
        node["status"].as_str().unwrap_or_default().to_owned()
    }

    /// Which machines have which address, as the kernel knows: `A@h1 B@h2`, `A@h1+h2 B@-`.
    pub(crate) fn placement(&self) -> String {
        let has = |which: usize, number: u8| {
            let address = IpAddr::V4(Ipv4Addr::new(10, 77, 0, number));
            let addresses = self.machine(which).and_then(|machine| Ok(machine.netlink()?.addresses()?));
            addresses.is_ok_and(|all| all.iter().any(|entry| entry.ip == address))
        };
        let place = |(group, number): (&str, u8)| {
            let owners: Vec<String> = (0..self.seats.len()).filter(|which| has(*which, number)).map(name).collect();
            format!("{group}@{}", if owners.is_empty() { "-".to_owned() } else { owners.join("+") })
        };
        GROUPS.map(place).join(" ")
    }

    /// Waits until every node says what is expected of it and the addresses are where they shall be.
    pub(crate) fn settles(&self, what: &str, says: &[&str], placement: &str) -> Result<()> {
        let settled = |scene: &Scene| {
            scene.placement() == placement && (0..says.len()).all(|which| scene.says(which) == says[which])
        };
        self.wait(&format!("{what}: nodes say {says:?}, {placement}"), settled)
    }

    /// Waits until `condition` holds; in vain, the error shows what everybody says and logged.
    pub(crate) fn wait(&self, what: &str, mut condition: impl FnMut(&Scene) -> bool) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while !condition(self) {
            ensure!(Instant::now() < end, "waited {PATIENCE:?} in vain for {what}\nnow: {self:?}");
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// What a node logged so far, in all its lives.
    pub(crate) fn log(&self, which: usize) -> String {
        if let Some(real) = &self.seats[which].real {
            return real.log();
        }
        // Its terminal repeats what is in its log, and has more only where it could not start.
        let read = |file: &str| fs::read_to_string(self.home(which).join(file)).ok().filter(|text| !text.is_empty());
        read("log").or_else(|| read("output")).unwrap_or_default()
    }

    /// Waits until a node logged each of the phrases.
    pub(crate) fn logged(&self, which: usize, phrases: &[&str]) -> Result<()> {
        for phrase in phrases {
            self.wait(&format!("`{phrase}` in the log of {}", name(which)), |scene| scene.log(which).contains(phrase))?;
        }
        Ok(())
    }

    /// Nobody has complained: no error in a log but lines with one of the `expected` phrases, no packet dropped by a node
    /// of ours that runs.
    pub(crate) fn without_complaint(&self, expected: &[&str]) -> Outcome {
        for which in 0..self.seats.len() {
            self.without_complaint_of(which, expected)?;
        }
        Ok(Completion::Completed)
    }

    /// The same of one node.
    pub(crate) fn without_complaint_of(&self, which: usize, expected: &[&str]) -> Outcome {
        let log = self.log(which);
        // One that answers later than within a second, on a computer that is busy, is asked again.
        let has_impatient_peer = self.seats.iter().any(|seat| seat.plan.kind == Ours);
        let is_impatience = |line: &str| has_impatient_peer && line.contains("Received 'starting' message in state 2");
        let bad = |line: &&str| (line.contains("ERROR") || line.contains("CRIT")) && !is_impatience(line);
        let unexpected = |line: &&str| !expected.iter().any(|phrase| line.contains(phrase));
        let complaints: Vec<&str> = log.lines().filter(bad).filter(unexpected).collect();
        ensure!(complaints.is_empty(), "{} complains:\n{}\n{self:?}", name(which), complaints.join("\n"));
        if self.seats[which].daemon.is_some() {
            let dropped = self.status(which)?["dropped"].clone();
            let none = dropped.as_object().is_some_and(|kinds| kinds.values().all(|count| count == 0));
            ensure!(none, "{} dropped packets: {dropped}\n{log}", name(which));
        }
        Ok(Completion::Completed)
    }

    // ---- packets ----

    /// The keys of a node, to read packets with.
    pub(crate) fn keyring(&self, which: usize) -> Keyring {
        let bytes = self.seats[which].plan.authkeys.as_bytes();
        let (keyring, problems) = authkeys::parse(SourceText { name: "authkeys", bytes });
        keyring.unwrap_or_else(|| panic!("keys of a scene: {problems:?}"))
    }
}

impl fmt::Debug for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.placement())?;
        for which in 0..self.seats.len() {
            write!(f, "; {} says {}", name(which), self.says(which))?;
        }
        for which in 0..self.seats.len() {
            write!(f, "\n--- log of {} ({:?})\n{}", name(which), self.seats[which].plan.kind, self.log(which))?;
        }
        Ok(())
    }
}

/// The name of a node.
pub(crate) fn name(which: usize) -> String {
    format!("h{}", which + 1)
}
