//! A lock on a shared disk, left of what it protects: one of the users' recipes against two owners (docs/split-brain.md).

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use anyhow::ensure;
use hb_shell::testbed::{Directory, Net, Testbed};
use libtest_mimic::Completion;

use crate::Test;
use crate::daemons::{PATIENCE, setup};
use crate::scene::Outcome;

pub(crate) const TESTS: &[Test] = &[("disk_lock::who_cannot_have_the_lock_does_not_start_the_rest", keeps_out)];

/// The disk is a directory that both machines see; what can be made there only once is the lock.
fn keeps_out() -> Outcome {
    let disk = Directory::new()?;
    let held = disk.path().join("held");
    let mut setup = setup(false);
    setup.haresources = "h1 Lock 10.77.0.100/24/eth0\n".into();
    let mut testbed = Testbed::new(setup)?;
    for which in 0..2 {
        let scripts = testbed.directory(which).join("resource.d");
        fs::create_dir_all(&scripts)?;
        let (path, held, mine) = (scripts.join("Lock"), held.display(), scripts.join("mine"));
        let mine = mine.display();
        let text = format!(
            "#!/bin/sh\ncase $1 in\nstart) mkdir {held} && touch {mine};;\nstop) [ ! -e {mine} ] || {{ rm {mine} && rmdir {held}; }};;\n\
             status) [ -e {mine} ] && echo running || echo stopped;;\nesac\n"
        );
        fs::write(&path, text)?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        testbed.start(which)?;
    }
    testbed.wait_until("the pair is settled", PATIENCE, |testbed| testbed.rests(0))?;

    testbed.unplug(0, Net::Heartbeat)?;
    let mut both = false;
    testbed.wait_until("h2 has tried, and could not", PATIENCE, |testbed| {
        both |= testbed.has_address(1);
        let status = testbed.status(1).unwrap_or_default();
        testbed.log(1).contains("from Lock start after ") && status["groups"][0]["here"] == "failed"
    })?;
    ensure!(testbed.log(1).contains("h1: is dead ("), "{}", testbed.log(1));
    ensure!(!both && testbed.is_owned_by(&[0]) && held.exists(), "the lock did not keep h2 out\n{}", testbed.log(1));

    testbed.plug(0, Net::Heartbeat)?;
    testbed.wait_until("they hear each other again", PATIENCE, |testbed| testbed.rests(0))?;
    // After an orderly stop the lock is free, and the failure forgotten when the operator says so.
    ensure!(testbed.stop(0)? == Some(0) && !held.exists(), "{}", testbed.log(0));
    ensure!(testbed.command(1, &["cleanup", "Lock"]).output()?.status.success());
    testbed.wait_until("h2 serves", PATIENCE, |testbed| testbed.is_owned_by(&[1]))?;
    ensure!(held.exists(), "without the lock");
    Ok(Completion::Completed)
}
