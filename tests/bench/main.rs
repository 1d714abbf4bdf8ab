//! Benchmarks: one JSON line a figure, with what it was measured by. Run as root for real-time scheduling and the original:
//!
//! ```text
//! cargo bench -p hb-tests [-- RUNS]        0 runs: only what does not fail over
//! ```
//!
//! Ours and a real Heartbeat 3.0.6 take turns in one run, watched by the same observer, since machines are noisy.

use anyhow::{Context as _, Result, ensure};
use hb_shell::net::echo::Probe;
use hb_shell::net::namespace;
use hb_shell::testbed::{Setup, Testbed, VIRTUAL_ADDRESS};
use hb_tests::figures::{millis, print};
use hb_tests::observe::{Observer, takeover_delay};
use hb_tests::real::{self, RealNode};
use hb_tests::{is_root, processor_time};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const KEEPALIVE: Duration = Duration::from_millis(250);
const DEADTIME: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_mins(1);
/// After this a daemon announces its plain dead time (WIRE 10.2).
const START_GRACE: Duration = Duration::from_millis(5500);
/// How many turns the original gets: it waits ten seconds at each start.
const REAL_RUNS: usize = 5;
/// So many pairs with a flight recorder, and as many without, share the measurement of what a node costs.
const PAIRS: usize = 4;

fn main() -> Result<()> {
    namespace::enter()?;
    let runs = std::env::args()
        .skip(1)
        .find(|text| text != "--bench")
        .map_or(Ok(20), |text| text.parse())
        .context("RUNS is a number")?;
    let hindrance = real::missing();
    if let Some(reason) = &hindrance {
        println!("{}", json!({"benchmark": "takeover of a real 3.0.6", "skipped": reason}));
    }
    let (mut ours, mut originals) = (Vec::new(), Vec::new());
    for run in 0..runs {
        ours.push(takeover_of_ours()?);
        if hindrance.is_none() && run < REAL_RUNS {
            originals.push(takeover_of_the_original()?);
        }
    }
    print("expiry -> address present on the survivor", &ours, "ms");
    print("expiry -> address present on the survivor, real 3.0.6", &originals, "ms");
    planned_moves(runs)?;
    cold_start()?;
    footprint()
}

fn setup() -> Setup {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_heartbeat-under-test"));
    Setup { realtime: is_root(), ..Setup::new(program, KEEPALIVE, DEADTIME, false) }
}

fn vip() -> Ipv4Addr {
    match VIRTUAL_ADDRESS {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => unreachable!("the testbed's address is IPv4"),
    }
}

fn settle(setup: Setup) -> Result<Testbed> {
    let mut testbed = Testbed::new(setup)?;
    testbed.start(0)?;
    testbed.start(1)?;
    testbed.wait_until("the pair is settled", PATIENCE, |testbed| {
        testbed.is_owned_by(&[0]) && (0..2).all(|which| testbed.is_stable(which))
    })?;
    Ok(testbed)
}

/// Milliseconds from the expiry of the dead time until the survivor has the address.
fn takeover_of_ours() -> Result<f64> {
    let mut testbed = settle(setup())?;
    std::thread::sleep(START_GRACE);
    let observer = Observer::start(testbed.machine(1)?, "h1", &[vip()])?;
    std::thread::sleep(KEEPALIVE * 3);
    testbed.power_off(0)?;
    testbed.wait_until("h2 serves", PATIENCE, |testbed| testbed.has_address(1))?;
    delay(observer)
}

fn takeover_of_the_original() -> Result<f64> {
    let ha_cf = format!(
        "node h1 h2\nkeepalive {}ms\ndeadtime {}ms\ninitdead 10\nauto_failback off\nbcast eth1\n",
        KEEPALIVE.as_millis(),
        DEADTIME.as_millis()
    );
    let mut testbed = Testbed::new(setup())?;
    let mut nodes = Vec::new();
    for which in 0..2 {
        let directory = testbed.directory(which).join("real");
        let haresources = format!("h1 IPaddr2::{VIRTUAL_ADDRESS}/24/eth0\n");
        let mut node = RealNode::new(&directory, &ha_cf, &haresources, "auth 1\n1 sha1 a-key-for-this-laboratory\n")?;
        testbed.power_off(which)?;
        testbed.power_on(which, &node.mounts())?;
        node.start(testbed.machine(which)?)?;
        nodes.push(node);
    }
    testbed.wait_until("the original serves", PATIENCE, |testbed| testbed.is_owned_by(&[0]))?;
    std::thread::sleep(START_GRACE);
    let observer = Observer::start(testbed.machine(1)?, "h1", &[vip()])?;
    std::thread::sleep(KEEPALIVE * 3);
    testbed.power_off(0)?;
    testbed.wait_until("the other original serves", PATIENCE, |testbed| testbed.has_address(1))?;
    let delay = delay(observer);
    testbed.power_off(1)?;
    for mut node in nodes {
        node.reap()?;
    }
    delay
}

fn delay(observer: Observer) -> Result<f64> {
    std::thread::sleep(Duration::from_millis(50));
    takeover_delay(&observer.stop(), 1).map(millis).map_err(anyhow::Error::msg)
}

fn planned_moves(runs: usize) -> Result<()> {
    let testbed = settle(setup())?;
    let mut outages = Vec::new();
    for run in 0..runs {
        let probe = Probe::start(testbed.client(), VIRTUAL_ADDRESS, Duration::from_millis(1))?;
        ensure!(probe.wait_for_answer(PATIENCE), "the address answers before a move");
        let from = Instant::now();
        let answer = testbed.ask(run % 2, &json!({"v": 1, "do": "standby", "set": "all"}))?;
        ensure!(answer["ok"] == true, "{answer}");
        ensure!(probe.wait_for_answer(PATIENCE), "the address answers after a move");
        outages.push(millis(probe.stop().longest_gap_between(from, Instant::now())));
        testbed.wait_until("all rests", PATIENCE, |testbed| (0..2).all(|which| testbed.is_stable(which)))?;
    }
    print("planned move: outage seen by an echo every millisecond", &outages, "ms");
    Ok(())
}

fn cold_start() -> Result<()> {
    let mut spans = Vec::new();
    for _ in 0..5 {
        let keepalive = Duration::from_secs(1);
        let mut testbed = Testbed::new(Setup {
            realtime: is_root(),
            ..Setup::new(setup().program, keepalive, Duration::from_secs(4), false)
        })?;
        testbed.start(0)?;
        testbed.wait_until("the first listens", PATIENCE, |testbed| testbed.status(0).is_ok())?;
        std::thread::sleep(Duration::from_millis(700));
        let started = Instant::now();
        testbed.start(1)?;
        testbed.wait_until("h1 serves", PATIENCE, |testbed| testbed.has_address(0))?;
        spans.push(started.elapsed().as_secs_f64() / keepalive.as_secs_f64());
    }
    print("cold start: second daemon's start -> address up, keepalive 1 s", &spans, "keepalives");
    Ok(())
}

/// Memory and processor time of a node at keepalive 1 s with two media, and what of it the flight recorder takes.
///
/// Pairs with and without recorders run side by side and are looked at in the same windows, so that what else happens on
/// the machine meets both. Several of each, since what a wake-up costs depends on what ran just before, and a pair that is
/// started keeps its place in the second.
fn footprint() -> Result<()> {
    let mut recording = Setup::new(setup().program, Duration::from_secs(1), Duration::from_secs(10), false);
    recording.ha_cf += "bcast eth0\n";
    recording.realtime = is_root();
    let plain = Setup { options: ["--trace-size", "0"].map(str::to_owned).into(), ..recording.clone() };
    let (mut pairs, mut pids) = (Vec::new(), [Vec::new(), Vec::new()]);
    for _ in 0..PAIRS {
        for (kind, setup) in [&recording, &plain].into_iter().enumerate() {
            let testbed = settle(setup.clone())?;
            pids[kind].extend([testbed.daemon_pid(0)?, testbed.daemon_pid(1)?]);
            pairs.push(testbed);
        }
    }
    // Announcements and the grace of the start are over by then.
    std::thread::sleep(Duration::from_secs(10));
    let used = |kind: usize| -> Result<f64> {
        let nodes = u32::try_from(pids[kind].len())?;
        Ok(pids[kind].iter().map(|pid| processor_time(*pid)).sum::<Result<Duration>>()?.as_secs_f64()
            / f64::from(nodes))
    };
    let (mut with, mut without, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..9 {
        let (before, from) = ([used(0)?, used(1)?], Instant::now());
        // Twice as long as the recorder gathers before it writes.
        std::thread::sleep(Duration::from_secs(20));
        let (after, hours) = ([used(0)?, used(1)?], from.elapsed().as_secs_f64() / 3600.0);
        let [recorded, plain] = [0, 1].map(|kind| (after[kind] - before[kind]) / hours);
        with.push(recorded);
        without.push(plain);
        shares.push((recorded / plain - 1.0) * 100.0);
    }
    print("processor time of a node an hour, keepalive 1 s, two media", &with, "s");
    print("processor time of a node an hour, without flight recorder", &without, "s");
    print("what the flight recorder adds to it", &shares, "%");
    for (what, pids) in ["memory of a node", "memory of a node, without flight recorder"].into_iter().zip(&pids) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", pids[1]))?;
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map_or("?", str::trim).to_owned();
        println!(
            "{}",
            json!({
                "benchmark": what, "resident": field("VmRSS:"), "locked": field("VmLck:"), "realtime": is_root(),
            })
        );
    }
    Ok(())
}
