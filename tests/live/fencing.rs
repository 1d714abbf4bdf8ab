//! A silent node is reset, or confirmed to be down, before anything is taken from it (CLUSTER f, scenarios P10 to P15).

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hb_shell::net::namespace::Mount;
use hb_shell::testbed::{Net, Setup, Testbed};
use libtest_mimic::Completion;

use crate::Test;
use crate::daemons::{PATIENCE, setup, wait_for_short_deadtime};
use crate::scene::Outcome;

pub(crate) const TESTS: &[Test] = &[
    ("fencing::a_crashed_node_is_reset_before_its_group_is_taken", agent),
    ("fencing::a_device_that_does_not_work_is_named_before_it_is_needed", faulty),
    ("fencing::a_plugin_of_cluster_glue_is_called", plugin),
    ("fencing::an_agent_of_the_package_fence_agents_is_called", packaged_agent),
    ("fencing::meatware_waits_for_the_word_of_an_operator", meatware),
    ("fencing::a_device_that_hangs_or_is_gone_is_tried_again_and_nothing_is_taken", broken_device),
    ("fencing::a_node_that_speaks_again_is_not_reset", heard_again),
    ("fencing::an_operator_confirms_and_only_then_it_is_taken", by_hand),
];

/// A fence agent of our own that keeps what it is told, then does what `then` says. Asked whether it works, it says what the file
/// `faulty` says, and else that it does.
fn lab(directory: &Path, then: &str) -> Result<PathBuf> {
    let path = directory.join("fence_lab");
    let text = format!(
        "#!/bin/sh\ncd {}\nasked=$(cat)\ncase $asked in *action=monitor*)\n\
         [ ! -e faulty ] || {{ cat faulty >&2; exit 1; }}\nexit 0;;\nesac\n\
         echo \"$asked\" >> told\necho $$ > pid\n{then}\n",
        directory.display()
    );
    std::fs::write(&path, text)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// A pair at rest whose nodes reset each other with that device.
fn pair(directory: &Path, device: &str) -> Result<Testbed> {
    let mut setup: Setup = setup(true);
    setup.ha_cf.push_str(device);
    ensure!(directory.is_dir());
    let mut testbed = Testbed::new(setup)?;
    testbed.start(0)?;
    testbed.start(1)?;
    testbed.wait_until("the pair is settled", PATIENCE, |testbed| testbed.rests(0))?;
    wait_for_short_deadtime(&testbed, 0)?;
    Ok(testbed)
}

fn agent() -> Outcome {
    let directory = hb_shell::testbed::Directory::new()?;
    let at = directory.path();
    // The first shot fails.
    let path = lab(at, "[ -e failed ] && exit 0; touch failed; echo no answer >&2; exit 1")?;
    let device = format!("stonith_host * {} ip=10.0.0.9 h1:plug=7 password=secret\n", path.display());
    let mut testbed = pair(at, &device)?;
    testbed.power_off(0)?;
    testbed.wait_until("h2 serves", PATIENCE, |testbed| testbed.has_address(1))?;
    testbed.wait_until("it is logged", PATIENCE, |testbed| testbed.log(1).contains("node h1 was fenced"))?;
    let log = testbed.log(1);
    let order = [
        "node h1: is dead",
        "Resetting node h1 with [",
        "STONITH of h1 failed.  Retrying... (Return code 1",
        "Resetting node h1 with [",
        "node h1 now reset.",
        "acquire 10.77.0.100/24/eth0: node h1 was fenced",
    ];
    let mut rest = log.as_str();
    for phrase in order {
        let at = rest.find(phrase);
        ensure!(at.is_some(), "no `{phrase}` in its place in\n{log}");
        rest = &rest[at.unwrap_or_default() + phrase.len()..];
    }
    ensure!(log.contains("no answer") && !log.contains("secret"), "{log}");
    let told = std::fs::read_to_string(at.join("told"))?;
    ensure!(told == "ip=10.0.0.9\nplug=7\npassword=secret\nnodename=h1\naction=reboot\n".repeat(2), "{told}");
    // It comes back and gets its group, unarmed.
    testbed.power_on(0, &[])?;
    testbed.start(0)?;
    testbed.wait_until("h1 serves again", PATIENCE, |testbed| testbed.rests(0))?;
    Ok(Completion::Completed)
}

fn faulty() -> Outcome {
    let directory = hb_shell::testbed::Directory::new()?;
    let at = directory.path();
    let path = lab(at, "exit 0")?;
    std::fs::write(at.join("faulty"), "wrong password\n")?;
    let testbed = pair(at, &format!("stonith_host * {} ip=10.0.0.9 password=secret\n", path.display()))?;
    testbed.wait_for_log(
        0,
        &["fence_lab not operational! (Return code 1", "Node h2 could not be reset", "wrong password"],
        PATIENCE,
    )?;
    let failures = testbed.status(0)?["fencing_failures"].clone();
    ensure!(failures["h2"].as_str().is_some_and(|why| why.contains("Return code 1")), "{failures}");
    let output = testbed.command(0, &["status"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(text.contains("NODE h2 COULD NOT BE RESET"), "{text}");
    ensure!(!at.join("told").exists() && !testbed.log(0).contains("secret"), "nobody is reset by a question");
    Ok(Completion::Completed)
}

fn plugin() -> Outcome {
    if !Path::new("/usr/sbin/stonith").exists() {
        return Ok(Completion::ignored_with("the Debian package cluster-glue is not installed"));
    }
    let directory = hb_shell::testbed::Directory::new()?;
    let mut testbed = pair(directory.path(), "stonith_host * null h1 h2\n")?;
    testbed.wait_for_log(1, &["STONITH device null is operational: it could reset node h1"], PATIENCE)?;
    testbed.power_off(0)?;
    testbed.wait_until("h2 serves", PATIENCE, |testbed| testbed.has_address(1))?;
    testbed.wait_until("it is logged", PATIENCE, |testbed| testbed.log(1).contains("node h1 now reset."))?;
    Ok(Completion::Completed)
}

/// The one that is for trying; it notes in a file that the power is on again.
fn packaged_agent() -> Outcome {
    let agent = Path::new("/usr/sbin/fence_dummy");
    if !agent.exists() {
        return Ok(Completion::ignored_with("the Debian package fence-agents is not installed"));
    }
    let directory = hb_shell::testbed::Directory::new()?;
    let noted = directory.path().join("power");
    let device = format!("stonith_host * {} status_file={}\n", agent.display(), noted.display());
    let mut testbed = pair(directory.path(), &device)?;
    testbed.wait_for_log(1, &["fence_dummy is operational: it could reset node h1"], PATIENCE)?;
    testbed.power_off(0)?;
    testbed.wait_until("h2 serves", PATIENCE, |testbed| testbed.has_address(1))?;
    testbed.wait_until("it is logged", PATIENCE, |testbed| testbed.log(1).contains("node h1 now reset."))?;
    ensure!(std::fs::read_to_string(&noted)? == "on", "it was not called\n{}", testbed.log(1));
    Ok(Completion::Completed)
}

/// The plugin waits in a file of /run, which each machine has for itself.
fn meatware() -> Outcome {
    if !Path::new("/usr/sbin/meatclient").exists() {
        return Ok(Completion::ignored_with("the Debian package cluster-glue is not installed"));
    }
    let mut setup: Setup = setup(true);
    setup.ha_cf.push_str("stonith_host * meatware h1 h2\n");
    let mut testbed = Testbed::new(setup)?;
    for which in 0..2 {
        testbed.power_off(which)?;
        testbed.power_on(which, &[Mount::Empty { target: "/run".into() }])?;
    }
    testbed.start(0)?;
    testbed.start(1)?;
    testbed.wait_until("the pair is settled", PATIENCE, |testbed| testbed.rests(0))?;
    testbed.power_off(0)?;
    testbed.wait_until("an operator is asked", PATIENCE, |testbed| {
        let machine = testbed.machine(1);
        testbed.log(1).contains("Resetting node h1 with [")
            && machine.is_ok_and(|machine| machine.run(|| Path::new("/run/meatware.h1").exists()))
    })?;
    std::thread::sleep(Duration::from_secs(1));
    ensure!(!testbed.has_address(1), "it was taken without a word");
    let mut client = Command::new("meatclient");
    client.args(["-c", "h1"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = testbed.machine(1)?.spawn(client)?;
    client.stdin.take().context("it is asked for")?.write_all(b"y\n")?;
    let output = client.wait_with_output()?;
    ensure!(output.status.success(), "{output:?}");
    testbed.wait_until("h2 serves", PATIENCE, |testbed| testbed.has_address(1))?;
    testbed.wait_until("it is logged", PATIENCE, |testbed| testbed.log(1).contains("node h1 now reset."))?;
    Ok(Completion::Completed)
}

fn broken_device() -> Outcome {
    let directory = hb_shell::testbed::Directory::new()?;
    let at = directory.path();
    let path = lab(at, "exec sleep 1000")?;
    let mut testbed = pair(at, &format!("stonith_host * {} ip=10.0.0.9\nstonith_limit 1\n", path.display()))?;
    testbed.power_off(0)?;
    let late = "STONITH of h1 failed.  Retrying... (time limit of 1 s exceeded";
    testbed.wait_until("it is ended, and tried again", PATIENCE, |testbed| testbed.log(1).matches(late).count() > 1)?;
    std::fs::remove_file(&path)?;
    let missing = "STONITH of h1 failed.  Retrying... (";
    let before = testbed.log(1).matches(missing).count();
    testbed.wait_until("it is missed", PATIENCE, |testbed| testbed.log(1).matches(missing).count() > before + 1)?;
    testbed.log(1).lines().filter(|line| line.contains(missing)).for_each(|line| println!("{line}"));
    let why = testbed.status(1)?["groups"][0]["why"].as_str().unwrap_or_default().to_owned();
    ensure!(!testbed.has_address(1) && why.contains("h1"), "{why}");
    // Repaired, it goes on.
    lab(at, "exit 0")?;
    testbed.wait_until("h2 serves", PATIENCE, |testbed| testbed.has_address(1))?;
    Ok(Completion::Completed)
}

fn heard_again() -> Outcome {
    let directory = hb_shell::testbed::Directory::new()?;
    let at = directory.path();
    let path = lab(at, "exec sleep 1000")?;
    let mut testbed = pair(at, &format!("stonith_host * {}\n", path.display()))?;
    testbed.set_joined(0, Net::Heartbeat, false)?;
    let mut pid = String::new();
    testbed.wait_until("h2 shoots, which needs the group", PATIENCE, |_| {
        std::fs::read_to_string(at.join("pid")).unwrap_or_default().trim().clone_into(&mut pid);
        !pid.is_empty()
    })?;
    testbed.set_joined(0, Net::Heartbeat, true)?;
    testbed.wait_until("nobody shoots", PATIENCE, |testbed| {
        testbed.log(1).contains("the reset of node h1 is cancelled") && !Path::new(&format!("/proc/{pid}")).exists()
    })?;
    testbed.wait_until("nothing moved", PATIENCE, |testbed| testbed.rests(0))?;
    ensure!(!testbed.log(1).contains("now reset") && !testbed.log(0).contains("Resetting"), "{}", testbed.log(1));
    Ok(Completion::Completed)
}

fn by_hand() -> Outcome {
    let directory = hb_shell::testbed::Directory::new()?;
    let at = directory.path();
    let alarm = lab(at, "echo \"$*\" > alarm")?;
    let mut testbed = pair(at, &format!("takeover manual\ntakeover_alarm {}\n", alarm.display()))?;
    let confirm = |testbed: &Testbed, node: &str| -> Result<(bool, String)> {
        let output = testbed.command(1, &["confirm", node]).output()?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned()))
    };
    ensure!(testbed.status(1)?["policy"] == "at-most-one", "{}", testbed.status(1)?);
    let early = confirm(&testbed, "h1")?;
    ensure!(!early.0 && early.1.contains("that node is not dead"), "{early:?}");
    let nobody = confirm(&testbed, "h9")?;
    ensure!(!nobody.0 && nobody.1.contains("there is no node [h9]"), "{nobody:?}");
    testbed.power_off(0)?;
    testbed.wait_until("h2 waits", PATIENCE, |testbed| {
        testbed.log(1).contains("nothing is taken from node h1, which may still run it")
    })?;
    testbed.wait_until("the alarm is raised", PATIENCE, |_| {
        std::fs::read_to_string(at.join("alarm")).is_ok_and(|told| told == "dead h1\n")
    })?;
    let why = testbed.status(1)?["groups"][0]["why"].as_str().unwrap_or_default().to_owned();
    ensure!(why.contains("no proof that node h1 does not run it"), "{why}");
    ensure!(!testbed.has_address(1), "it was taken without a word");
    let done = confirm(&testbed, "h1")?;
    ensure!(done == (true, "confirm h1: done".into()), "{done:?}");
    testbed.wait_until("h2 serves", PATIENCE, |testbed| testbed.has_address(1))?;
    Ok(Completion::Completed)
}
