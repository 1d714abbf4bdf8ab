//! Benchmarks of a cluster as a whole, live in namespaces; one JSON line a figure.
//!
//! ```text
//! cargo bench -p hb-tests --bench cluster [-- SECONDS]        how long each is watched; 30 if left out
//! ```
//!
//! 1. Eight nodes at 100 ms with two media: the processor time of one of them.
//! 2. A hundred thousand packets a second that nobody of the cluster signed, on one medium of a pair: how late its own
//!    heartbeats get.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hb_core::auth::{Framing, Key, Keyring, Method, Sealing};
use hb_core::wire::Fields;
use hb_shell::net::namespace::{self, Lab, Machine};
use hb_shell::testbed::{self, Directory, Setup, Testbed};
use hb_tests::observe::{Observer, Seen};
use hb_tests::{is_root, processor_time};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

const NODES: usize = 8;
const KEEPALIVE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_mins(1);
/// Packets of strangers a second.
const STRANGERS: u32 = 100_000;

fn main() -> Result<()> {
    namespace::enter()?;
    let seconds = std::env::args()
        .skip(1)
        .find(|text| text != "--bench")
        .map_or(Ok(30), |text| text.parse())
        .context("SECONDS is a number")?;
    let watched = Duration::from_secs(seconds);
    eight(watched)?;
    strangers(watched)
}

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_heartbeat-under-test"))
}

// ---- eight nodes ----

/// The machines with a daemon in each; they end with this.
struct Cluster {
    daemons: Vec<Child>,
    _machines: Vec<Machine>,
    _lab: Lab,
    directory: Directory,
}

impl Cluster {
    fn started() -> Result<Cluster> {
        let (mut lab, directory) = (Lab::new()?, Directory::new()?);
        let networks = [lab.network()?, lab.network()?];
        let names: Vec<String> = (1..=NODES).map(|number| format!("h{number}")).collect();
        let ha_cf = format!(
            "node {}\nkeepalive {}ms\ndeadtime 2\ninitdead 10\nauto_failback off\nbcast eth0 eth1\nlogfile /dev/null\nrealtime {}\n",
            names.join(" "),
            KEEPALIVE.as_millis(),
            if is_root() { "on" } else { "off" },
        );
        let (mut machines, mut daemons) = (Vec::new(), Vec::new());
        for (host, name) in names.iter().enumerate() {
            let machine = Machine::new(name, &[])?;
            for (number, network) in networks.into_iter().enumerate() {
                let address = format!("10.{}.0.{}/24", 77 + number, host + 1).parse()?;
                lab.plug(&machine, &format!("eth{number}"), network, &[address])?;
            }
            let home = directory.path().join(name);
            write_files(&home, &ha_cf)?;
            let mut command = Command::new(program());
            command.arg("run").arg("--config-dir").arg(&home).arg("--state-dir").arg(home.join("state"));
            command.arg("--run-dir").arg(home.join("run")).args(["--node", name]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            daemons.push(machine.spawn(command)?);
            machines.push(machine);
        }
        let cluster = Cluster { daemons, _machines: machines, _lab: lab, directory };
        let begun = Instant::now();
        while !names.iter().all(|name| cluster.sees_all(name)) {
            ensure!(begun.elapsed() < PATIENCE, "eight nodes do not become active");
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(cluster)
    }

    fn sees_all(&self, name: &str) -> bool {
        let status = testbed::ask(&self.directory.path().join(name).join("run"), &json!({"v": 1, "do": "status"}));
        let nodes = status.ok().and_then(|status| status["nodes"].as_array().cloned()).unwrap_or_default();
        nodes.iter().filter(|node| node["status"] == "active").count() == NODES
    }

    /// Of all nodes together.
    fn processor_time(&self) -> Result<Duration> {
        self.daemons.iter().map(|daemon| processor_time(daemon.id())).sum()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            // What has ended already needs no end.
            let _gone = kill(Pid::from_raw(daemon.id().cast_signed()), Signal::SIGTERM);
            let _reaped = daemon.wait();
        }
    }
}

fn write_files(home: &Path, ha_cf: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    fs::create_dir_all(home)?;
    fs::write(home.join("ha.cf"), ha_cf)?;
    // Members without groups: eight nodes share none.
    fs::write(home.join("haresources"), "")?;
    let keys = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(home.join("authkeys"));
    std::io::Write::write_all(&mut keys?, b"auth 1\n1 sha1 a-key-for-this-laboratory\n")?;
    Ok(())
}

fn eight(watched: Duration) -> Result<()> {
    let cluster = Cluster::started()?;
    // The grace of the start is over by then.
    std::thread::sleep(Duration::from_secs(6));
    let (before, from) = (cluster.processor_time()?, Instant::now());
    std::thread::sleep(watched);
    let (used, hours) = (cluster.processor_time()?.saturating_sub(before), from.elapsed().as_secs_f64() / 3600.0);
    ensure!(cluster.sees_all("h1"), "all are active to the end");
    let nodes = u32::try_from(NODES)?;
    let figure = used.as_secs_f64() / f64::from(nodes) / hours;
    println!(
        "{}",
        json!({
            "benchmark": "processor time of one of eight nodes an hour, keepalive 100 ms, two media", "unit": "s",
            "value": rounded(figure), "watched_seconds": watched.as_secs(), "realtime": is_root(),
        })
    );
    Ok(())
}

// ---- strangers ----

fn strangers(watched: Duration) -> Result<()> {
    let keepalive = Duration::from_secs(1);
    let mut setup = Setup::new(program(), keepalive, Duration::from_secs(10), false);
    setup.ha_cf += "bcast eth0\n";
    setup.realtime = is_root();
    let mut testbed = Testbed::new(setup)?;
    testbed.start(0)?;
    testbed.start(1)?;
    testbed.wait_until("the pair is settled", PATIENCE, |testbed| {
        (0..2).all(|which| testbed.active_nodes(which) == 2 && testbed.is_stable(which))
    })?;

    let socket = testbed.client().run(|| UdpSocket::bind("0.0.0.0:0"))?;
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let observer = Observer::start(testbed.machine(1)?, "h1", Ipv4Addr::UNSPECIFIED)?;
    let begun = Instant::now();
    let flood = {
        let (stop, sent, packet) = (Arc::clone(&stop), Arc::clone(&sent), stranger()?);
        std::thread::spawn(move || flood(&socket, &packet, &stop, &sent))
    };
    std::thread::sleep(watched);
    stop.store(true, Ordering::Release);
    ensure!(flood.join().is_ok(), "the flood ends");
    let (rate, seen) =
        (f64::from(u32::try_from(sent.load(Ordering::Acquire))?) / begun.elapsed().as_secs_f64(), observer.stop());

    // Each heartbeat comes by both media within a moment.
    let times = seen.iter().filter(|(_, what)| matches!(what, Seen::Heartbeat(_))).map(|(at, _)| *at);
    let mut late = Duration::ZERO;
    let mut last: Option<Instant> = None;
    for at in times {
        match last {
            Some(before) if at.duration_since(before) < keepalive / 4 => {}
            Some(before) => {
                late = late.max(at.duration_since(before).saturating_sub(keepalive));
                last = Some(at);
            }
            None => last = Some(at),
        }
    }
    ensure!(last.is_some(), "no heartbeat was seen");
    let status = testbed.status(0)?;
    ensure!(testbed.active_nodes(0) == 2 && testbed.active_nodes(1) == 2, "both live on: {status}");
    println!(
        "{}",
        json!({
            "benchmark": "lateness of own heartbeats under packets of strangers on one medium", "unit": "ms",
            "max": rounded(late.as_secs_f64() * 1000.0), "keepalive_ms": 1000, "sent_per_second": rate.round(),
            "refused": status["dropped"]["auth"], "watched_seconds": watched.as_secs(), "realtime": is_root(),
        })
    );
    Ok(())
}

/// A well-formed heartbeat of h2, signed with a key that nobody has.
fn stranger() -> Result<Arc<[u8]>> {
    let key = Key { method: Method::Sha1, secret: b"of nobody here".to_vec() };
    let keyring = Keyring::new(1, [(1, key)])?;
    let mut fields = Fields::new();
    for (name, value) in
        [("t", "status"), ("st", "active"), ("dt", "2710"), ("protocol", "1"), ("src", "h2"), ("seq", "1"), ("hg", "1")]
    {
        fields.push_text(name, value);
    }
    Ok(keyring.seal(fields, Framing::Datagram, &Sealing::default())?)
}

/// Sends evenly in portions of a millisecond; what is behind is made up for.
fn flood(socket: &UdpSocket, packet: &[u8], stop: &AtomicBool, sent: &AtomicU64) {
    let target = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 1), 694);
    let begun = Instant::now();
    let mut count = 0;
    while !stop.load(Ordering::Acquire) {
        let due = begun.elapsed().as_micros() * u128::from(STRANGERS) / 1_000_000;
        while u128::from(count) < due {
            if socket.send_to(packet, target).is_err() {
                break;
            }
            count += 1;
        }
        sent.store(count, Ordering::Release);
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
