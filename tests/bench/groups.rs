//! Benchmarks of takeovers and moves of more than one address, live in namespaces; one JSON line a figure.
//!
//! ```text
//! cargo bench -p hb-tests --bench groups [-- RUNS]        10 runs if left out
//! ```
//!
//! 1. One group of an address and three scripts that do nothing: from the expiry of the dead time until the daemon says
//!    that the group runs, as a client hears it that watches.
//! 2. Fifty groups of one address each: from the expiry until the last address is there; and a planned move of all fifty,
//!    from the request until the last address is there, until the answer came, and how long five of the addresses did not
//!    answer an echo every millisecond. Five stand for fifty, since echoes to all would be what is measured.
//! 3. Three nodes, all of which list the group, with the native rule: from the expiry until the address is there.
//!
//! Expiry is the last heartbeat plus the dead time that it announces, both as the observer on the survivor saw them.

use anyhow::{Context as _, Result, ensure};
use hb_shell::net::echo::Probe;
use hb_shell::net::namespace::{self, Cable, Lab, Machine};
use hb_shell::testbed::{self, Directory, Setup, Testbed, VIRTUAL_ADDRESS};
use hb_tests::figures::{millis, print};
use hb_tests::is_root;
use hb_tests::observe::{Observer, Seen, takeover_delay};
use serde_json::json;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const KEEPALIVE: Duration = Duration::from_millis(250);
const DEADTIME: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_mins(1);
/// After this a daemon announces its plain dead time (WIRE 10.2).
const START_GRACE: Duration = Duration::from_millis(5500);
const GROUPS: u8 = 50;
/// Those whose answers are looked at during a move.
const PROBED: [u8; 5] = [0, 12, 25, 37, 49];

fn main() -> Result<()> {
    namespace::enter()?;
    let mut arguments = std::env::args().skip(1).filter(|text| text != "--bench");
    let runs: usize = arguments.next().map_or(Ok(10), |text| text.parse()).context("RUNS is a number")?;
    let series = |measure: &dyn Fn() -> Result<f64>| (0..runs).map(|_| measure()).collect::<Result<Vec<f64>>>();
    print("expiry -> a group of an address and three scripts runs", &series(&scripts)?, "ms");
    print("expiry -> all of fifty addresses present", &series(&fifty)?, "ms");
    moves(runs)?;
    print("expiry -> address present, three nodes, native", &series(&three)?, "ms");
    Ok(())
}

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_heartbeat-under-test"))
}

fn vip() -> Ipv4Addr {
    match VIRTUAL_ADDRESS {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => unreachable!("the testbed's address is IPv4"),
    }
}

/// The address of a group of fifty.
fn address(group: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 100 + group)
}

/// A pair that rests, with everything on h1 and its plain dead times announced.
fn settled(haresources: &str, prepare: impl Fn(&Path) -> Result<()>) -> Result<Testbed> {
    let mut setup = Setup { realtime: is_root(), ..Setup::new(program(), KEEPALIVE, DEADTIME, false) };
    haresources.clone_into(&mut setup.haresources);
    let mut testbed = Testbed::new(setup)?;
    for which in 0..2 {
        prepare(&testbed.directory(which))?;
    }
    testbed.start(0)?;
    testbed.start(1)?;
    testbed.wait_until("the pair is settled", PATIENCE, |testbed| {
        testbed.is_owned_by(&[0]) && (0..2).all(|which| testbed.is_stable(which))
    })?;
    std::thread::sleep(START_GRACE);
    Ok(testbed)
}

/// What a daemon reports, with the time at which this process read it.
fn listen(run_dir: &Path, phrase: &'static str) -> Result<std::thread::JoinHandle<Option<Instant>>> {
    let stream = UnixStream::connect(run_dir.join("control"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    writeln!(&stream, "{}", json!({"v": 1, "do": "watch"}))?;
    let mut lines = BufReader::new(stream).lines();
    lines.next().context("the daemon answers")??;
    Ok(std::thread::spawn(move || {
        lines.map_while(Result::ok).find(|line| line.contains(phrase)).map(|_| Instant::now())
    }))
}

/// When the dead time of the watched node was over.
fn expiry(seen: &[(Instant, Seen)]) -> Option<Instant> {
    seen.iter().rev().find_map(|(at, what)| if let Seen::Heartbeat(dead) = what { Some(*at + *dead) } else { None })
}

fn scripts() -> Result<f64> {
    let line = format!("h1 {VIRTUAL_ADDRESS}/24/eth0 Nothing1 Nothing2 Nothing3\n");
    let mut testbed = settled(&line, |home| {
        fs::create_dir_all(home.join("resource.d"))?;
        for number in 1..=3 {
            let path = home.join(format!("resource.d/Nothing{number}"));
            // It says that it is stopped, or it would not be started.
            fs::write(&path, "#!/bin/sh\ncase $1 in status) echo stopped; exit 3 ;; esac\nexit 0\n")?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    })?;
    let observer = Observer::start(testbed.machine(1)?, "h1", &[vip()])?;
    let runs = listen(&testbed.directory(1).join("run"), "runs here (took")?;
    std::thread::sleep(KEEPALIVE * 3);
    testbed.power_off(0)?;
    let at = runs.join().ok().flatten().context("the daemon says that the group runs")?;
    let expiry = expiry(&observer.stop()).context("heartbeats were heard")?;
    Ok(millis(at.checked_duration_since(expiry).context("not before the expiry")?))
}

fn fifty_lines() -> String {
    (0..GROUPS).fold(String::new(), |mut text, group| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "h1 {}/24/eth0", address(group));
        text
    })
}

fn fifty() -> Result<f64> {
    let mut testbed = settled(&fifty_lines(), |_| Ok(()))?;
    let addresses: Vec<Ipv4Addr> = (0..GROUPS).map(address).collect();
    let observer = Observer::start(testbed.machine(1)?, "h1", &addresses)?;
    std::thread::sleep(KEEPALIVE * 3);
    testbed.power_off(0)?;
    testbed.wait_until("h2 rests with all", PATIENCE, |testbed| testbed.has_address(1) && testbed.is_stable(1))?;
    takeover_delay(&observer.stop(), usize::from(GROUPS)).map(millis).map_err(anyhow::Error::msg)
}

fn moves(runs: usize) -> Result<()> {
    let testbed = settled(&fifty_lines(), |_| Ok(()))?;
    let addresses: Vec<Ipv4Addr> = (0..GROUPS).map(address).collect();
    let (mut present, mut answered, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..runs {
        let (from, to) = (run % 2, 1 - run % 2);
        let probes =
            PROBED.map(|group| Probe::start(testbed.client(), address(group).into(), Duration::from_millis(1)));
        let probes = probes.into_iter().collect::<std::io::Result<Vec<_>>>()?;
        ensure!(probes.iter().all(|probe| probe.wait_for_answer(PATIENCE)), "the addresses answer before a move");
        let observer = Observer::start(testbed.machine(to)?, "h1", &addresses)?;
        let begun = Instant::now();
        let answer = testbed.ask(from, &json!({"v": 1, "do": "standby", "set": "all"}))?;
        answered.push(millis(begun.elapsed()));
        ensure!(answer["ok"] == true, "{answer}");
        ensure!(probes.iter().all(|probe| probe.wait_for_answer(PATIENCE)), "the addresses answer after a move");
        let seen = observer.stop();
        let up: Vec<Instant> =
            seen.iter().filter_map(|(at, what)| matches!(what, Seen::Address(_)).then_some(*at)).collect();
        ensure!(up.len() == usize::from(GROUPS), "{} addresses came up", up.len());
        present.extend(up.iter().max().map(|last| millis(last.duration_since(begun))));
        for probe in probes {
            gaps.push(millis(probe.stop().longest_gap_between(begun, Instant::now())));
        }
        testbed.wait_until("all rests", PATIENCE, |testbed| (0..2).all(|which| testbed.is_stable(which)))?;
    }
    print("planned move of fifty groups: request -> the last address present", &present, "ms");
    print("planned move of fifty groups: request -> answer", &answered, "ms");
    print("planned move of fifty groups: outage of one address, echoed every millisecond", &gaps, "ms");
    Ok(())
}

// ---- three nodes ----

/// Three machines on a service and a heartbeat network, with daemons that end with this.
struct Three {
    daemons: Vec<Child>,
    machines: Vec<(Machine, [Cable; 2])>,
    lab: Lab,
    directory: Directory,
}

impl Three {
    fn start() -> Result<Three> {
        let mut lab = Lab::new()?;
        let networks = [lab.network()?, lab.network()?];
        let mut machines = Vec::new();
        for host in 1..=3 {
            let machine = Machine::new(&format!("h{host}"), &[])?;
            let mut plug = |number: usize| -> Result<Cable> {
                let address = format!("10.{}.0.{host}/24", 77 + number).parse()?;
                Ok(lab.plug(&machine, &format!("eth{number}"), networks[number], &[address])?)
            };
            let cables = [plug(0)?, plug(1)?];
            machines.push((machine, cables));
        }
        let mut three = Three { daemons: Vec::new(), machines, lab, directory: Directory::new()? };
        for which in 0..3 {
            let home = three.home(which);
            write_files(&home)?;
            let machine = &three.machines[which].0;
            let mut command = Command::new(program());
            command.arg("run").arg("--config-dir").arg(&home).arg("--state-dir").arg(home.join("state"));
            command.arg("--run-dir").arg(home.join("run")).args(["--node", machine.name()]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            three.daemons.push(machine.spawn(command)?);
        }
        let rests = |three: &Three, which: usize| {
            let status = testbed::ask(&three.home(which).join("run"), &json!({"v": 1, "do": "status"}));
            status.is_ok_and(|status| {
                let nodes = status["nodes"].as_array().map_or(&[][..], Vec::as_slice);
                status["stable"] == true && nodes.iter().filter(|node| node["status"] == "active").count() == 3
            })
        };
        let begun = Instant::now();
        while !(0..3).all(|which| rests(&three, which)) || !three.has_address(0)? {
            ensure!(begun.elapsed() < PATIENCE, "three nodes do not settle");
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(START_GRACE);
        Ok(three)
    }

    fn home(&self, which: usize) -> PathBuf {
        self.directory.path().join(self.machines[which].0.name())
    }

    fn has_address(&self, which: usize) -> Result<bool> {
        Ok(self.machines[which].0.netlink()?.addresses()?.iter().any(|entry| entry.ip == VIRTUAL_ADDRESS))
    }
}

impl Drop for Three {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            // What has ended already needs no end.
            let _gone = daemon.kill();
            let _reaped = daemon.wait();
        }
    }
}

fn write_files(home: &Path) -> Result<()> {
    fs::create_dir_all(home)?;
    let ha_cf = format!(
        "node h1 h2 h3\nkeepalive {}ms\ndeadtime {}ms\ninitdead 10\nauto_failback off\nbcast eth1\nlogfile /dev/null\nrealtime {}\n",
        KEEPALIVE.as_millis(),
        DEADTIME.as_millis(),
        if is_root() { "on" } else { "off" },
    );
    fs::write(home.join("ha.cf"), ha_cf)?;
    fs::write(home.join("haresources"), format!("h1 {VIRTUAL_ADDRESS}/24/eth0\n"))?;
    let keys = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(home.join("authkeys"));
    Ok(keys?.write_all(b"auth 1\n1 sha1 a-key-for-this-laboratory\n")?)
}

fn three() -> Result<f64> {
    let mut three = Three::start()?;
    let observer = Observer::start(&three.machines[1].0, "h1", &[vip()])?;
    std::thread::sleep(KEEPALIVE * 3);
    // A power failure: silent at once, on both networks.
    for cable in three.machines[0].1 {
        three.lab.set_joined(cable, false)?;
    }
    let begun = Instant::now();
    while !three.has_address(1)? {
        ensure!(begun.elapsed() < PATIENCE, "h2 does not take over");
        std::thread::sleep(Duration::from_millis(2));
    }
    takeover_delay(&observer.stop(), 1).map(millis).map_err(anyhow::Error::msg)
}
