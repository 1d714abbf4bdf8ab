//! What becomes of a node whose daemon is killed or stuck: its guard releases everything, then tells the peer (scenario
//! F14).

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hb_shell::testbed::{Setup, Testbed, guard_of};
use libtest_mimic::Completion;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Test;
use crate::daemons::{PATIENCE, program, settled, setup};
use crate::scene::Outcome;

pub(crate) const TESTS: &[Test] = &[
    ("guard::a_killed_daemon_is_a_planned_move", killed),
    ("guard::a_stuck_daemon_is_killed_and_released_before_its_dead_time", stuck),
    ("guard::a_start_under_way_never_ends_after_the_stop", start_under_way),
    ("guard::a_start_that_outlives_both_is_ended_and_undone_by_the_next_daemon", left_under_way),
    ("guard::a_daemon_that_dies_before_it_knows_what_runs_is_not_seen_off", unsure),
    ("guard::what_cannot_be_stopped_is_never_given_up", unstoppable),
    ("guard::a_watchdog_is_fed_and_disarmed_and_left_alone_when_it_must_bite", watchdog),
    ("guard::an_orderly_stop_needs_no_guard", orderly),
    ("guard::a_daemon_started_meanwhile_waits", waits),
    ("guard::only_what_manages_resources_has_one", unmanaged),
    ("guard::a_reload_hands_over_the_new_times_and_log", reloaded),
];

/// Far longer than anything here takes: whoever waits for it fails.
const LONG: Duration = Duration::from_mins(1);
const KEEPALIVE: Duration = Duration::from_millis(50);

fn with_deadtime(deadtime: Duration) -> Setup {
    Setup::new(program(), KEEPALIVE, deadtime, false)
}

/// A script on both nodes that notes its calls in `calls`; `hooks` are more cases of its action.
fn script(testbed: &Testbed, name: &str, hooks: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    for which in 0..2 {
        let directory = testbed.directory(which).join("resource.d");
        std::fs::create_dir_all(&directory)?;
        let text = format!(
            "#!/bin/sh\nfor last; do :; done\ncd {}\necho \"{name} $last\" >> calls\n{hooks}\n\
             case $last in\nstart) touch {name}-up;;\nstop) rm -f {name}-up;;\n\
             status) [ -e {name}-up ] && echo running || echo stopped;;\nesac\n",
            testbed.directory(which).display()
        );
        let path = directory.join(name);
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn calls(testbed: &Testbed, which: usize) -> Vec<String> {
    let text = std::fs::read_to_string(testbed.directory(which).join("calls")).unwrap_or_default();
    text.lines().filter(|line| !line.ends_with("status")).map(str::to_owned).collect()
}

fn started(setup: Setup, prepare: impl FnOnce(&Testbed) -> Result<()>) -> Result<Testbed> {
    let mut testbed = Testbed::new(setup)?;
    prepare(&testbed)?;
    testbed.start(0)?;
    testbed.start(1)?;
    Ok(testbed)
}

/// The peer took over since it was told to, and not since it waited.
fn was_told(testbed: &Testbed) -> Result<()> {
    testbed.wait_until("the log says so", PATIENCE, |testbed| {
        testbed.log(1).contains("Received shutdown notice from 'h1'.")
    })?;
    ensure!(!testbed.log(1).contains("h1: is dead"), "it was waited for\n{}", testbed.log(1));
    Ok(())
}

fn killed() -> Outcome {
    let mut setup = with_deadtime(LONG);
    setup.haresources = "h1 First 10.77.0.100/24/eth0 Last\n".into();
    let mut testbed = started(setup, |testbed| {
        script(testbed, "First", "")?;
        script(testbed, "Last", "")
    })?;
    testbed.wait_until("the pair is settled", PATIENCE, |testbed| testbed.rests(0))?;
    ensure!(calls(&testbed, 0) == ["First start", "Last start"], "{:?}", calls(&testbed, 0));

    let start = Instant::now();
    testbed.kill(0)?;
    let mut netlink = testbed.machine(0)?.netlink()?;
    while netlink.addresses()?.iter().any(|address| address.ip == hb_shell::testbed::VIRTUAL_ADDRESS) {
        ensure!(start.elapsed() < LONG / 2, "the address is still there");
    }
    let gone = start.elapsed();
    testbed.wait_until("h2 takes over", LONG / 2, |testbed| testbed.has_address(1))?;
    println!("kill -9 -> address gone: {gone:?}; address on the peer: {:?}; dead time: {LONG:?}", start.elapsed());
    was_told(&testbed)?;
    ensure!(calls(&testbed, 0)[2..] == ["Last stop", "First stop"], "{:?}", calls(&testbed, 0));
    testbed
        .wait_until("everything runs on h2", PATIENCE, |testbed| calls(testbed, 1) == ["First start", "Last start"])?;
    testbed.wait_until("the guard is done", PATIENCE, |testbed| {
        testbed.log(0).contains("All HA resources relinquished")
            && !testbed.directory(0).join("run/heartbeat.pid").exists()
    })?;

    testbed.log(0).lines().filter(|line| line.contains("The daemon is dead")).for_each(|line| println!("{line}"));

    testbed.start(0)?;
    testbed.wait_until("h1 is back", PATIENCE, |testbed| testbed.rests(1))?;
    ensure!(!testbed.log(0).contains("did not see the end"), "the guard did\n{}", testbed.log(0));
    ensure!(testbed.stop(1)? == Some(0));
    let notes = std::fs::read_dir(testbed.directory(1).join("run/scripts"))?.count();
    ensure!(notes == 0, "{notes} notes are left by an orderly stop");
    Ok(Completion::Completed)
}

fn stuck() -> Outcome {
    let mut testbed = settled(with_deadtime(Duration::from_secs(5)))?;
    let daemon = testbed.daemon_pid(0)?;
    let start = Instant::now();
    kill(Pid::from_raw(i32::try_from(daemon)?), Signal::SIGSTOP)?;
    testbed.wait_until("h2 takes over", PATIENCE, |testbed| testbed.has_address(1))?;
    println!("SIGSTOP -> address on the peer: {:?}; dead time: 5 s", start.elapsed());
    was_told(&testbed)?;
    ensure!(!testbed.has_address(0), "nobody has it twice");
    testbed.wait_until("it can never act again", PATIENCE, |_| {
        std::fs::read_to_string(format!("/proc/{daemon}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    })?;
    testbed.wait_for_log(0, &["The daemon is stuck, and was killed"], PATIENCE)?;
    // What is left of it is buried.
    testbed.kill(0)?;
    Ok(Completion::Completed)
}

fn start_under_way() -> Outcome {
    let mut setup = with_deadtime(LONG);
    setup.haresources = "h1 Slow\n".into();
    // Only on its home: the peer starts it at once.
    let slow = "[ $HA_CURHOST = h1 ] && [ $last = start ] && { sleep 3; echo late >> calls; }";
    let mut testbed = started(setup, |testbed| script(testbed, "Slow", slow))?;
    testbed.wait_until("the start is under way", PATIENCE, |testbed| calls(testbed, 0) == ["Slow start"])?;
    testbed.kill(0)?;
    testbed.wait_until("h2 runs it", PATIENCE, |testbed| calls(testbed, 1) == ["Slow start"])?;
    was_told(&testbed)?;
    ensure!(calls(&testbed, 0) == ["Slow start", "Slow stop"], "{:?}", calls(&testbed, 0));
    std::thread::sleep(Duration::from_millis(3500));
    ensure!(calls(&testbed, 0) == ["Slow start", "Slow stop"], "the start went on: {:?}", calls(&testbed, 0));
    ensure!(!testbed.directory(0).join("Slow-up").exists());
    Ok(Completion::Completed)
}

fn left_under_way() -> Outcome {
    let mut setup = with_deadtime(LONG);
    setup.haresources = "h1 Slow\n".into();
    // The first start on its home only; what it has done by then its status denies.
    let slow = "[ $HA_CURHOST = h1 ] && [ $last = start ] && [ ! -e once ] && { touch once half; sleep 5; echo late >> calls; }\n\
                [ $last = stop ] && rm -f half";
    let mut testbed = started(setup, |testbed| script(testbed, "Slow", slow))?;
    let directory = testbed.directory(0).join("run/scripts");
    let noted = || std::fs::read_dir(&directory).map_or(0, Iterator::count);
    testbed.wait_until("the start is under way", PATIENCE, |testbed| testbed.directory(0).join("half").exists())?;
    ensure!(noted() == 1, "{} notes", noted());
    testbed.kill_all(0)?;
    testbed.start(0)?;
    testbed.wait_for_log(
        0,
        &[
            "Slow start: still under way from an earlier heartbeat: killed",
            "Slow: an earlier heartbeat did not see the end of its start or stop: it is stopped, unasked",
        ],
        PATIENCE,
    )?;
    testbed.wait_until("it runs once", PATIENCE, |testbed| {
        let up = |which| testbed.directory(which).join("Slow-up").exists();
        up(0) != up(1)
    })?;
    ensure!(calls(&testbed, 0)[..2] == ["Slow start", "Slow stop"], "{:?}", calls(&testbed, 0));
    std::thread::sleep(Duration::from_millis(5500));
    ensure!(!calls(&testbed, 0).contains(&"late".to_owned()), "the start went on: {:?}", calls(&testbed, 0));
    ensure!(!testbed.directory(0).join("half").exists());
    ensure!(noted() == 0, "{} notes are left", noted());
    Ok(Completion::Completed)
}

fn unsure() -> Outcome {
    let mut setup = with_deadtime(LONG);
    setup.haresources = "h1 Left\n".into();
    let slow = "[ $HA_CURHOST = h1 ] && [ $last = status ] && { touch asked; sleep 20; }";
    let mut testbed = Testbed::new(setup)?;
    script(&testbed, "Left", slow)?;
    std::fs::write(testbed.directory(0).join("Left-up"), "")?;
    testbed.start(1)?;
    testbed.start(0)?;
    testbed.wait_until("h1 looks around", PATIENCE, |testbed| testbed.directory(0).join("asked").exists())?;
    testbed.wait_for_log(1, &["Status update for node h1: status active"], PATIENCE)?;
    testbed.kill(0)?;
    testbed.wait_for_log(0, &["The daemon died before it knew what an earlier heartbeat left here"], PATIENCE)?;
    std::thread::sleep(Duration::from_secs(1));
    ensure!(calls(&testbed, 1).is_empty(), "it is still up on h1: {:?}", calls(&testbed, 1));
    ensure!(!testbed.log(1).contains("Received shutdown notice from 'h1'."), "{}", testbed.log(1));
    Ok(Completion::Completed)
}

fn unstoppable() -> Outcome {
    let mut setup = with_deadtime(Duration::from_secs(3));
    setup.haresources = "h1 Sticky 10.77.0.100/24/eth0\n".into();
    let device = Device::new("unstoppable")?;
    setup.ha_cf = format!("{}watchdog {}\n", setup.ha_cf, device.0.display());
    let sticky = "[ $last = stop ] && exit 1";
    let mut testbed = started(setup, |testbed| script(testbed, "Sticky", sticky))?;
    testbed.wait_until("the pair is settled", PATIENCE, |testbed| testbed.rests(0))?;
    testbed.kill(0)?;
    testbed.wait_until("the address is gone, whatever else is not", PATIENCE, |testbed| !testbed.has_address(0))?;
    testbed.wait_until("h2 takes over at the dead time", PATIENCE, |testbed| testbed.has_address(1))?;
    testbed
        .wait_until("the guard has given up", PATIENCE, |testbed| testbed.log(0).contains("Resource STOP failure"))?;
    let stops = calls(&testbed, 0).iter().filter(|call| *call == "Sticky stop").count();
    ensure!(stops == 11, "{stops} stops");
    testbed.wait_for_log(1, &["h1: is dead"], PATIENCE)?;
    ensure!(!testbed.log(1).contains("Received shutdown notice"), "{}", testbed.log(1));
    ensure!(!device.writes().contains('V'), "a watchdog that must bite was disarmed");
    Ok(Completion::Completed)
}

/// A file in the place of /dev/watchdog, which both nodes feed.
struct Device(PathBuf);

impl Device {
    fn new(name: &str) -> Result<Device> {
        let path = std::env::temp_dir().join(format!("hb-live-watchdog-{name}-{}", std::process::id()));
        std::fs::write(&path, "")?;
        Ok(Device(path))
    }

    fn writes(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap_or_default()
    }

    /// Whether the last that it got, right behind a meal, is the magic byte.
    fn is_disarmed(&self) -> bool {
        self.writes().into_bytes().ends_with(b".V")
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // What cannot be removed stays; a destructor has nobody to tell.
        let _: std::io::Result<()> = std::fs::remove_file(&self.0);
    }
}

fn watchdog() -> Outcome {
    let mut setup = with_deadtime(LONG);
    let device = Device::new("fed")?;
    setup.ha_cf = format!("{}watchdog {}\n", setup.ha_cf, device.0.display());
    let mut testbed = Testbed::new(setup)?;
    testbed.start(0)?;
    testbed.wait_until("it is fed", PATIENCE, |_| device.writes().len() > 10)?;
    testbed.wait_for_log(0, &["resets this machine unless it is fed within 58 s"], PATIENCE)?;
    ensure!(device.writes().bytes().all(|byte| byte == b'.'), "{}", device.writes());
    ensure!(testbed.stop(0)? == Some(0));
    testbed.wait_until("an orderly stop disarms it", PATIENCE, |_| device.is_disarmed())?;

    std::fs::write(&device.0, "")?;
    testbed.start(0)?;
    testbed.wait_until("it is fed again", PATIENCE, |_| device.writes().len() > 10)?;
    testbed.kill(0)?;
    testbed.wait_until("so does a release that is complete", PATIENCE, |_| device.is_disarmed())?;

    std::fs::remove_file(&device.0)?;
    testbed.start(0)?;
    testbed.wait_until("a device that is missing is said", PATIENCE, |testbed| {
        testbed.log(0).contains("Cannot open watchdog device: ")
    })?;
    testbed.wait_until("and the node starts", PATIENCE, |testbed| testbed.status(0).is_ok())?;
    ensure!(!device.0.exists());
    Ok(Completion::Completed)
}

fn orderly() -> Outcome {
    let mut testbed = settled(setup(false))?;
    let guard = guard_of(testbed.daemon_pid(0)?).context("a node that manages resources has a guard")?;
    ensure!(testbed.stop(0)? == Some(0));
    testbed.wait_until("it is gone", PATIENCE, |_| !PathBuf::from(format!("/proc/{guard}")).exists())?;
    testbed.wait_until("only h2 has the address", PATIENCE, |testbed| testbed.is_owned_by(&[1]))?;
    ensure!(!testbed.log(0).contains("The daemon is"), "{}", testbed.log(0));
    Ok(Completion::Completed)
}

fn waits() -> Outcome {
    let mut setup = with_deadtime(LONG);
    setup.haresources = "h1 Slow\n".into();
    let slow = "[ $last = stop ] && { sleep 2; echo Slow stopped >> calls; }";
    let mut testbed = started(setup, |testbed| script(testbed, "Slow", slow))?;
    testbed.wait_until("it runs on h1", PATIENCE, |testbed| {
        calls(testbed, 0) == ["Slow start"] && testbed.is_stable(0) && testbed.active_nodes(1) == 2
    })?;
    testbed.kill(0)?;
    testbed.wait_until("the guard releases", PATIENCE, |testbed| calls(testbed, 0).len() == 2)?;
    testbed.start(0)?;
    testbed.wait_until("the start says what it waits for", PATIENCE, |testbed| {
        testbed.output(0).contains("still releases what that held; this start waits for it")
    })?;
    ensure!(testbed.status(0).is_err(), "it waits");
    testbed.wait_until("it is there", PATIENCE, |testbed| testbed.status(0).is_ok())?;
    ensure!(calls(&testbed, 0)[..3] == ["Slow start", "Slow stop", "Slow stopped"], "{:?}", calls(&testbed, 0));
    testbed.wait_until("h2 has it", PATIENCE, |testbed| calls(testbed, 1) == ["Slow start"])?;
    Ok(Completion::Completed)
}

fn unmanaged() -> Outcome {
    let mut setup = with_deadtime(LONG);
    setup.options.push("-M".into());
    let mut testbed = Testbed::new(setup)?;
    testbed.start(0)?;
    testbed.wait_until("it answers", PATIENCE, |testbed| testbed.status(0).is_ok())?;
    ensure!(guard_of(testbed.daemon_pid(0)?).is_none(), "nothing to guard");
    ensure!(testbed.stop(0)? == Some(0));
    Ok(Completion::Completed)
}

fn reloaded() -> Outcome {
    let mut testbed = settled(with_deadtime(LONG))?;
    let (path, log) = (testbed.directory(0).join("ha.cf"), testbed.directory(0).join("log"));
    let elsewhere = testbed.directory(0).join("elsewhere");
    let text = std::fs::read_to_string(&path)?.replace(&log.display().to_string(), &elsewhere.display().to_string());
    std::fs::write(&path, text.replace("deadtime 60000ms", "deadtime 4"))?;
    let output = testbed.command(0, &["reload"]).output()?;
    ensure!(output.status.success(), "{output:?}");
    let said = || std::fs::read_to_string(&elsewhere).unwrap_or_default();
    testbed.wait_until("it counts", PATIENCE, |_| said().contains("deadtime: 60000 ms becomes 4000 ms"))?;
    // The times of the new file count: with the old ones this would take a minute.
    kill(Pid::from_raw(i32::try_from(testbed.daemon_pid(0)?)?), Signal::SIGSTOP)?;
    testbed.wait_until("h2 takes over", PATIENCE, |testbed| testbed.has_address(1))?;
    was_told(&testbed).with_context(said)?;
    testbed.wait_until("the guard says so", PATIENCE, |_| said().contains("The daemon is stuck, and was killed"))?;
    testbed.kill(0)?;
    Ok(Completion::Completed)
}
