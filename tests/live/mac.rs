//! The example of a hardware address and a host name that move with the service (`examples/mac-takeover`): three nodes, two of
//! which serve and one backs both.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use hb_shell::net::namespace::{Cable, Lab, Machine, Network};
use hb_shell::testbed::Directory;
use libtest_mimic::Completion;
use std::io::Write as _;

use crate::Test;
use crate::daemons::{PATIENCE, program};
use crate::scene::Outcome;

pub(crate) const TESTS: &[Test] = &[("mac::hardware_address_and_host_name_move_with_the_service", three_nodes)];

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/mac-takeover");
/// The hardware addresses of the services.
const FIRST: &str = "02:00:00:00:00:01";
const SECOND: &str = "02:00:00:00:00:02";

/// A machine, the daemon in it, and what its interfaces were before that.
struct Node {
    daemon: Child,
    machine: Machine,
    cables: Vec<Cable>,
    own: [String; 2],
}

struct Three {
    nodes: [Option<Node>; 3],
    networks: [Network; 3],
    lab: Lab,
    directory: Directory,
}

impl Three {
    fn new() -> Result<Three> {
        let mut lab = Lab::new()?;
        let networks = [lab.network()?, lab.network()?, lab.network()?];
        let mut three = Three { nodes: [None, None, None], networks, lab, directory: Directory::new()? };
        for which in 0..3 {
            three.install(which)?;
            three.power_on(which)?;
        }
        Ok(three)
    }

    fn home(&self, which: usize) -> PathBuf {
        self.directory.path().join(format!("node{which}"))
    }

    /// The files of the example as they are, but for log and places; faster, so that the test is.
    fn install(&self, which: usize) -> Result<()> {
        let (home, example) = (self.home(which), Path::new(EXAMPLE));
        fs::create_dir_all(home.join("resource.d"))?;
        let ha_cf =
            fs::read_to_string(example.join("ha.cf"))?.replace("logfacility daemon", "logfile LOG\nrealtime off");
        let ha_cf = ha_cf.replace("LOG", &home.join("log").display().to_string());
        ensure!(ha_cf.contains("keepalive 500ms\n"));
        fs::write(home.join("ha.cf"), ha_cf.replace("keepalive 500ms", "keepalive 100ms"))?;
        fs::copy(example.join("haresources"), home.join("haresources"))?;
        let mut keys = OpenOptions::new().write(true).create_new(true).mode(0o600).open(home.join("authkeys"))?;
        keys.write_all(b"auth 1\n1 sha1 a-key-for-this-laboratory\n")?;
        for name in ["Remac1", "Remac2"] {
            let script = home.join("resource.d").join(name);
            fs::copy(example.join("Remac"), &script)?;
            fs::set_permissions(&script, Permissions::from_mode(0o755))?;
            let conf = fs::read_to_string(example.join(format!("{name}.conf")))?;
            fs::write(home.join(format!("{name}.conf")), format!("{conf}STATE={}\n", home.display()))?;
        }
        Ok(())
    }

    fn power_on(&mut self, which: usize) -> Result<()> {
        let machine = Machine::new(&format!("node{which}"), &[])?;
        let mut cables = Vec::new();
        for (at, interface) in ["eth0", "eth1", "eth2"].into_iter().enumerate() {
            let address = format!("10.{}.0.{}/24", 77 + at, which + 1).parse()?;
            cables.push(self.lab.plug(&machine, interface, self.networks[at], &[address])?);
        }
        let own = [mac(&machine, "eth0")?, mac(&machine, "eth2")?];
        let home = self.home(which);
        let output = OpenOptions::new().create(true).append(true).open(home.join("output"))?;
        // The host name is one of its own.
        let mut command = Command::new("unshare");
        command
            .arg("-u")
            .arg(program())
            .arg("run")
            .arg("--config-dir")
            .arg(&home)
            .arg("--state-dir")
            .arg(home.join("state"));
        command.arg("--run-dir").arg(home.join("run")).arg("--node").arg(format!("node{which}"));
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let daemon = machine.spawn(command).context("cannot start the daemon")?;
        self.nodes[which] = Some(Node { daemon, machine, cables, own });
        Ok(())
    }

    fn power_off(&mut self, which: usize) -> Result<()> {
        let Some(mut node) = self.nodes[which].take() else { bail!("node{which} is off") };
        for cable in node.cables {
            self.lab.set_joined(cable, false)?;
        }
        node.daemon.kill()?;
        node.daemon.wait()?;
        Ok(())
    }

    /// For each node that is on: what its service interfaces look like, `own` or a service's address, and its host name.
    fn looks(&self) -> Result<String> {
        let mut looks = Vec::new();
        for (which, node) in self.nodes.iter().enumerate() {
            let Some(node) = node else { continue };
            let mut words = Vec::new();
            for (interface, own) in ["eth0", "eth2"].into_iter().zip(&node.own) {
                let now = mac(&node.machine, interface)?;
                words.push(if now == *own { "own".to_owned() } else { now });
            }
            let mut command = Command::new("nsenter");
            command.args(["-u", "-t", &node.daemon.id().to_string(), "hostname"]);
            let name = String::from_utf8_lossy(&command.output()?.stdout).trim().to_owned();
            let name = if ["alpha", "gamma"].contains(&name.as_str()) { name } else { "itself".to_owned() };
            looks.push(format!("node{which} {} {name}", words.join(" ")));
        }
        Ok(looks.join(", "))
    }

    fn wait(&self, what: &str, wanted: &str) -> Result<()> {
        let end = Instant::now() + 2 * PATIENCE;
        loop {
            let looks = self.looks()?;
            if looks == wanted {
                return Ok(());
            }
            if Instant::now() > end {
                let logs = (0..3).map(|which| {
                    let read = |name| fs::read_to_string(self.home(which).join(name)).unwrap_or_default();
                    format!("--- node{which}\n{}{}", read("output"), read("log"))
                });
                bail!("{what}: {looks}, wanted {wanted}\n{}", logs.collect::<Vec<_>>().join("\n"));
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

impl Drop for Three {
    fn drop(&mut self) {
        for node in self.nodes.iter_mut().flatten() {
            // It may have ended.
            let _: std::io::Result<()> = node.daemon.kill();
            let _: std::io::Result<std::process::ExitStatus> = node.daemon.wait();
        }
    }
}

fn mac(machine: &Machine, interface: &str) -> Result<String> {
    let mut command = Command::new("ip");
    command.args(["-o", "link", "show", "dev", interface]).stdout(Stdio::piped());
    let output = machine.spawn(command)?.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.split_whitespace().skip_while(|word| *word != "link/ether").skip(1);
    Ok(words.next().with_context(|| format!("no hardware address in `{text}`"))?.to_owned())
}

fn three_nodes() -> Outcome {
    for tool in ["ip", "unshare", "nsenter"] {
        if Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            return Ok(Completion::ignored_with(format!("the program `{tool}` is not installed")));
        }
    }
    let mut three = Three::new()?;
    let home = format!("node0 {FIRST} own alpha, node1 own own itself, node2 own {SECOND} gamma");
    three.wait("each service is at home", &home)?;
    three.power_off(0)?;
    three.wait("node1 takes the first", &format!("node1 {FIRST} own alpha, node2 own {SECOND} gamma"))?;
    three.power_on(0)?;
    three.wait("the first goes home, and node1 is itself again", &home)?;
    three.power_off(2)?;
    three.wait("node1 takes the second", &format!("node0 {FIRST} own alpha, node1 own {SECOND} gamma"))?;
    three.power_on(2)?;
    three.wait("everybody is at home", &home)?;
    Ok(Completion::Completed)
}
