//! Benchmarks of a cluster as a whole, live in namespaces; one JSON line a figure.
//!
//! ```text
//! cargo bench -p hb-tests --bench cluster [-- SECONDS]        how long each is watched; 30 if left out
//! ```
//!
//! 1. Eight nodes at 100 ms with two media: the processor time of one of them; and, in the same namespaces afterwards, that
//!    of a process that only makes the system calls for as many packets as long ([`bare`]).
//! 2. A hundred thousand packets a second that nobody of the cluster signed, on one medium of a pair: how late its own
//!    heartbeats get.
//!
//! Read the first two together: in namespaces the kernel takes a broadcast through the bridge up to the sockets of all
//! others, and wakes them, before the sender's sendto returns, and all of that counts as the sender's time. A node alone on
//! its computer pays for its own packets only. So the figure says much about the kernel and the computer, and the
//! difference of the two what the daemon adds.
//!
//! `value` is the time on a processor as the scheduler counts it (schedstat), to the nanosecond. `user` and `system` are
//! what /proc/PID/stat says, as `ps` and `top` show it: on kernels without CONFIG_VIRT_CPU_ACCOUNTING the sum is the
//! scheduler's again, and only its division is sampled by the clock interrupt. Either includes interrupts that came while
//! the process ran, unless the kernel has CONFIG_IRQ_TIME_ACCOUNTING.

mod bare;

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
use hb_tests::figures::rounded;
use hb_tests::observe::{Observer, Seen};
use hb_tests::{Usage, is_root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

const NODES: usize = 8;
const KEEPALIVE: Duration = Duration::from_millis(100);
/// Of Ethernet, IPv4 and UDP together, which the counters of an interface include.
const HEADERS: usize = 14 + 20 + 8;
const PATIENCE: Duration = Duration::from_mins(1);
/// Packets of strangers a second.
const STRANGERS: u32 = 100_000;

fn main() -> Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).filter(|text| text != "--bench").collect();
    if arguments.first().is_some_and(|role| role == bare::ROLE) {
        return bare::run(&arguments.split_off(1));
    }
    namespace::enter()?;
    let seconds = arguments.first().map_or(Ok(30), |text| text.parse()).context("SECONDS is a number")?;
    let watched = Duration::from_secs(seconds);
    eight(watched)?;
    strangers(watched)
}

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_heartbeat-under-test"))
}

// ---- eight nodes ----

/// Eight machines on the same two networks.
struct Machines {
    machines: Vec<Machine>,
    _lab: Lab,
}

impl Machines {
    fn new() -> Result<Machines> {
        let mut lab = Lab::new()?;
        let networks = [lab.network()?, lab.network()?];
        let mut machines = Vec::new();
        for host in 1..=NODES {
            let machine = Machine::new(&format!("h{host}"), &[])?;
            for (number, network) in networks.into_iter().enumerate() {
                let address = format!("10.{}.0.{host}/24", 77 + number).parse()?;
                lab.plug(&machine, &format!("eth{number}"), network, &[address])?;
            }
            machines.push(machine);
        }
        Ok(Machines { machines, _lab: lab })
    }

    /// Starts a program on each and gives all that run.
    fn start(&self, command: impl Fn(&Machine) -> Result<Command>) -> Result<Programs> {
        let mut programs = Programs(Vec::new());
        for machine in &self.machines {
            let mut command = command(machine)?;
            command.stdin(Stdio::null()).stdout(Stdio::null());
            programs.0.push(machine.spawn(command)?);
        }
        Ok(programs)
    }

    /// How many packets and bytes the first has sent on its first interface.
    fn sent(&self) -> Result<(u64, u64)> {
        let text = self.machines[0].run(|| fs::read_to_string("/proc/thread-self/net/dev"))?;
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix("eth0:")).context("eth0 is there")?;
        let numbers: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
        // Eight columns of what was received, then bytes and packets that were sent.
        Ok((*numbers.get(9).context("packets sent")?, *numbers.get(8).context("bytes sent")?))
    }
}

/// Programs that end with this.
struct Programs(Vec<Child>);

impl Programs {
    /// Of all together.
    fn usage(&self) -> Result<Usage> {
        self.0.iter().try_fold(Usage::default(), |sum, program| Ok(sum + Usage::of(program.id())?))
    }

    /// What one of them uses in so long a time, as a JSON line.
    fn watch(&self, benchmark: &str, watched: Duration) -> Result<Value> {
        let (before, from) = (self.usage()?, Instant::now());
        std::thread::sleep(watched);
        let (used, seconds) = (self.usage()? - before, from.elapsed().as_secs_f64());
        let nodes = f64::from(u32::try_from(self.0.len())?);
        let an_hour = |time: Duration| rounded(time.as_secs_f64() / nodes / seconds * 3600.0);
        Ok(json!({
            "benchmark": benchmark, "unit": "s", "value": an_hour(used.scheduled), "user": an_hour(used.user),
            "system": an_hour(used.system),
            "waits_per_second": rounded(f64::from(u32::try_from(used.waits)?) / nodes / seconds),
            "watched_seconds": watched.as_secs(), "realtime": is_root(),
        }))
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        for program in &mut self.0 {
            // What has ended already needs no end.
            let _gone = kill(Pid::from_raw(program.id().cast_signed()), Signal::SIGTERM);
            let _reaped = program.wait();
        }
    }
}

fn eight(watched: Duration) -> Result<()> {
    let (machines, directory) = (Machines::new()?, Directory::new()?);
    let names: Vec<&str> = machines.machines.iter().map(Machine::name).collect();
    let ha_cf = format!(
        "node {}\nkeepalive {}ms\ndeadtime 2\ninitdead 10\nauto_failback off\nbcast eth0 eth1\nlogfile /dev/null\nrealtime {}\n",
        names.join(" "),
        KEEPALIVE.as_millis(),
        if is_root() { "on" } else { "off" },
    );
    let daemons = machines.start(|machine| {
        let home = directory.path().join(machine.name());
        write_files(&home, &ha_cf)?;
        let mut command = Command::new(program());
        command.arg("run").arg("--config-dir").arg(&home).arg("--state-dir").arg(home.join("state"));
        command.arg("--run-dir").arg(home.join("run")).args(["--node", machine.name()]).stderr(Stdio::null());
        Ok(command)
    })?;
    let sees_all = |name: &str| {
        let status = testbed::ask(&directory.path().join(name).join("run"), &json!({"v": 1, "do": "status"}));
        let nodes = status.ok().and_then(|status| status["nodes"].as_array().cloned()).unwrap_or_default();
        nodes.iter().filter(|node| node["status"] == "active").count() == NODES
    };
    let begun = Instant::now();
    while !names.iter().all(|name| sees_all(name)) {
        ensure!(begun.elapsed() < PATIENCE, "eight nodes do not become active");
        std::thread::sleep(Duration::from_millis(100));
    }
    // The grace of the start is over by then.
    std::thread::sleep(Duration::from_secs(6));
    let (packets, bytes) = machines.sent()?;
    let what = "processor time of one of eight nodes an hour, keepalive 100 ms, two media";
    let mut line = daemons.watch(what, watched)?;
    let (packets, bytes) = (machines.sent()?.0 - packets, machines.sent()?.1 - bytes);
    ensure!(sees_all("h1"), "all are active to the end");
    drop(daemons);
    let length = usize::try_from(bytes / packets)?.checked_sub(HEADERS).context("packets have headers")?;
    line["packets_per_second_and_medium"] = json!(rounded(f64::from(u32::try_from(packets)?) / watched.as_secs_f64()));
    line["bytes_per_packet"] = json!(length);
    println!("{line}");

    let media: Vec<_> = (0..2).map(|number| (format!("eth{number}"), Ipv4Addr::new(10, 77 + number, 0, 255))).collect();
    let interval = watched / u32::try_from(packets)?;
    let bare = machines.start(|_| {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(bare::arguments(length, interval, &media));
        Ok(command)
    })?;
    std::thread::sleep(Duration::from_secs(2));
    println!("{}", bare.watch("processor time of bare system calls for the same packets an hour", watched)?);
    Ok(())
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
    let observer = Observer::start(testbed.machine(1)?, "h1", &[])?;
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
