//! A pair that runs resource scripts and OCF agents as Debian installs them.
//!
//! What those write outside the directories of a test (`/run`, `/var/log`, `/dev/shm`) is in memory, private to each machine.
//! Programs whose hardware or kernel nobody has here are stand-ins: they note how they are called in `calls` in the node's
//! directory, and do what a test needs.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hb_shell::net::namespace::Mount;
use hb_shell::testbed::{NAMES, Setup, Testbed};

use crate::daemons::program;

/// Real agents call many programs, and the machine may be busy; only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// Whoever waits for it fails: what moves within a test moves because somebody was told.
const LONG: Duration = Duration::from_mins(2);
const KEEPALIVE: Duration = Duration::from_millis(50);

/// Where Debian's packages put the scripts of haresources.
const SCRIPTS: &str = "/etc/ha.d/resource.d";
/// The first directory in which scripts look for programs; it holds none itself.
const FIRST_IN_PATH: &str = "/usr/lib/heartbeat";
/// What is private to each machine.
const PRIVATE: [&str; 3] = ["/run", "/var/log", "/dev/shm"];

/// A file that a test needs, and the Debian package that brings it.
pub(crate) type Needed = (&'static str, &'static str);

pub(crate) const FILESYSTEM: &[Needed] = &[
    ("/etc/ha.d/resource.d/Filesystem", "resource-agents"),
    ("/usr/lib/ocf/resource.d/heartbeat/Filesystem", "resource-agents"),
    ("/usr/sbin/modprobe", "kmod"),
    ("/usr/bin/fuser", "psmisc"),
    ("/usr/sbin/mkfs.ext4", "e2fsprogs"),
];

/// Why a test cannot run here, if it cannot: mounting over the system's directories needs root, and every file its package.
pub(crate) fn hindrance(needed: &[Needed]) -> Option<String> {
    if !hb_tests::is_root() {
        return Some("a machine with Debian's resource scripts needs root".into());
    }
    let heartbeat = (FIRST_IN_PATH, "heartbeat");
    let missing = needed.iter().chain([&heartbeat]).find(|(file, _)| !Path::new(file).exists());
    missing.map(|(file, package)| format!("the Debian package {package} is not installed: there is no {file}"))
}

/// A pair with the usual settings, a dead time that nobody waits for, and these lines of ha.cf too; nothing runs yet.
pub(crate) fn pair(lines: &str) -> Result<Testbed> {
    let mut setup = Setup::new(program(), KEEPALIVE, LONG, false);
    setup.ha_cf.push_str(lines);
    pair_with(setup)
}

/// A pair with settings of its own.
pub(crate) fn pair_with(setup: Setup) -> Result<Testbed> {
    let testbed = Testbed::new(setup)?;
    for which in 0..2 {
        fs::create_dir_all(stand_ins(&testbed, which))?;
    }
    Ok(testbed)
}

/// A pair of nodes that no load makes dead, without failback; for tests in which nobody dies.
pub(crate) fn sturdy() -> Setup {
    Setup::new(program(), KEEPALIVE, Duration::from_secs(10), false)
}

fn stand_ins(testbed: &Testbed, which: usize) -> PathBuf {
    testbed.directory(which).join("stand-ins")
}

/// A program that notes its calls and then goes on with `body`, a shell script that runs in the node's directory.
pub(crate) fn stand_in(testbed: &Testbed, name: &str, body: &str) -> Result<()> {
    for which in 0..2 {
        let home = testbed.directory(which);
        let text = format!("#!/bin/sh\ncd {}\necho \"{name} $*\" >> calls\n{body}\n", home.display());
        executable(&stand_ins(testbed, which).join(name), &text)?;
    }
    Ok(())
}

/// Writes an executable file.
pub(crate) fn executable(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, Permissions::from_mode(0o755))?)
}

/// Gives both nodes these haresources, the system's scripts, and stand-ins: first in the path, and in the place of `covered`.
pub(crate) fn prepare(testbed: &mut Testbed, haresources: &str, covered: &[&str]) -> Result<()> {
    for which in 0..2 {
        let home = testbed.directory(which);
        fs::write(home.join("haresources"), haresources)?;
        let scripts = home.join("resource.d");
        fs::create_dir_all(&scripts)?;
        for entry in fs::read_dir(SCRIPTS)? {
            let path = entry?.path();
            symlink(&path, scripts.join(path.file_name().context("entries have names")?))?;
        }
        let own = stand_ins(testbed, which);
        let mut mounts = vec![Mount::Bind { source: own.clone(), target: FIRST_IN_PATH.into() }];
        for program in covered.iter().map(Path::new) {
            let source = own.join(program.file_name().context("programs have names")?);
            mounts.push(Mount::Bind { source, target: program.into() });
        }
        mounts.extend(PRIVATE.map(|target| Mount::Empty { target: target.into() }));
        testbed.power_off(which)?;
        testbed.power_on(which, &mounts)?;
        testbed.machine(which)?.run(|| -> std::io::Result<()> {
            fs::create_dir_all("/run/lock/subsys")?;
            fs::create_dir_all("/run/resource-agents")
        })?;
    }
    Ok(())
}

/// Starts both daemons and waits until the first group runs on the first node.
pub(crate) fn start(testbed: &mut Testbed) -> Result<()> {
    testbed.start(0)?;
    testbed.start(1)?;
    testbed.wait_until("the group runs on h1", PATIENCE, |testbed| runs(testbed, 0))
}

/// What the first group does on a node, as that says.
pub(crate) fn here(testbed: &Testbed, which: usize) -> String {
    let status = testbed.status(which).unwrap_or_default();
    status["groups"][0]["here"].as_str().unwrap_or_default().to_owned()
}

/// The pair rests with the first group on that node.
pub(crate) fn runs(testbed: &Testbed, owner: usize) -> bool {
    let calm = |which| testbed.active_nodes(which) == 2 && testbed.is_stable(which);
    // First the group: a node that has not begun yet is stable, too.
    here(testbed, owner) == "running" && here(testbed, 1 - owner) == "stopped" && calm(0) && calm(1)
}

/// What a node's stand-ins were told so far.
pub(crate) fn calls(testbed: &Testbed, which: usize) -> Vec<String> {
    let text = fs::read_to_string(testbed.directory(which).join("calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Moves everything to the other node by command, which answers when it is done.
pub(crate) fn stand_by(testbed: &Testbed, from: usize) -> Result<()> {
    let output = testbed.command(from, &["standby", "all"]).output()?;
    ensure!(output.status.success(), "{output:?}\n{}", testbed.log(from));
    testbed.wait_until("the group runs on the other node", PATIENCE, |testbed| runs(testbed, 1 - from))
}

/// The phrases stand in the log of a node, one after the other.
pub(crate) fn logged_in_order(testbed: &Testbed, which: usize, phrases: &[&str]) -> Result<()> {
    let in_order = |log: &str| {
        let mut rest = log;
        phrases.iter().all(|phrase| {
            rest.find(phrase).is_some_and(|at| {
                rest = &rest[at + phrase.len()..];
                true
            })
        })
    };
    // The log is written beside the loop.
    let what = format!("{} logs in this order: {phrases:#?}", NAMES[which]);
    testbed.wait_until(&what, PATIENCE, |testbed| in_order(&testbed.log(which)))
}
